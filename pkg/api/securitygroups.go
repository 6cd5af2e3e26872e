package api

import (
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
)

func (s *Server) securityGroupRoutes(r chi.Router) {
	r.Get("/securityGroups", s.allSecurityGroups)
	r.Get("/securityGroups/{account}", s.accountSecurityGroups)
	r.Get("/securityGroups/{account}/{provider}", s.providerSecurityGroups)
	r.Get("/securityGroups/{account}/{provider}/{name}", s.namedSecurityGroups)
	r.Get("/securityGroups/{account}/{provider}/{region}/{name}", s.securityGroup)
}

// allSecurityGroups never fails: Deck would do without firewalls in every
// application (read-rest.md 3.1).
func (s *Server) allSecurityGroups(w http.ResponseWriter, r *http.Request) {
	h := s.await(r)
	out := map[string]any{}
	accounts, _ := s.Accounts.List()
	for _, a := range accounts {
		if found := view.Summaries(s.Index.OfClass(a.Name, spinnaker.SecurityGroups)); len(found) > 0 {
			out[a.Name] = map[string]any{kubernetes: found}
		}
	}
	s.send(w, r, h, newAnswer(view.Encode(out)))
}

// inRegion is the list of one namespace when the query names one.
func inRegion(r *http.Request, all map[string][]view.Summary) any {
	q := r.URL.Query()
	if !q.Has("region") {
		return all
	}
	if one := all[q.Get("region")]; one != nil {
		return one
	}
	return []view.Summary{}
}

func (s *Server) accountSecurityGroups(w http.ResponseWriter, r *http.Request) {
	p, err := segments(r, "account")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	h := s.await(r, p[0])
	found := view.Summaries(s.Index.OfClass(p[0], spinnaker.SecurityGroups))
	s.send(w, r, h, newAnswer(view.Encode(map[string]any{kubernetes: inRegion(r, found)})), p[0])
}

func (s *Server) providerSecurityGroups(w http.ResponseWriter, r *http.Request) {
	p, err := segments(r, "account", "provider")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	h := s.await(r, p[0])
	found := map[string][]view.Summary{}
	if p[1] == kubernetes { // Gate asks for aws by default
		found = view.Summaries(s.Index.OfClass(p[0], spinnaker.SecurityGroups))
	}
	s.send(w, r, h, newAnswer(view.Encode(inRegion(r, found))), p[0])
}

func (s *Server) namedSecurityGroups(w http.ResponseWriter, r *http.Request) {
	p, err := segments(r, "account", "provider", "name")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	h := s.await(r, p[0])
	wanted := normalName(p[2])
	var found []*index.Object
	for _, o := range s.Index.OfClass(p[0], spinnaker.SecurityGroups) {
		if p[1] == kubernetes && spinnaker.SameKind(o.Kind.Text, wanted.kind) && o.Name == wanted.name {
			found = append(found, o)
		}
	}
	s.send(w, r, h, newAnswer(view.Encode(view.Summaries(found))), p[0])
}

func (s *Server) securityGroup(w http.ResponseWriter, r *http.Request) {
	p, err := segments(r, "account", "provider", "region", "name")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	absent := view.NotFoundError("Security group '" + p[3] + "' does not exist")
	a, known := s.Accounts.Get(p[0])
	n := normalName(p[3])
	if !known || p[1] != kubernetes || n.kind == "" {
		s.fail(w, r, absent)
		return
	}
	h := s.await(r, p[0])
	found := s.Index.Find(p[0], p[2], n.kind, n.name)
	if found == nil || found.Kind.Class != spinnaker.SecurityGroups {
		s.fail(w, r, missing(h, p[0], string(absent)))
		return
	}
	client, err := s.Clients.Client(p[0])
	if err != nil {
		s.fail(w, r, problem{status: http.StatusServiceUnavailable, message: err.Error()})
		return
	}
	manifest, err := s.object(r, client, a, n.kind, p[2], n.name)
	switch {
	case cluster.Is(err, cluster.NotFound):
		s.fail(w, r, absent)
	case err != nil:
		s.fail(w, r, upstream(p[0], err))
	default:
		s.send(w, r, h, newAnswer(view.Encode(view.NewSecurityGroup(p[0], found, manifest))), p[0])
	}
}
