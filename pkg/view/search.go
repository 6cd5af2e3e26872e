package view

import (
	"maps"

	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// SearchResults is the one result set of a search (read-rest.md 3.2;
// spinnaker/clouddriver, SearchResultSet).
type SearchResults struct {
	PageNumber   int    `json:"pageNumber"`
	PageSize     int    `json:"pageSize"`
	Platform     string `json:"platform"`
	Query        string `json:"query"`
	TotalMatches int    `json:"totalMatches"`
	// Results are objects.
	Results []any `json:"results"`
}

// searchHit is an object that was found. It is not a map, since encoding those
// took more time than the search.
type searchHit struct {
	Type           spinnaker.Class `json:"type"`
	Provider       string          `json:"provider"`
	Group          string          `json:"group"`
	KubernetesKind string          `json:"kubernetesKind"`
	Account        string          `json:"account"`
	Namespace      string          `json:"namespace"`
	Region         string          `json:"region"`
	Name           string          `json:"name"`
	Application    *string         `json:"application,omitempty"`
	Cluster        string          `json:"cluster,omitempty"`
	ServerGroup    string          `json:"serverGroup,omitempty"`
	Stack          string          `json:"stack,omitempty"`
	Detail         string          `json:"detail,omitempty"`
	Sequence       *int            `json:"sequence,omitempty"`
	LoadBalancer   string          `json:"loadBalancer,omitempty"`
	ID             string          `json:"id,omitempty"`
	InstanceID     string          `json:"instanceId,omitempty"`
}

// SearchHit renders an object that was found.
func SearchHit(h index.Hit) any {
	m := h.Moniker()
	class := h.Kind.Class
	full := h.FullName()
	out := searchHit{
		Type: class, Provider: provider, Group: h.Kind.Text, KubernetesKind: h.Kind.Text, Account: h.Account,
		Namespace: h.Namespace, Region: h.Namespace, Name: full, Cluster: m.Cluster,
	}
	if m.App != "" || class == spinnaker.SecurityGroups { // Orca calls a method on it there
		out.Application = &m.App
	}
	switch class {
	case spinnaker.ServerGroups:
		out.ServerGroup, out.Stack, out.Detail = full, m.Stack, m.Detail
		if m.HasSequence {
			out.Sequence = &m.Sequence
		}
	case spinnaker.LoadBalancers:
		out.LoadBalancer = full
	case spinnaker.SecurityGroups:
		out.ID = full
	case spinnaker.Instances:
		// Deck looks for it among the instances of the application, which it
		// knows by their UIDs; Java Clouddriver sends the full name, which leads
		// nowhere.
		out.InstanceID = h.UID()
		if owner, ok := h.Owner(); ok {
			out.ServerGroup = spinnaker.FullName(owner.Kind, owner.Name)
		}
	}
	return out
}

// ApplicationHit renders an application that was found, with what Front50 knows
// of it, if anything.
func ApplicationHit(name string, known map[string]any) map[string]any {
	out := map[string]any{}
	for _, key := range []string{"email", "owner", "accounts", "createTs", "updateTs", "description"} {
		if v := known[key]; v != nil {
			out[key] = v
		}
	}
	maps.Copy(out, map[string]any{"type": "applications", "provider": provider, "name": name, "group": "applications", "application": name, "logicalKind": "APPLICATIONS"})
	return out
}

// ClusterHit renders a cluster that was found.
func ClusterHit(account, application, cluster string) map[string]any {
	return map[string]any{
		"type": "clusters", "provider": provider, "name": cluster, "group": "clusters", "account": account, "application": application, "cluster": cluster, "logicalKind": "CLUSTERS",
	}
}

// ProjectHit renders a project of Front50.
func ProjectHit(project map[string]any) map[string]any {
	out := maps.Clone(project)
	maps.Copy(out, map[string]any{"type": "projects", "provider": provider, "group": "projects", "url": "/projects/" + text(project["id"])})
	return out
}
