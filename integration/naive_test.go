package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/localkube"
)

// naive answers the list views straight from a live LIST, written from
// read-lists.md alone and sharing no code with the service: the oracle.
type naive struct {
	accounts map[string][]object
}

type object map[string]any

var naiveKinds = []struct{ path, kind, apiVersion, class string }{
	{"/apis/apps/v1/replicasets", "replicaSet", "apps/v1", "group"},
	{"/apis/apps/v1/statefulsets", "statefulSet", "apps/v1", "group"},
	{"/apis/apps/v1/daemonsets", "daemonSet", "apps/v1", "group"},
	{"/apis/batch/v1/jobs", "job", "batch/v1", "group"},
	{"/apis/batch/v1/cronjobs", "cronJob", "batch/v1", "group"},
	{"/apis/apps/v1/deployments", "deployment", "apps/v1", "manager"},
	{"/api/v1/services", "service", "v1", "balancer"},
	{"/apis/networking.k8s.io/v1/ingresses", "ingress", "networking.k8s.io/v1", "balancer"},
	{"/api/v1/pods", "pod", "v1", "instance"},
}

func listNaively(t *testing.T, clusters []*localkube.Cluster) naive {
	t.Helper()
	n := naive{map[string][]object{}}
	for _, c := range clusters {
		n.accounts[c.Name] = nil
		for _, k := range naiveKinds {
			var list struct{ Items []object }
			body := call(t, c, http.MethodGet, k.path+"?labelSelector=app.kubernetes.io%2Fmanaged-by+in+(spinnaker%2Cspinnaker-operator)", "", "")
			if err := json.Unmarshal(body, &list); err != nil {
				t.Fatal(err)
			}
			for _, o := range list.Items {
				o["kind"], o["apiVersion"], o["class"] = k.kind, k.apiVersion, k.class
				if o.annotation("moniker.spinnaker.io/application") != "" && o.annotation("caching.spinnaker.io/ignore") != "true" {
					n.accounts[c.Name] = append(n.accounts[c.Name], o)
				}
			}
		}
	}
	return n
}

func (o object) at(path ...string) any {
	var v any = map[string]any(o)
	for _, p := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[p]
	}
	return v
}

func (o object) text(path ...string) string {
	s, _ := o.at(path...).(string)
	return s
}

func (o object) annotation(key string) string { return o.text("metadata", "annotations", key) }
func (o object) name() string                 { return o.text("metadata", "name") }
func (o object) ns() string                   { return o.text("metadata", "namespace") }
func (o object) uid() string                  { return o.text("metadata", "uid") }
func (o object) full() string                 { return o.text("kind") + " " + o.name() }
func (o object) app() string                  { return o.annotation("moniker.spinnaker.io/application") }

func (o object) moniker() map[string]any {
	m := map[string]any{"app": o.app()}
	if c := o.annotation("moniker.spinnaker.io/cluster"); c != "" {
		m["cluster"] = c
	}
	if o.text("kind") == "replicaSet" {
		if n, err := strconv.Atoi(o.annotation("deployment.kubernetes.io/revision")); err == nil {
			m["sequence"] = float64(n)
		}
	}
	return m
}

func (o object) created() float64 {
	at, _ := time.Parse(time.RFC3339, o.text("metadata", "creationTimestamp"))
	return float64(at.UnixMilli())
}

func (o object) labels() map[string]any {
	m, _ := o.at("metadata", "labels").(map[string]any)
	if m == nil {
		m = map[string]any{}
	}
	return m
}

func (o object) owners() []object {
	var out []object
	refs, _ := o.at("metadata", "ownerReferences").([]any)
	for _, r := range refs {
		out = append(out, object(r.(map[string]any)))
	}
	return out
}

func (n naive) of(account, class string, keep func(object) bool) []object {
	var out []object
	for _, o := range n.accounts[account] {
		if o.text("class") == class && keep(o) {
			out = append(out, o)
		}
	}
	sort.Slice(out, func(i, j int) bool {
		return fmt.Sprint(out[i].ns(), "\x00", out[i].text("kind"), "\x00", out[i].name()) < fmt.Sprint(out[j].ns(), "\x00", out[j].text("kind"), "\x00", out[j].name())
	})
	return out
}

