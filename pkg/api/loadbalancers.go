package api

import (
	"cmp"
	"net/http"
	"slices"

	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
)

func (s *Server) applicationLoadBalancers(w http.ResponseWriter, r *http.Request) {
	p, err := segments(r, "application")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	h := s.await(r)
	a := s.cached(key("loadBalancers", p[0]), s.Index.Version(p[0]), func() []byte {
		all := s.elements("loadBalancers", p[0], index.Balancers, view.LoadBalancers)
		slices.SortStableFunc(all, func(a, b view.Element) int { return cmp.Compare(a.Key, b.Key) })
		return view.Join(all)
	})
	s.send(w, r, h, a)
}

// provider refuses every cloud provider but ours; Gate asks for aws by
// default.
func (s *Server) provider(r *http.Request) error {
	p, err := segments(r, "provider")
	if err == nil && p[0] != kubernetes {
		err = problem{status: http.StatusBadRequest, message: "No cloud provider named " + p[0] + " found"}
	}
	return err
}

// loadBalancers is the list by account of other providers' forms; Kubernetes
// has none.
func (s *Server) loadBalancers(w http.ResponseWriter, r *http.Request) {
	if err := s.provider(r); err != nil {
		s.fail(w, r, err)
		return
	}
	s.send(w, r, s.await(r), newAnswer([]byte("[]")))
}

func (s *Server) loadBalancersByName(w http.ResponseWriter, r *http.Request) {
	if err := s.provider(r); err != nil {
		s.fail(w, r, err)
		return
	}
	s.fail(w, r, view.NotFoundError("Not a valid operation for the Kubernetes provider"))
}

func (s *Server) loadBalancer(w http.ResponseWriter, r *http.Request) {
	p, err := segments(r, "account", "region", "name")
	if err == nil {
		err = s.provider(r)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	h := s.await(r, p[0])
	models := []view.LoadBalancer{}
	n := normalName(p[2])
	if found, ok := s.Index.FindBalancer(p[0], p[1], n.kind, n.name); ok {
		models = append(models, view.NewLoadBalancer(p[0], found))
	}
	if len(models) == 0 && h.NeverSynced(p[0]) {
		s.fail(w, r, missing(h, p[0], ""))
		return
	}
	s.send(w, r, h, newAnswer(view.Encode(models)), p[0])
}
