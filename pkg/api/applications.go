package api

import (
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
)

func (s *Server) applications(r *request) (reply, error) {
	membership := s.Index.Membership()
	if !r.caller.SeesEverything() {
		// Callers may all see different ones: what each sees is made for them alone.
		return answered(s.cached(r, "applications", membership, func(room []byte) []byte {
			all := s.sees(r).Applications()
			elements := make([]view.Element, 0, len(all))
			for _, a := range all {
				elements = append(elements, view.Element{JSON: view.Listed(a)})
			}
			return view.Join(room, elements)
		})), nil
	}
	a := s.latest.answer("applications", strconv.FormatUint(membership, 36), func() *answer {
		all := s.Index.Applications()
		elements := make([]*piece, 0, len(all))
		for _, a := range all {
			elements = append(elements, listedOf(a).piece())
		}
		return array(elements)
	})
	return answered(a), nil
}

// listed is what lists make of an application, when they first do.
type listed struct {
	// piece is its element of the list of applications.
	piece func() *piece
	// clusters are the different texts of its clusters.
	clusters func() []string
}

func listedOf(a index.Application) *listed {
	return a.Made(func(a index.Application) any {
		return &listed{
			piece:    sync.OnceValue(func() *piece { return newPiece(view.Listed(a)) }),
			clusters: sync.OnceValue(func() []string { return clustersOf(a) }),
		}
	}).(*listed)
}

func clustersOf(a index.Application) []string {
	all := map[string]struct{}{}
	for _, names := range a.Clusters {
		for _, name := range names {
			all[name] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(all))
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
	a := s.cached(r, key("clusters", p[0]), s.Index.Version(p[0]), func([]byte) []byte {
		found, _ := s.sees(r).Application(p[0]) // none has no clusters
		return view.ClusterNames(found)
	})
	return answered(a), nil
}
