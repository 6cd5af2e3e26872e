package api

import "github.com/datapunchorg/go-clouddriver/pkg/view"

func (s *Server) applications(r *request) (reply, error) {
	a := s.cached(r, "applications", s.Index.Membership(), func() []byte { return view.Applications(s.sees(r).Applications()) })
	return answered(a), nil
}

func (s *Server) application(r *request) (reply, error) {
	p := r.segments("application")
	found, ok := s.sees(r).Application(p[0])
	if !ok {
		return reply{}, view.NotFoundError("Application does not exist (name: " + p[0] + ")")
	}
	return answered(newAnswer(view.Application(found))), nil
}

func (s *Server) clusterNames(r *request) (reply, error) {
	p := r.segments("application")
	a := s.cached(r, key("clusters", p[0]), s.Index.Version(p[0]), func() []byte {
		found, _ := s.sees(r).Application(p[0]) // none has no clusters
		return view.ClusterNames(found)
	})
	return answered(a), nil
}
