package view

import (
	"maps"

	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// SearchResults is the one result set of a search (read-rest.md 3.2;
// spinnaker/clouddriver, SearchResultSet).
type SearchResults struct {
	PageNumber   int              `json:"pageNumber"`
	PageSize     int              `json:"pageSize"`
	Platform     string           `json:"platform"`
	Query        string           `json:"query"`
	TotalMatches int              `json:"totalMatches"`
	Results      []map[string]any `json:"results"`
}

// SearchHit renders an object that was found.
func SearchHit(h index.Hit) map[string]any {
	m := h.Moniker()
	class := h.Kind.Class
	full := h.FullName()
	out := map[string]any{
		"type": string(class), "provider": provider, "group": h.Kind.Text, "kubernetesKind": h.Kind.Text, "account": h.Account,
		"namespace": h.Namespace, "region": h.Namespace, "name": full,
	}
	if m.App != "" || class == spinnaker.SecurityGroups { // Orca calls a method on it there
		out["application"] = m.App
	}
	if m.Cluster != "" {
		out["cluster"] = m.Cluster
	}
	switch class {
	case spinnaker.ServerGroups:
		out["serverGroup"] = full
		if m.Stack != "" {
			out["stack"] = m.Stack
		}
		if m.Detail != "" {
			out["detail"] = m.Detail
		}
		if m.HasSequence {
			out["sequence"] = m.Sequence
		}
	case spinnaker.LoadBalancers:
		out["loadBalancer"] = full
	case spinnaker.SecurityGroups:
		out["id"] = full
	case spinnaker.Instances:
		out["instanceId"] = full
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
