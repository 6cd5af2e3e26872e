package index

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

var (
	replicaSets = cluster.Resource{Group: "apps", Version: "v1", Plural: "replicasets", Kind: "ReplicaSet", Namespaced: true}
	deployments = cluster.Resource{Group: "apps", Version: "v1", Plural: "deployments", Kind: "Deployment", Namespaced: true}
	pods        = cluster.Resource{Version: "v1", Plural: "pods", Kind: "Pod", Namespaced: true}
	services    = cluster.Resource{Version: "v1", Plural: "services", Kind: "Service", Namespaced: true}
	everyKind   = []cluster.Resource{replicaSets, deployments, pods, services}
)

// simulated is a cluster that hands out versions and remembers its history.
type simulated struct {
	rand    *rand.Rand
	version int
	uid     int
	objects map[string]map[string]map[string]any // kind, name
	history []change
}

type change struct {
	kind    string
	deleted bool
	object  map[string]any
}

// mutate changes one random object.
func (c *simulated) mutate() {
	kind := everyKind[c.rand.IntN(len(everyKind))].Kind
	name := kind + strconv.Itoa(c.rand.IntN(5))
	c.version++
	old := c.objects[kind][name]
	if old != nil && c.rand.IntN(3) == 0 {
		gone := maps.Clone(old)
		meta := maps.Clone(gone["metadata"].(map[string]any))
		meta["resourceVersion"] = strconv.Itoa(c.version)
		gone["metadata"] = meta
		delete(c.objects[kind], name)
		c.history = append(c.history, change{kind, true, gone})
		return
	}
	var uid string
	if old != nil {
		uid = old["metadata"].(map[string]any)["uid"].(string)
	} else {
		c.uid++
		uid = "uid-" + strconv.Itoa(c.uid)
	}
	o := c.object(kind, name, uid)
	c.objects[kind][name] = o
	c.history = append(c.history, change{kind, false, o})
}

func (c *simulated) object(kind, name, uid string) map[string]any {
	pick := func(n int) string { return strconv.Itoa(c.rand.IntN(n)) }
	meta := map[string]any{
		"name": name, "namespace": "ns" + strconv.Itoa(len(name)%2), "uid": uid, "resourceVersion": strconv.Itoa(c.version),
		"creationTimestamp": "2026-01-01T00:00:00Z", "labels": map[string]string{"l": pick(3)},
		"annotations": map[string]string{"moniker.spinnaker.io/application": "app" + pick(3), "moniker.spinnaker.io/cluster": "c" + pick(2)},
	}
	if c.rand.IntN(8) == 0 {
		meta["annotations"].(map[string]string)["caching.spinnaker.io/ignore"] = "true"
	}
	o := map[string]any{"metadata": meta}
	owner := map[string]string{"Pod": "ReplicaSet", "ReplicaSet": "Deployment"}[kind]
	if parent := c.objects[owner][""+owner+pick(5)]; parent != nil {
		p := parent["metadata"].(map[string]any)
		version := "apps/v1"
		meta["ownerReferences"] = []map[string]any{{"apiVersion": version, "kind": owner, "name": p["name"], "uid": p["uid"]}}
	}
	switch kind {
	case "ReplicaSet":
		o["spec"] = map[string]any{"replicas": c.rand.IntN(9), "template": map[string]any{"metadata": map[string]any{"labels": map[string]string{"a": pick(2), "b": pick(2)}}}}
	case "Service":
		o["spec"] = map[string]any{"selector": map[string]string{"a": pick(2), "b": pick(2)}}
	case "Pod":
		o["status"] = map[string]any{"phase": []string{"Pending", "Running", "Failed"}[c.rand.IntN(3)]}
	}
	return o
}

func (c *simulated) list(kind string) []map[string]any {
	return slices.Collect(maps.Values(c.objects[kind]))
}

type sink struct {
	decode watch.Decode
	stream watch.Receiver
}

func (r sink) object(t *testing.T, o map[string]any) watch.Object {
	t.Helper()
	raw, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := r.decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	return decoded
}

// listed is an object as a list brings it: one that is held is not read again.
func (r sink) listed(t *testing.T, o map[string]any) watch.Object {
	t.Helper()
	raw, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	if held := r.stream.(watch.Holder).Held(raw); held != nil {
		return held
	}
	return r.object(t, o)
}

func (r sink) replace(t *testing.T, objects []map[string]any, version int, reset bool) {
	t.Helper()
	var decoded []watch.Object
	for _, o := range objects {
		decoded = append(decoded, r.listed(t, o))
	}
	r.stream.Replace(decoded, strconv.Itoa(version), reset)
}

