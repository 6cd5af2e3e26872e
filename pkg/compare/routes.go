package compare

import (
	"net/url"
	"strings"
)

// route is one thing to ask of both.
type route struct{ path, pattern string }

// to fills the names into a pattern, in its order.
func to(pattern string, names ...string) route {
	path := pattern
	for _, name := range names {
		begin, end := strings.IndexByte(path, '{'), strings.IndexByte(path, '}')
		path = path[:begin] + url.PathEscape(name) + path[end+1:]
	}
	return route{path, pattern}
}

// forAll are asked once.
func forAll() []route {
	return []route{to("/credentials"), to("/credentials?expand=true"), to("/applications?restricted=false&expand=true"), to("/securityGroups"), to("/features/stages")}
}

// forAccount are asked for each account of both.
func forAccount(account string) []route {
	return []route{
		to("/credentials/{account}", account),
		to("/kubernetes/loadBalancers?account={account}", account),
		to("/securityGroups/{account}/kubernetes", account),
	}
}

// searched are the types that Deck's search asks for.
var searched = []string{"serverGroups", "serverGroupManagers", "loadBalancers", "securityGroups", "instances", "clusters"}

// forApplication are asked for each application of both: Deck's lists and
// Orca's.
func forApplication(application string) []route {
	out := []route{
		to("/applications/{application}?expand=true", application),
		to("/applications/{application}/clusters", application),
		to("/applications/{application}/serverGroups?expand=true", application),
		to("/applications/{application}/serverGroupManagers", application),
		to("/applications/{application}/loadBalancers", application),
		to("/applications/{application}/rawResources", application),
	}
	for _, kind := range searched {
		out = append(out, to("/search?pageSize=10000&platform=kubernetes&type="+kind+"&q={application}", application))
	}
	return out
}

// targets are the server groups of a cluster that Orca asks for.
var targets = []string{"current_asg", "current_asg_dynamic", "ancestor_asg_dynamic", "oldest_asg_dynamic"}

// dynamicCriteria are those of Orca's dynamic targets.
var dynamicCriteria = []string{"newest", "second_newest", "oldest", "largest", "smallest"}

// detailsOf is what is asked for each thing that the lists of an application
// name.
func detailsOf(application string, shared func(account string) bool, answers map[string]any) []route {
	var out []route
	clusters, _ := answers["/applications/{application}/clusters"].(map[string]any)
	for account, names := range clusters {
		if !shared(account) {
			continue
		}
		out = append(out, to("/applications/{application}/clusters/{account}", application, account))
		rows, _ := names.([]any)
		for _, row := range rows {
			cluster, ok := row.(string)
			if !ok {
				continue
			}
			at := "/applications/{application}/clusters/{account}/{cluster}"
			out = append(out, to(at, application, account, cluster), to(at+"/kubernetes/serverGroups", application, account, cluster))
		}
	}
	for _, group := range placed(answers["/applications/{application}/serverGroups?expand=true"], shared) {
		out = append(out,
			to("/applications/{application}/serverGroups/{account}/{region}/{name}", application, group.account, group.region, group.name),
			to("/manifests/{account}/{location}/{name}", group.account, group.region, group.name))
		if cluster := text(group.row["cluster"]); cluster != "" {
			for _, target := range targets {
				out = append(out, to("/applications/{application}/clusters/{account}/{cluster}/kubernetes/{scope}/serverGroups/target/"+target, application, group.account, cluster, group.region))
			}
		}
		if kind, _, ok := strings.Cut(text(group.row["cluster"]), " "); ok {
			at := "/manifests/{account}/{location}/{kind}/cluster/{application}/{cluster}"
			names := []string{group.account, group.region, kind, application, text(group.row["cluster"])}
			out = append(out, to(at, names...))
			for _, criteria := range dynamicCriteria {
				out = append(out, to(at+"/dynamic/"+criteria, names...))
			}
		}
		instances, _ := group.row["instances"].([]any)
		for _, row := range instances {
			instance, _ := row.(map[string]any)
			if name := fullName(instance); name != "" {
				out = append(out, to("/instances/{account}/{region}/{id}", group.account, group.region, name))
			}
		}
	}
	for _, manager := range placed(answers["/applications/{application}/serverGroupManagers"], shared) {
		out = append(out, to("/manifests/{account}/{location}/{name}", manager.account, manager.region, manager.name))
	}
	for _, balancer := range placed(answers["/applications/{application}/loadBalancers"], shared) {
		out = append(out,
			to("/kubernetes/loadBalancers/{account}/{region}/{name}", balancer.account, balancer.region, balancer.name),
			to("/manifests/{account}/{location}/{name}", balancer.account, balancer.region, balancer.name))
	}
	return distinct(out)
}

// fullName is the name by which every Clouddriver knows an instance; its "name"
// in an expanded list is the UID.
func fullName(instance map[string]any) string {
	for _, key := range []string{"humanReadableName", "name"} {
		if name := text(instance[key]); strings.Contains(name, " ") {
			return name
		}
	}
	return ""
}

func distinct(routes []route) []route {
	seen := map[route]bool{}
	out := routes[:0]
	for _, r := range routes {
		if !seen[r] {
			seen[r] = true
			out = append(out, r)
		}
	}
	return out
}

type place struct {
	account, region, name string
	row                   map[string]any
}

// placed are the rows of a list that one can ask for by themselves.
func placed(list any, shared func(string) bool) (out []place) {
	rows, _ := list.([]any)
	for _, row := range rows {
		object, _ := row.(map[string]any)
		p := place{account: text(object["account"]), region: text(object["region"]), name: text(object["name"]), row: object}
		if p.region == "" {
			p.region = text(object["namespace"])
		}
		if p.account != "" && p.region != "" && p.name != "" && shared(p.account) {
			out = append(out, p)
		}
	}
	return out
}

func text(v any) string {
	s, _ := v.(string)
	return s
}
