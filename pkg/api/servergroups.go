package api

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
)

// key joins the parts of a cache key; the application's case does not matter.
func key(view, application string, more ...string) string {
	return strings.Join(append([]string{view, strings.ToLower(application)}, more...), "\x00")
}

// elements renders an application account by account, reusing what did not
// change.
func (s *Server) elements(r *request, name, application string, what index.What, render func(index.Part) []view.Element) []view.Element {
	var all []view.Element
	for _, held := range s.sees(r).Holdings(application) {
		k := key("elements\x00"+name, application, held.Account, strconv.FormatUint(held.Version, 36))
		all = append(all, index.Cached(s.Parts, k, func() ([]view.Element, int) {
			elements := render(s.Index.Part(application, held.Account, what))
			bytes := 0
			for _, e := range elements {
				bytes += len(e.JSON) + len(e.Key) + len(e.Cluster)
				if e.LeftOut != "" {
					s.Log.Error("an object cannot be rendered and is left out of a list", "list", name, "application", application, "account", held.Account, "object", e.LeftOut)
				}
			}
			return elements, bytes
		})...)
	}
	return all
}

func (s *Server) groupElements(r *request, application string, expand bool) []view.Element {
	name := "serverGroups"
	if expand {
		name = "serverGroups+"
	}
	return s.elements(r, name, application, index.Groups, func(p index.Part) []view.Element { return view.ServerGroups(p, expand) })
}

func (s *Server) applicationServerGroups(r *request) (reply, error) {
	p := r.segments("application")
	query := r.URL.Query()
	expand := boolean(query, "expand", false)
	clusters, narrowed := list(query, "clusters")
	if other := query.Get("cloudProvider"); !narrowed && other != "" && !strings.EqualFold(other, kubernetes) {
		return answered(newAnswer([]byte("[]"))), nil
	}
	if narrowed {
		return answered(newAnswer(view.Join(nil, within(s.groupElements(r, p[0], expand), clusters)))), nil
	}
	a := s.cached(r, key("serverGroups", p[0], strconv.FormatBool(expand)), s.Index.Version(p[0]), func(room []byte) []byte {
		return view.Join(room, s.groupElements(r, p[0], expand))
	})
	return answered(a), nil
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

func (s *Server) serverGroups(r *request) (reply, error) {
	query := r.URL.Query()
	ids, byID := list(query, "ids")
	applications, byApplication := list(query, "applications")
	if byID == byApplication {
		return reply{}, problem{status: http.StatusBadRequest, message: "Provide either 'applications' or 'ids' parameter (but not both)"}
	}
	if byApplication {
		var all []view.Element
		if other := query.Get("cloudProvider"); other == "" || strings.EqualFold(other, kubernetes) {
			for _, application := range applications {
				all = append(all, s.groupElements(r, application, false)...)
			}
		}
		return answered(newAnswer(view.Join(nil, all))), nil
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
		return reply{}, problem{status: http.StatusBadRequest, message: "Expected ids in the format <account>:<region>:<name> but got invalid ids: " + strings.Join(invalid, ", ")}
	}
	var found []view.Element
	for _, id := range parsed {
		n := normalName(id[2])
		if g, ok := s.sees(r).FindGroup(id[0], id[1], n.kind, n.name); ok {
			found = append(found, view.Element{JSON: view.ShortServerGroup(id[0], g)})
		}
	}
	return answered(newAnswer(view.Join(nil, found)), accounts...), nil
}

// fullName is a full name taken apart; both parts are empty when it is none.
type fullName struct{ kind, name string }

func normalName(text string) fullName {
	kind, name, _ := spinnaker.SplitFullName(text)
	return fullName{kind, name}
}

func (s *Server) serverGroup(r *request) (reply, error) {
	p := r.segments("account", "region", "name")
	absent := view.NotFoundError(fmt.Sprintf("Server group not found (account: %s, region: %s, name: %s)", p[0], p[1], p[2]))
	g, err := s.group(r, p[0], p[1], normalName(p[2]))
	if err != nil {
		return reply{}, s.notRead(p[0], err, absent)
	}
	return answered(newAnswer(view.Encode(view.NewServerGroup(p[0], g))), p[0]).of(g.Moniker().App), nil
}

// ofClass finds where an object is whose kind has a class; an error with the
// reason NotFound when there can be none.
func (s *Server) ofClass(r *request, class spinnaker.Class, accountName, namespace string, n fullName) (place, error) {
	a, known := s.Accounts.Get(accountName)
	if !known {
		return place{}, errNoSuchObject
	}
	if is, ok := a.Class(n.kind); !ok || is != class || n.name == "" {
		return place{}, errNoSuchObject
	}
	return s.place(r, a, n.kind, namespace, n.name)
}

var errNoSuchObject = &cluster.Error{Reason: cluster.NotFound, Err: errors.New("there can be no such object")}

// group is a server group with its instances and load balancers.
func (s *Server) group(r *request, accountName, namespace string, n fullName) (index.Group, error) {
	at, err := s.ofClass(r, spinnaker.ServerGroups, accountName, namespace, n)
	if err != nil {
		return index.Group{}, err
	}
	if s.groupsInMemory(r, at) {
		if g, ok := s.Index.FindGroup(accountName, at.namespace, n.kind, n.name); ok {
			return g, nil
		}
	}
	live, err := s.readLive(r, at)
	if err != nil {
		return index.Group{}, err
	}
	o := index.Decode(at.account, live)
	if o == nil {
		return index.Group{}, errNoSuchObject
	}
	pods, err := livePods(r.Context(), at.client, live)
	if err != nil {
		return index.Group{}, err
	}
	instances := []*index.Object{}
	for _, pod := range pods {
		owned := slices.ContainsFunc(pod.GetOwnerReferences(), func(w metav1.OwnerReference) bool { return w.UID == live.GetUID() })
		if i := index.Decode(at.account, pod); owned && i != nil {
			instances = append(instances, i)
		}
	}
	slices.SortFunc(instances, index.Compare)
	return s.Index.GroupOf(accountName, o, instances), nil
}

// groupsInMemory says whether a server group or load balancer and all that its
// answer shows of others is proved.
func (s *Server) groupsInMemory(r *request, at place) bool {
	return s.proved(r, at.account.Name, groupCover(at.account), func(w store.Write) bool {
		return w.Name == at.name && w.Namespace == at.namespace
	})
}

func (s *Server) serverGroupManagers(r *request) (reply, error) {
	p := r.segments("application")
	a := s.cached(r, key("managers", p[0]), s.Index.Version(p[0]), func(room []byte) []byte {
		return view.Join(room, s.elements(r, "managers", p[0], index.Managers, view.Managers))
	})
	return answered(a), nil
}