func open(ix *Index) map[string]sink {
	opened := ix.Open(&account.Account{Name: "a"})
	out := map[string]sink{}
	for _, r := range everyKind {
		decode, stream := opened.Open(r, &watch.Stream{Kind: r.KindText()})
		out[r.Kind] = sink{decode, stream}
	}
	return out
}

// picture is everything that the views can see.
func picture(ix *Index) map[string]any {
	flat := func(o *Object) string {
		return fmt.Sprint(o.FullName(), o.Namespace, o.UID(), o.ResourceVersion(), o.LabelsJSON(), o.Moniker(), o.phase)
	}
	all := func(objects []*Object) []string {
		out := []string{}
		for _, o := range objects {
			out = append(out, flat(o))
		}
		return out
	}
	group := func(g Group) []any {
		return []any{flat(g.Object), g.Group.Desired, all(g.Instances), all(g.Attached), fmt.Sprint(g.Managers)}
	}
	out := map[string]any{"applications": ix.Applications()}
	for i := range 3 {
		name := "app" + strconv.Itoa(i)
		p := ix.Part(name, "a", Groups|Managers|Balancers)
		var rows []any
		for _, g := range p.Groups {
			rows = append(rows, group(g))
		}
		for _, m := range p.Managers {
			rows = append(rows, flat(m.Object), all(m.Groups))
		}
		for _, b := range p.Balancers {
			rows = append(rows, flat(b.Object))
			for _, g := range b.Groups {
				rows = append(rows, group(g))
			}
		}
		out[name] = rows
	}
	return out
}

// TestIndex_AnyInterleavingEndsAsTheFinalList sends every kind's history with
// relists, repetitions and stale events mixed in, and compares with an index
// that only saw the end.
func TestIndex_AnyInterleavingEndsAsTheFinalList(t *testing.T) {
	interleavings := 10_000
	if raceDetected { // which makes each ten times slower, and nothing runs at once here
		interleavings = 2_000
	}
	for seed := range uint64(interleavings) {
		c := &simulated{rand: rand.New(rand.NewPCG(seed, 1)), objects: map[string]map[string]map[string]any{}}
		for _, r := range everyKind {
			c.objects[r.Kind] = map[string]map[string]any{}
		}
		ix := New(nil)
		receivers := open(ix)
		versions := map[string]uint64{}
		send := func(ch change) {
			o := receivers[ch.kind].object(t, ch.object)
			if ch.deleted {
				receivers[ch.kind].stream.Delete(o)
			} else {
				receivers[ch.kind].stream.Upsert(o)
			}
		}
		sent := 0
		for range 10 + c.rand.IntN(40) {
			before, versionsBefore := picture(ix), maps.Clone(versions)
			switch c.rand.IntN(10) {
			case 0: // a relist; the events up to it never come
				kind := everyKind[c.rand.IntN(len(everyKind))].Kind
				receivers[kind].replace(t, c.list(kind), c.version, c.rand.IntN(4) == 0)
			case 1: // an old event comes again
				if sent > 0 {
					send(c.history[c.rand.IntN(sent)])
				}
			case 2, 3, 4:
				c.mutate()
			default:
				if sent < len(c.history) {
					send(c.history[sent])
					sent++
				}
			}
			checkVersions(t, ix, before, versionsBefore, versions)
		}
		for ; sent < len(c.history); sent++ {
			send(c.history[sent])
		}
		final := New(nil)
		for kind, r := range open(final) {
			r.replace(t, c.list(kind), c.version, false)
		}
		if got, want := picture(ix), picture(final); !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d:\ngot  %v\nwant %v", seed, got, want)
		}
	}
}

// checkVersions fails when what an application shows has changed and its
// version has not, so that a stale answer would be served from the cache.
func checkVersions(t *testing.T, ix *Index, before map[string]any, old, now map[string]uint64) {
	t.Helper()
	after := picture(ix)
	for name := range after {
		if name == "applications" {
			now[name] = ix.Membership()
		} else {
			now[name] = ix.Version(name)
		}
		if !reflect.DeepEqual(before[name], after[name]) && old[name] == now[name] && now[name] != 0 {
			t.Fatalf("%s changed under the same version:\nfrom %v\nto   %v", name, before[name], after[name])
		}
	}
}