func (n naive) names() []string {
	var out []string
	for a := range n.accounts {
		out = append(out, a)
	}
	sort.Strings(out)
	return out
}

func ownedBy(owner object) func(object) bool {
	return func(o object) bool {
		for _, r := range o.owners() {
			if r["uid"] == owner.uid() {
				return true
			}
		}
		return false
	}
}

func routes(service, group object) bool {
	if service.text("kind") != "service" || service.ns() != group.ns() {
		return false
	}
	if group.text("kind") == "statefulSet" && group.text("spec", "serviceName") == service.name() {
		return true
	}
	selector, _ := service.at("spec", "selector").(map[string]any)
	if k := group.text("kind"); len(selector) == 0 || k != "replicaSet" && k != "statefulSet" || service.text("spec", "type") == "ExternalName" {
		return false
	}
	for key, want := range selector {
		if group.text("spec", "template", "metadata", "labels", key) != want {
			return false
		}
	}
	return true
}

func podHealth(pod object) (entries []map[string]any, state string) {
	status, ok := pod["status"].(map[string]any)
	if !ok {
		return nil, "Unknown"
	}
	first := map[string]string{"Pending": "Down", "Running": "Up"}[object(status).text("phase")]
	if first == "" {
		first = "Unknown"
	}
	entries = append(entries, map[string]any{"platform": "platform", "source": "Pod", "type": "kubernetes/pod", "state": first})
	containers, _ := status["containerStatuses"].([]any)
	for _, c := range containers {
		s := "Down"
		if c.(map[string]any)["ready"] == true {
			s = "Up"
		}
		entries = append(entries, map[string]any{"platform": "platform", "source": "Container " + object(c.(map[string]any)).text("name"), "type": "kubernetes/container", "state": s})
	}
	count := map[any]int{}
	for _, e := range entries {
		count[e["state"]]++
	}
	switch {
	case count["Down"] > 0:
		return entries, "Down"
	case count["Up"] > 0:
		return entries, "Up"
	}
	return entries, "Unknown"
}

