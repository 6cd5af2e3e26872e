package api

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

const kubernetes = "kubernetes"

// clusterRequest is a question about one application in one account.
type clusterRequest struct {
	application, account, cluster, kind string
	health                              *watch.Health
}

// ask decodes the path, waits for the account and returns the application in
// it.
func (s *Server) ask(r *http.Request) (clusterRequest, index.Part, error) {
	p, err := segments(r, "application", "account", "cluster", "type")
	if err != nil {
		return clusterRequest{}, index.Part{}, err
	}
	q := clusterRequest{application: p[0], account: p[1], cluster: p[2], kind: p[3]}
	if q.health, err = s.caughtUp(r, q.account); err != nil {
		return q, index.Part{}, err
	}
	return q, s.Index.Part(q.application, q.account, index.Groups|index.Managers), nil
}

// missing is the answer when nothing was found in a named account: 503 as
// long as nothing is known of the account, because Orca takes 404 for "it is
// gone".
func missing(h *watch.Health, account, text string) error {
	if h.NeverSynced(account) || !h.Current() {
		return problem{status: http.StatusServiceUnavailable, message: "account " + account + " has not been listed yet; its cluster does not answer, or not in time"}
	}
	return view.NotFoundError(text)
}

func (s *Server) clusterSummaries(w http.ResponseWriter, r *http.Request) {
	q, part, err := s.ask(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if len(part.Groups)+len(part.Managers) == 0 {
		s.fail(w, r, missing(q.health, q.account, fmt.Sprintf("No clusters found (application: %s, account: %s)", q.application, q.account)))
		return
	}
	s.send(w, r, q.health, newAnswer(view.ClusterSummaries(s.spelling(q.application), part)), q.account)
}

// spelling is the application's name as its objects have it.
func (s *Server) spelling(application string) string {
	if found, ok := s.Index.Application(application); ok {
		return found.Name
	}
	return application
}

func (s *Server) clusterArray(w http.ResponseWriter, r *http.Request) {
	q, part, err := s.ask(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	found, ok := view.NewCluster(s.spelling(q.application), part, q.cluster, boolean(r.URL.Query(), "expand", true))
	if !ok {
		s.fail(w, r, missing(q.health, q.account,
			fmt.Sprintf("Cluster not found (application: %s, account: %s, name: %s)", q.application, q.account, q.cluster)))
		return
	}
	s.send(w, r, q.health, newAnswer(view.Encode([]view.Cluster{found})), q.account)
}

// typed refuses other providers and clusters that do not exist.
func (q clusterRequest) typed(found bool) error {
	if q.kind != kubernetes {
		return view.NotFoundError(fmt.Sprintf("No cluster provider of type: %s found that can handle cluster: %s in application: %s, account: %s",
			q.kind, q.cluster, q.application, q.account))
	}
	if !found {
		return missing(q.health, q.account,
			fmt.Sprintf("No clusters found (application: %s, account: %s, type: %s)", q.application, q.account, q.kind))
	}
	return nil
}

// findCluster answers a question that needs the cluster to exist.
func (s *Server) findCluster(r *http.Request, expand bool) (clusterRequest, view.Cluster, error) {
	q, part, err := s.ask(r)
	if err != nil {
		return q, view.Cluster{}, err
	}
	found, ok := view.NewCluster(s.spelling(q.application), part, q.cluster, expand)
	return q, found, q.typed(ok)
}

func (s *Server) cluster(w http.ResponseWriter, r *http.Request) {
	q, found, err := s.findCluster(r, boolean(r.URL.Query(), "expand", true))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.send(w, r, q.health, newAnswer(view.Encode(found)), q.account)
}

func (s *Server) clusterServerGroups(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	q, found, err := s.findCluster(r, boolean(query, "expand", true))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	groups := []view.ServerGroup{}
	for _, g := range found.ServerGroups {
		if !query.Has("region") || g.Region == query.Get("region") {
			groups = append(groups, g)
		}
	}
	s.send(w, r, q.health, newAnswer(view.Encode(groups)), q.account)
}

func (s *Server) clusterServerGroup(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	name, err := segments(r, "name")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	q, found, err := s.findCluster(r, true)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	wanted := normalName(name[0])
	var groups []view.ServerGroup
	for _, g := range found.ServerGroups {
		if strings.EqualFold(g.Kind, wanted.kind) && g.DisplayName == wanted.name && (!query.Has("region") || g.Region == query.Get("region")) {
			groups = append(groups, g)
		}
	}
	switch {
	case len(groups) == 0:
		s.fail(w, r, missing(q.health, q.account,
			fmt.Sprintf("Server group not found (account: %s, name: %s, type: %s)", q.account, name[0], q.kind)))
	case query.Has("region"):
		s.send(w, r, q.health, newAnswer(view.Encode(groups[0])), q.account)
	default:
		s.send(w, r, q.health, newAnswer(view.Encode(groups)), q.account)
	}
}

// resolveTarget finds the server group that a target route asks for.
func (s *Server) resolveTarget(r *http.Request, validateOldest bool) (clusterRequest, index.Group, error) {
	names, err := segments(r, "scope", "target")
	if err != nil {
		return clusterRequest{}, index.Group{}, err
	}
	q, part, err := s.ask(r)
	if err != nil {
		return q, index.Group{}, err
	}
	groups := view.Members(part, q.cluster)
	if q.kind == kubernetes {
		if _, ok := view.NewCluster(q.application, part, q.cluster, false); !ok {
			return q, index.Group{}, q.typed(false)
		}
	} else {
		groups = nil
	}
	found, err := view.Resolve(view.Target{
		Account: q.account, Cluster: q.cluster, Type: q.kind, Scope: names[0], Name: names[1],
		OnlyEnabled: boolean(r.URL.Query(), "onlyEnabled", false), ValidateOldest: validateOldest,
	}, groups)
	return q, found, err
}

func (s *Server) target(w http.ResponseWriter, r *http.Request) {
	q, found, err := s.resolveTarget(r, boolean(r.URL.Query(), "validateOldest", true))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.send(w, r, q.health, newAnswer(view.Encode(view.NewServerGroup(q.account, found))), q.account)
}

func (s *Server) targetSummary(w http.ResponseWriter, r *http.Request) {
	summary, err := segments(r, "summary")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	q, found, err := s.resolveTarget(r, false)
	switch {
	case err != nil:
		s.fail(w, r, err)
	case strings.EqualFold(summary[0], "images"):
		s.send(w, r, q.health, newAnswer(view.ImageSummary(found)), q.account)
	case strings.EqualFold(summary[0], "image"):
		w.WriteHeader(http.StatusOK) // Java answers null, which is an empty body
	default:
		s.fail(w, r, view.NotFoundError("Summary not found (type: "+summary[0]+")"))
	}
}
