package view

import (
	"github.com/datapunchorg/go-clouddriver/pkg/index"
)

type application struct {
	Name         string              `json:"name"`
	Attributes   map[string]string   `json:"attributes"`
	ClusterNames map[string][]string `json:"clusterNames"`
}

// Listed renders one element of the list of applications (read-lists.md 2.1).
func Listed(a index.Application) []byte {
	return encode(application{Name: a.Name, Attributes: map[string]string{"name": a.Name}, ClusterNames: a.Clusters})
}

type applicationCluster struct {
	Name          string   `json:"name"`
	Provider      string   `json:"provider"`
	LoadBalancers []string `json:"loadBalancers"`
	ServerGroups  []string `json:"serverGroups"`
}

// Application renders one application (2.2).
func Application(a index.Application) []byte {
	clusters := make(map[string][]applicationCluster, len(a.Clusters))
	for account, names := range a.Clusters {
		for _, name := range names {
			clusters[account] = append(clusters[account], applicationCluster{Name: name, Provider: provider, LoadBalancers: []string{}, ServerGroups: []string{}})
		}
	}
	return encode(map[string]any{
		"name": a.Name, "attributes": map[string]string{"cloudProviders": provider, "name": a.Name}, "clusters": clusters,
	})
}

// ClusterNames renders the cluster texts of an application by account (2.4).
func ClusterNames(a index.Application) []byte {
	if a.Clusters == nil {
		return []byte("{}")
	}
	return encode(a.Clusters)
}
