package api

import (
	"regexp"
	"slices"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
)

// rawResources answers Deck's Kubernetes tab of an application (read-rest.md
// 4.1).
func (s *Server) rawResources(r *request) (reply, error) {
	p := r.segments("application")
	var all []view.Element
	for _, held := range s.sees(r).Holdings(p[0]) {
		a, known := s.Accounts.Get(held.Account)
		if !known {
			continue
		}
		objects := s.Index.Members(p[0], held.Account)
		objects = slices.DeleteFunc(objects, func(o *index.Object) bool { return !shownRaw(a, o.Kind.Text) })
		all = append(all, view.RawResources(held.Account, objects)...)
	}
	return answered(newAnswer(view.Join(nil, all))), nil
}

// shownRaw says whether an account's settings let a kind be among the raw
// resources.
func shownRaw(a *account.Account, kind string) bool {
	matches := func(e *regexp.Regexp) bool { return e.MatchString(kind) }
	switch {
	case !a.AllowsKind(kind):
		return false
	case len(a.RawKinds) > 0:
		return slices.ContainsFunc(a.RawKinds, matches)
	}
	return !slices.ContainsFunc(a.RawOmitKinds, matches)
}
