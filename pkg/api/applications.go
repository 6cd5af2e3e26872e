package api

import (
	"net/http"

	"github.com/datapunchorg/go-clouddriver/pkg/view"
)

func (s *Server) applications(w http.ResponseWriter, r *http.Request) {
	h := s.await(r)
	a := s.cached("applications", s.Index.Membership(), func() []byte { return view.Applications(s.Index.Applications()) })
	s.send(w, r, h, a)
}

func (s *Server) application(w http.ResponseWriter, r *http.Request) {
	p, err := segments(r, "application")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	h := s.await(r)
	found, ok := s.Index.Application(p[0])
	if !ok {
		markStale(w.Header(), h, nil)
		s.fail(w, r, view.NotFoundError("Application does not exist (name: "+p[0]+")"))
		return
	}
	s.send(w, r, h, newAnswer(view.Application(found)))
}

func (s *Server) clusterNames(w http.ResponseWriter, r *http.Request) {
	p, err := segments(r, "application")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	h := s.await(r)
	a := s.cached(key("clusters", p[0]), s.Index.Version(p[0]), func() []byte {
		found, _ := s.Index.Application(p[0]) // none has no clusters
		return view.ClusterNames(found)
	})
	s.send(w, r, h, a)
}
