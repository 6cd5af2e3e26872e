package api

import (
	"fmt"
	"strings"

	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
)

const kubernetes = "kubernetes"

// clusterRequest is a question about one application in one account.
type clusterRequest struct {
	application, account, cluster, kind string
}

// ask returns what an application has in an account.
func (s *Server) ask(r *request) (clusterRequest, index.Part) {
	p := r.segments("application", "account", "cluster", "type")
	q := clusterRequest{application: p[0], account: p[1], cluster: p[2], kind: p[3]}
	return q, s.sees(r).Part(q.application, q.account, index.Groups|index.Managers)
}

func (s *Server) clusterSummaries(r *request) (reply, error) {
	q, part := s.ask(r)
	if len(part.Groups)+len(part.Managers) == 0 {
		return reply{}, s.missing(r, q.account, fmt.Sprintf("No clusters found (application: %s, account: %s)", q.application, q.account))
	}
	return answered(newAnswer(view.ClusterSummaries(s.spelling(q.application), part)), q.account), nil
}

// spelling is the application's name as its objects have it.
func (s *Server) spelling(application string) string {
	if found, ok := s.Index.Application(application); ok {
		return found.Name
	}
	return application
}

func (s *Server) clusterArray(r *request) (reply, error) {
	q, part := s.ask(r)
	found, ok := view.NewCluster(s.spelling(q.application), part, q.cluster, boolean(r.URL.Query(), "expand", true))
	if !ok {
		return reply{}, s.missing(r, q.account,
			fmt.Sprintf("Cluster not found (application: %s, account: %s, name: %s)", q.application, q.account, q.cluster))
	}
	return answered(newAnswer(view.Encode([]view.Cluster{found})), q.account), nil
}

// typed refuses other providers and clusters that do not exist.
func (s *Server) typed(r *request, q clusterRequest, found bool) error {
	if q.kind != kubernetes {
		return view.NotFoundError(fmt.Sprintf("No cluster provider of type: %s found that can handle cluster: %s in application: %s, account: %s",
			q.kind, q.cluster, q.application, q.account))
	}
	if !found {
		return s.missing(r, q.account,
			fmt.Sprintf("No clusters found (application: %s, account: %s, type: %s)", q.application, q.account, q.kind))
	}
	return nil
}

// findCluster answers a question that needs the cluster to exist.
func (s *Server) findCluster(r *request, expand bool) (clusterRequest, view.Cluster, error) {
	q, part := s.ask(r)
	found, ok := view.NewCluster(s.spelling(q.application), part, q.cluster, expand)
	return q, found, s.typed(r, q, ok)
}

func (s *Server) cluster(r *request) (reply, error) {
	q, found, err := s.findCluster(r, boolean(r.URL.Query(), "expand", true))
	if err != nil {
		return reply{}, err
	}
	return answered(newAnswer(view.Encode(found)), q.account), nil
}

func (s *Server) clusterServerGroups(r *request) (reply, error) {
	query := r.URL.Query()
	q, found, err := s.findCluster(r, boolean(query, "expand", true))
	if err != nil {
		return reply{}, err
	}
	groups := []view.ServerGroup{}
	for _, g := range found.ServerGroups {
		if !query.Has("region") || g.Region == query.Get("region") {
			groups = append(groups, g)
		}
	}
	return answered(newAnswer(view.Encode(groups)), q.account), nil
}

func (s *Server) clusterServerGroup(r *request) (reply, error) {
	query := r.URL.Query()
	name := r.segments("name")
	q, found, err := s.findCluster(r, true)
	if err != nil {
		return reply{}, err
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
		return reply{}, s.missing(r, q.account,
			fmt.Sprintf("Server group not found (account: %s, name: %s, type: %s)", q.account, name[0], q.kind))
	case query.Has("region"):
		return answered(newAnswer(view.Encode(groups[0])), q.account), nil
	default:
		return answered(newAnswer(view.Encode(groups)), q.account), nil
	}
}

// resolveTarget finds the server group that a target route asks for.
func (s *Server) resolveTarget(r *request, validateOldest bool) (clusterRequest, index.Group, error) {
	names := r.segments("scope", "target")
	q, part := s.ask(r)
	groups := view.Members(part, q.cluster)
	if q.kind == kubernetes {
		if _, ok := view.NewCluster(q.application, part, q.cluster, false); !ok {
			return q, index.Group{}, s.typed(r, q, false)
		}
	} else {
		groups = nil
	}
	found, err := view.Resolve(view.Target{
		Account: q.account, Cluster: q.cluster, Type: q.kind, Scope: names[0], Name: names[1],
		OnlyEnabled: boolean(r.URL.Query(), "onlyEnabled", false), ValidateOldest: validateOldest,
	}, groups)
	if err != nil && r.doubt != nil {
		err = s.unavailable(q.account, r.doubt)
	}
	return q, found, err
}

func (s *Server) target(r *request) (reply, error) {
	q, found, err := s.resolveTarget(r, boolean(r.URL.Query(), "validateOldest", true))
	if err != nil {
		return reply{}, err
	}
	return answered(newAnswer(view.Encode(view.NewServerGroup(q.account, found))), q.account), nil
}

func (s *Server) targetSummary(r *request) (reply, error) {
	summary := r.segments("summary")
	q, found, err := s.resolveTarget(r, false)
	switch {
	case err != nil:
		return reply{}, err
	case strings.EqualFold(summary[0], "images"):
		return answered(newAnswer(view.ImageSummary(found)), q.account), nil
	case strings.EqualFold(summary[0], "image"):
		return reply{}, nil // Java answers null, which is an empty body
	}
	return reply{}, view.NotFoundError("Summary not found (type: " + summary[0] + ")")
}
