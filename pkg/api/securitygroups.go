package api

import (
	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
)

// allSecurityGroups never fails: Deck would do without firewalls in every
// application (read-rest.md 3.1).
func (s *Server) allSecurityGroups(r *request) (reply, error) {
	out := map[string]any{}
	accounts, _ := s.Accounts.List()
	for _, a := range accounts {
		if !s.sees(r).account(a.Name) {
			continue
		}
		if found := view.Summaries(s.Index.OfClass(a.Name, spinnaker.SecurityGroups)); len(found) > 0 {
			out[a.Name] = map[string]any{kubernetes: found}
		}
	}
	return answered(newAnswer(view.Encode(out))), nil
}

// inRegion is the list of one namespace when the query names one.
func inRegion(r *request, all map[string][]view.Summary) any {
	q := r.URL.Query()
	if !q.Has("region") {
		return all
	}
	if one := all[q.Get("region")]; one != nil {
		return one
	}
	return []view.Summary{}
}

func (s *Server) accountSecurityGroups(r *request) (reply, error) {
	p := r.segments("account")
	if _, known := s.Accounts.Get(p[0]); !known {
		return model(map[string]any{})
	}
	found := view.Summaries(s.Index.OfClass(p[0], spinnaker.SecurityGroups))
	return answered(newAnswer(view.Encode(map[string]any{kubernetes: inRegion(r, found)})), p[0]), nil
}

func (s *Server) providerSecurityGroups(r *request) (reply, error) {
	p := r.segments("account", "provider")
	found := map[string][]view.Summary{}
	if p[1] == kubernetes { // Gate asks for aws by default
		found = view.Summaries(s.Index.OfClass(p[0], spinnaker.SecurityGroups))
	}
	return answered(newAnswer(view.Encode(inRegion(r, found))), p[0]), nil
}

func (s *Server) namedSecurityGroups(r *request) (reply, error) {
	p := r.segments("account", "provider", "name")
	wanted := normalName(p[2])
	var found []*index.Object
	for _, o := range s.Index.OfClass(p[0], spinnaker.SecurityGroups) {
		if p[1] == kubernetes && spinnaker.SameKind(o.Kind.Text, wanted.kind) && o.Name == wanted.name {
			found = append(found, o)
		}
	}
	return answered(newAnswer(view.Encode(view.Summaries(found))), p[0]), nil
}

func (s *Server) securityGroup(r *request) (reply, error) {
	p := r.segments("account", "provider", "region", "name")
	absent := view.NotFoundError("Security group '" + p[3] + "' does not exist")
	if p[1] != kubernetes {
		return reply{}, absent
	}
	at, err := s.ofClass(r, spinnaker.SecurityGroups, p[0], p[2], normalName(p[3]))
	if err != nil {
		return reply{}, s.notRead(p[0], err, absent)
	}
	manifest, err := s.object(r, at)
	if err != nil {
		return reply{}, s.notRead(p[0], err, absent)
	}
	found := index.Decode(at.account, manifest)
	if found == nil {
		return reply{}, absent
	}
	return answered(newAnswer(view.Encode(view.NewSecurityGroup(p[0], found, manifest))), p[0]), nil
}
