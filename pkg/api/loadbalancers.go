package api

import (
	"cmp"
	"net/http"
	"slices"

	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
)

func (s *Server) applicationLoadBalancers(r *request) (reply, error) {
	p := r.segments("application")
	a := s.cached(r, key("loadBalancers", p[0]), s.Index.Version(p[0]), func(room []byte) []byte {
		all := s.elements(r, "loadBalancers", p[0], index.Balancers, view.LoadBalancers)
		slices.SortStableFunc(all, func(a, b view.Element) int { return cmp.Compare(a.Key, b.Key) })
		return view.Join(room, all)
	})
	return answered(a), nil
}

// onlyKubernetes refuses every cloud provider but ours; Gate asks for aws by
// default.
func onlyKubernetes(r *request) error {
	if name := r.path["provider"]; name != kubernetes {
		return problem{status: http.StatusBadRequest, message: "No cloud provider named " + name + " found"}
	}
	return nil
}

// loadBalancers is the list by account of other providers' forms; Kubernetes
// has none.
func (s *Server) loadBalancers(r *request) (reply, error) {
	if err := onlyKubernetes(r); err != nil {
		return reply{}, err
	}
	return answered(newAnswer([]byte("[]"))), nil
}

func (s *Server) loadBalancersByName(r *request) (reply, error) {
	if err := onlyKubernetes(r); err != nil {
		return reply{}, err
	}
	return reply{}, view.NotFoundError("Not a valid operation for the Kubernetes provider")
}

func (s *Server) loadBalancer(r *request) (reply, error) {
	if err := onlyKubernetes(r); err != nil {
		return reply{}, err
	}
	p := r.segments("account", "region", "name")
	models := []view.LoadBalancer{}
	b, err := s.balancer(r, p[0], p[1], normalName(p[2]))
	switch {
	case err == nil:
		models = append(models, view.NewLoadBalancer(p[0], b))
	case !gone(err):
		return reply{}, s.unavailable(p[0], err)
	}
	return answered(newAnswer(view.Encode(models)), p[0]), nil
}

func (s *Server) balancer(r *request, accountName, namespace string, n fullName) (index.Balancer, error) {
	at, err := s.ofClass(r, spinnaker.LoadBalancers, accountName, namespace, n)
	if err != nil {
		return index.Balancer{}, err
	}
	if s.groupsInMemory(r, at) {
		if b, ok := s.Index.FindBalancer(accountName, at.namespace, n.kind, n.name); ok {
			return b, nil
		}
	}
	live, err := s.readLive(r, at)
	if err != nil {
		return index.Balancer{}, err
	}
	o := index.Decode(at.account, live)
	if o == nil {
		return index.Balancer{}, errNoSuchObject
	}
	return s.Index.BalancerOf(accountName, o), nil
}
