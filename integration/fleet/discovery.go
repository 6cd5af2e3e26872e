package fleet

import (
	"encoding/json"
	"slices"
)

var verbs = []string{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}

// groupsBelow are the groups of a path, the core group's name being "".
func groupsBelow(path string) []string {
	if path == "/api" {
		return []string{""}
	}
	var out []string
	for _, k := range kinds {
		if k.group != "" && !slices.Contains(out, k.group) {
			out = append(out, k.group)
		}
	}
	return out
}

func kindsOf(group string) (out []*kind) {
	for _, k := range kinds {
		if k.group == group {
			out = append(out, k)
		}
	}
	return out
}

// discovery is the answer of /api and /apis, in one piece or as a list of groups.
func discovery(path string, aggregated bool) []byte {
	type of = map[string]any
	var items []any
	for _, group := range groupsBelow(path) {
		all := kindsOf(group)
		if !aggregated {
			version := of{"groupVersion": all[0].apiVersion(), "version": all[0].version}
			items = append(items, of{"name": group, "versions": []any{version}, "preferredVersion": version})
			continue
		}
		var resources []any
		for _, k := range all {
			scope := "Cluster"
			if k.namespaced {
				scope = "Namespaced"
			}
			resources = append(resources, of{
				"resource": k.plural, "responseKind": of{"group": k.group, "version": k.version, "kind": k.name}, "scope": scope,
				"singularResource": k.singular, "verbs": verbs, "shortNames": k.short,
			})
		}
		metadata := of{"creationTimestamp": nil}
		if group != "" {
			metadata["name"] = group
		}
		items = append(items, of{"metadata": metadata, "versions": []any{of{"version": all[0].version, "resources": resources, "freshness": "Current"}}})
	}
	var answer any
	switch {
	case aggregated:
		answer = of{"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": of{}, "items": items}
	case path == "/api":
		answer = of{"kind": "APIVersions", "versions": []string{"v1"}, "serverAddressByClientCIDRs": []any{}}
	default:
		answer = of{"kind": "APIGroupList", "apiVersion": "v1", "groups": items}
	}
	body, _ := json.Marshal(answer)
	return append(body, '\n')
}

// resources is the answer of a group's version, nil for another path.
func resources(path string) []byte {
	type of = map[string]any
	var all []any
	version := ""
	for _, k := range kinds {
		if k.root() == path {
			version = k.apiVersion()
			all = append(all, of{"name": k.plural, "singularName": k.singular, "namespaced": k.namespaced, "kind": k.name, "verbs": verbs, "shortNames": k.short})
		}
	}
	if all == nil {
		return nil
	}
	body, _ := json.Marshal(of{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": all})
	return append(body, '\n')
}