func (n naive) serverGroup(account string, g object) map[string]any {
	instances, counts := []any{}, map[string]any{"total": 0.0, "up": 0.0, "down": 0.0, "unknown": 0.0, "outOfService": 0.0, "starting": 0.0}
	for _, p := range n.of(account, "instance", ownedBy(g)) {
		entries, state := podHealth(p)
		short := []any{}
		for _, e := range entries {
			short = append(short, map[string]any{"type": e["type"], "state": e["state"]})
		}
		instances = append(instances, map[string]any{"id": p.uid(), "name": p.full(), "healthState": state, "availabilityZone": p.ns(), "health": short})
		counts["total"] = counts["total"].(float64) + 1
		counts[strings.ToLower(state)] = counts[strings.ToLower(state)].(float64) + 1
	}
	set := map[string]bool{}
	attached := n.of(account, "balancer", func(s object) bool { return routes(s, g) })
	for _, s := range attached {
		set[s.full()] = true
	}
	var explicit []string
	_ = json.Unmarshal([]byte(g.annotation("traffic.spinnaker.io/load-balancers")), &explicit)
	for _, e := range explicit {
		set[e] = true
	}
	balancers := []string{}
	for b := range set {
		balancers = append(balancers, b)
	}
	sort.Strings(balancers)
	managers := []any{}
	for _, r := range g.owners() {
		if r["kind"] == "Deployment" {
			managers = append(managers, map[string]any{"account": account, "location": g.ns(), "name": r["name"]})
		}
	}
	images := []string{}
	for _, path := range [][]string{{"containers"}, {"initContainers"}} {
		list, _ := g.at("spec", "template", "spec", path[0]).([]any)
		for _, c := range list {
			if image := object(c.(map[string]any)).text("image"); image != "" && !contains(images, image) {
				images = append(images, image)
			}
		}
	}
	desired, _ := g.at("spec", "replicas").(float64)
	if g.text("kind") == "daemonSet" {
		desired, _ = g.at("status", "desiredNumberScheduled").(float64)
	}
	disabled := len(attached) == 0 && len(explicit) > 0
	return map[string]any{
		"name": g.full(), "displayName": g.name(), "kind": g.text("kind"), "account": account, "namespace": g.ns(), "region": g.ns(),
		"cluster": g.moniker()["cluster"], "application": g.app(), "type": "kubernetes", "cloudProvider": "kubernetes",
		"isDisabled": disabled, "disabled": disabled, "createdTime": g.created(), "moniker": g.moniker(),
		"buildInfo": map[string]any{"images": images}, "capacity": map[string]any{"min": desired, "max": desired, "desired": desired, "pinned": false},
		"instanceCounts": counts, "instances": instances, "loadBalancers": balancers, "securityGroups": []any{},
		"serverGroupManagers": managers, "labels": g.labels(),
	}
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

func inApp(app string) func(object) bool {
	return func(o object) bool { return strings.EqualFold(o.app(), app) }
}

func (n naive) serverGroups(app string) []any {
	out := []any{}
	for _, account := range n.names() {
		for _, g := range n.of(account, "group", inApp(app)) {
			out = append(out, n.serverGroup(account, g))
		}
	}
	return out
}

func (n naive) frame(account string, o object) map[string]any {
	return map[string]any{
		"name": o.full(), "displayName": o.name(), "kind": o.text("kind"), "apiVersion": o.text("apiVersion"), "account": account,
		"namespace": o.ns(), "region": o.ns(), "cloudProvider": "kubernetes", "createdTime": o.created(), "moniker": o.moniker(), "labels": o.labels(),
	}
}

func (n naive) managers(app string) []any {
	out := []any{}
	for _, account := range n.names() {
		for _, m := range n.of(account, "manager", inApp(app)) {
			groups := []any{}
			for _, g := range n.of(account, "group", ownedBy(m)) {
				groups = append(groups, map[string]any{"name": g.full(), "account": account, "namespace": g.ns(), "region": g.ns(), "moniker": g.moniker()})
			}
			f := n.frame(account, m)
			f["serverGroups"] = groups
			out = append(out, f)
		}
	}
	return out
}

func (n naive) balancers(app string) []any {
	type entry struct {
		key  string
		view any
	}
	var all []entry
	for _, account := range n.names() {
		for _, b := range n.of(account, "balancer", inApp(app)) {
			groups := []any{}
			for _, g := range n.of(account, "group", func(g object) bool { return routes(b, g) }) {
				instances := []any{}
				for _, p := range n.of(account, "instance", ownedBy(g)) {
					entries, state := podHealth(p)
					decided := map[string]any{}
					for _, e := range entries {
						if e["state"] == state && (state != "Down" || len(decided) == 0) {
							decided = e
						}
					}
					instances = append(instances, map[string]any{"id": p.uid(), "name": p.full(), "zone": p.ns(), "health": decided})
				}
				groups = append(groups, map[string]any{
					"name": g.full(), "account": account, "region": g.ns(), "cloudProvider": "kubernetes", "isDisabled": false,
					"detachedInstances": []any{}, "instances": instances,
				})
			}
			f := n.frame(account, b)
			f["type"], f["serverGroups"] = "kubernetes", groups
			all = append(all, entry{strings.ToLower(b.full()) + "\x00" + account + "\x00" + b.ns(), f})
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].key < all[j].key })
	out := []any{}
	for _, e := range all {
		out = append(out, e.view)
	}
	return out
}

func (n naive) clusters(app string) map[string]any {
	out := map[string]any{}
	for _, account := range n.names() {
		set := map[string]bool{}
		for _, class := range []string{"group", "manager"} {
			for _, o := range n.of(account, class, inApp(app)) {
				set[o.annotation("moniker.spinnaker.io/cluster")] = true
			}
		}
		names := []string{}
		for c := range set {
			names = append(names, c)
		}
		sort.Strings(names)
		if len(names) > 0 {
			out[account] = names
		}
	}
	return out
}