// TestSwap_NothingEndsThatGoesOn changes the one object that an application and a
// cluster are made of, in each way that leaves it where it is: the application is
// there all the time, and the set of applications and clusters is not another one.
func TestSwap_NothingEndsThatGoesOn(t *testing.T) {
	kind := func(group, name, plural string) cluster.Resource {
		return cluster.Resource{Group: group, Version: "v1", Plural: plural, Kind: name, Namespaced: true}
	}
	for _, r := range []cluster.Resource{
		kind("apps", "Deployment", "deployments"), kind("apps", "ReplicaSet", "replicasets"), kind("apps", "StatefulSet", "statefulsets"), kind("apps", "DaemonSet", "daemonsets"),
		kind("batch", "Job", "jobs"), kind("batch", "CronJob", "cronjobs"), kind("", "Service", "services"), kind("networking.k8s.io", "Ingress", "ingresses"),
		kind("networking.k8s.io", "NetworkPolicy", "networkpolicies"), kind("", "Pod", "pods"),
	} {
		t.Run(r.Kind, func(t *testing.T) {
			random := rand.New(rand.NewPCG(7, 7))
			ix := New(nil)
			opened := ix.Open(&account.Account{Name: "a"})
			decode, stream := opened.Open(r, &watch.Stream{Kind: r.KindText()})
			s := sink{decode, stream}
			version := 0
			change := func() map[string]any {
				version++
				one := func(from ...string) string { return from[random.IntN(len(from))] }
				labels := map[string]string{"l": one("a", "b", "c"), one("x", "y"): "z"}
				owners := []map[string]any{}
				for range random.IntN(3) {
					owners = append(owners, map[string]any{"apiVersion": one("apps/v1", "example.com/v1"), "kind": one("Deployment", "ReplicaSet"), "name": one("o", "p"), "uid": one("u1", "u2", "01234567-89ab-cdef-0123-456789abcdef")})
				}
				return map[string]any{
					"metadata": map[string]any{
						"name": "lone", "namespace": "ns", "uid": "01234567-89ab-cdef-0123-456789abcdee", "resourceVersion": strconv.Itoa(version), "labels": labels, "ownerReferences": owners,
						"annotations": map[string]string{"moniker.spinnaker.io/application": "App", "moniker.spinnaker.io/cluster": "c", "moniker.spinnaker.io/stack": one("s", "t"), "traffic.spinnaker.io/load-balancers": one(`["service x"]`, `[]`)},
					},
					"spec":   map[string]any{"replicas": random.IntN(5), "serviceName": one("x", "y"), "selector": labels, "template": map[string]any{"metadata": map[string]any{"labels": labels}}},
					"status": map[string]any{"phase": one("Running", "Pending"), "desiredNumberScheduled": random.IntN(4), "readyReplicas": random.IntN(4)},
				}
			}
			stream.Upsert(s.object(t, change()))
			app, members, version0 := ix.apps["app"], ix.Membership(), ix.Version("app")
			for range 500 {
				before := ix.Version("app")
				switch o := s.object(t, change()); random.IntN(4) {
				case 0:
					stream.Replace([]watch.Object{o}, strconv.Itoa(version), false)
				default:
					stream.Upsert(o)
				}
				if r.Kind != "Pod" && ix.Version("app") == before {
					t.Fatal("what is shown has changed under the same version")
				}
				if ix.apps["app"] != app || ix.Membership() != members {
					t.Fatalf("after change %d: the application has ended and begun anew, or the members have (%d, %d)", version, members, ix.Membership())
				}
			}
			if r.Kind != "Pod" && version0 == 0 {
				t.Error("there is no application")
			}
			stream.Delete(s.object(t, change()))
			if ix.apps["app"] != nil {
				t.Error("the application outlives its last object")
			}
			a := opened.(*Account)
			if left := len(a.byUID) + len(a.children) + len(a.apps) + len(a.links.groups) + len(a.links.services) + len(a.links.named) + len(a.links.byName) + len(a.links.anchors); left != 0 {
				t.Errorf("%d relations are left", left)
			}
		})
	}
}

func TestApplication_HasNoSpellingThatNobodyUses(t *testing.T) {
	ix := New(nil)
	all := open(ix)
	for i, spelling := range []string{"Foo", "foo"} {
		for _, name := range []string{"one", "two"}[i:] {
			all["Deployment"].stream.Upsert(all["Deployment"].object(t, map[string]any{"metadata": map[string]any{
				"name": name, "namespace": "ns", "uid": name, "resourceVersion": strconv.Itoa(i + len(name)*10 + len(name[:1+i])),
				"annotations": map[string]string{"moniker.spinnaker.io/application": spelling, "moniker.spinnaker.io/cluster": spelling + name},
			}}))
		}
	}
	all["Deployment"].stream.Delete(all["Deployment"].object(t, map[string]any{"metadata": map[string]any{"name": "one", "namespace": "ns", "uid": "one", "resourceVersion": "99"}}))
	if got := ix.Applications(); len(got) != 1 || got[0].Name != "foo" {
		t.Errorf("%+v", got)
	}
}
