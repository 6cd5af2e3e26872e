package api

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
)

// key joins the parts of a cache key; the application's case does not matter.
func key(view, application string, more ...string) string {
	return strings.Join(append([]string{view, strings.ToLower(application)}, more...), "\x00")
}

// elements renders an application account by account, reusing what did not
// change.
func (s *Server) elements(name, application string, what index.What, render func(index.Part) []view.Element) []view.Element {
	var all []view.Element
	for _, held := range s.Index.Holdings(application) {
		k := key("elements\x00"+name, application, held.Account, strconv.FormatUint(held.Version, 36))
		all = append(all, index.Cached(s.Cache, k, func() ([]view.Element, int) {
			elements := render(s.Index.Part(application, held.Account, what))
			bytes := 0
			for _, e := range elements {
				bytes += len(e.JSON) + len(e.Key) + len(e.Cluster)
			}
			return elements, bytes
		})...)
	}
	return all
}

func (s *Server) groupElements(application string, expand bool) []view.Element {
	name := "serverGroups"
	if expand {
		name = "serverGroups+"
	}
	return s.elements(name, application, index.Groups, func(p index.Part) []view.Element { return view.ServerGroups(p, expand) })
}

func (s *Server) applicationServerGroups(w http.ResponseWriter, r *http.Request) {
	p, err := segments(r, "application")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	h := s.await(r)
	query := r.URL.Query()
	expand := boolean(query, "expand", false)
	clusters, narrowed := list(query, "clusters")
	if other := query.Get("cloudProvider"); !narrowed && other != "" && !strings.EqualFold(other, kubernetes) {
		s.send(w, r, h, newAnswer([]byte("[]")))
		return
	}
	if narrowed {
		s.send(w, r, h, newAnswer(view.Join(within(s.groupElements(p[0], expand), clusters))))
		return
	}
	a := s.cached(key("serverGroups", p[0], strconv.FormatBool(expand)), s.Index.Version(p[0]), func() []byte {
		return view.Join(s.groupElements(p[0], expand))
	})
	s.send(w, r, h, a)
}

// within keeps the elements of the given clusters, each "account:cluster";
// entries of another form name none.
func within(all []view.Element, clusters []string) []view.Element {
	wanted := map[string]bool{}
	for _, c := range clusters {
		if parts := strings.Split(c, ":"); len(parts) == 2 && parts[0] != "" && parts[1] != "" {
			wanted[c] = true
		}
	}
	var out []view.Element
	for _, e := range all {
		if wanted[e.Key+":"+e.Cluster] {
			out = append(out, e)
		}
	}
	return out
}

func (s *Server) serverGroups(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	ids, byID := list(query, "ids")
	applications, byApplication := list(query, "applications")
	if byID == byApplication {
		s.fail(w, r, problem{status: http.StatusBadRequest, message: "Provide either 'applications' or 'ids' parameter (but not both)"})
		return
	}
	if byApplication {
		h := s.await(r)
		var all []view.Element
		if other := query.Get("cloudProvider"); other == "" || strings.EqualFold(other, kubernetes) {
			for _, application := range applications {
				all = append(all, s.groupElements(application, false)...)
			}
		}
		s.send(w, r, h, newAnswer(view.Join(all)))
		return
	}
	var invalid, accounts []string
	var parsed [][]string
	for _, id := range ids {
		parts := strings.Split(id, ":")
		if len(parts) != 3 {
			invalid = append(invalid, id)
			continue
		}
		parsed, accounts = append(parsed, parts), append(accounts, parts[0])
	}
	if len(invalid) > 0 {
		s.fail(w, r, problem{status: http.StatusBadRequest, message: "Expected ids in the format <account>:<region>:<name> but got invalid ids: " + strings.Join(invalid, ", ")})
		return
	}
	h := s.await(r, accounts...)
	var found []view.Element
	for _, id := range parsed {
		n := normalName(id[2])
		if g, ok := s.Index.FindGroup(id[0], id[1], n.kind, n.name); ok {
			found = append(found, view.Element{JSON: view.ShortServerGroup(id[0], g)})
		}
	}
	s.send(w, r, h, newAnswer(view.Join(found)), accounts...)
}

// fullName is a full name taken apart; both parts are empty when it is none.
type fullName struct{ kind, name string }

func normalName(text string) fullName {
	kind, name, _ := spinnaker.SplitFullName(text)
	return fullName{kind, name}
}

func (s *Server) serverGroup(w http.ResponseWriter, r *http.Request) {
	p, err := segments(r, "account", "region", "name")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	h, err := s.caughtUp(r, p[0])
	if err != nil {
		s.fail(w, r, err)
		return
	}
	n := normalName(p[2])
	found, ok := s.Index.FindGroup(p[0], p[1], n.kind, n.name)
	if !ok {
		s.fail(w, r, missing(h, p[0], fmt.Sprintf("Server group not found (account: %s, region: %s, name: %s)", p[0], p[1], p[2])))
		return
	}
	s.send(w, r, h, newAnswer(view.Encode(view.NewServerGroup(p[0], found))), p[0])
}

func (s *Server) serverGroupManagers(w http.ResponseWriter, r *http.Request) {
	p, err := segments(r, "application")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	h := s.await(r)
	a := s.cached(key("managers", p[0]), s.Index.Version(p[0]), func() []byte {
		return view.Join(s.elements("managers", p[0], index.Managers, view.Managers))
	})
	s.send(w, r, h, a)
}
