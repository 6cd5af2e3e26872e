package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/localkube"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// TestOracle_ViewsEqualALiveListUnderRandomChange changes two control planes
// at random for a minute and compares, at every pause, every view with one
// made from a fresh LIST by a second implementation.
func TestOracle_ViewsEqualALiveListUnderRandomChange(t *testing.T) { oracle(t, 64<<20) }

// TestOracle_ViewsAreTheSameWithoutRoomInTheCache is the same with a cache
// that drops nearly everything.
func TestOracle_ViewsAreTheSameWithoutRoomInTheCache(t *testing.T) { oracle(t, 1<<20) }

func oracle(t *testing.T, cacheBytes int64) {
	t.Helper()
	t.Parallel() // they keep apart by namespace
	const lasting, pauseEvery = time.Minute, 5 * time.Second
	clusters := pool.Shared(t, 2)
	c := settings()
	c.Cache.Bytes = cacheBytes
	s := start(t, c, clusters...).ready(t)
	r := &randomizer{t: t, rand: rand.New(rand.NewPCG(uint64(cacheBytes), 7)), clusters: clusters, prefix: fmt.Sprintf("oracle-%d-", cacheBytes>>20), service: s}
	for _, ns := range r.namespaces() {
		namespace(t, ns, clusters...)
	}
	begin, pauses, comparisons := time.Now(), 0, 0
	for time.Since(begin) < lasting {
		for pause := time.Now().Add(pauseEvery); time.Now().Before(pause); {
			r.step()
		}
		pauses++
		comparisons += r.compare()
	}
	t.Logf("%d changes, %d pauses, %d views compared: all equal", r.changes, pauses, comparisons)
}

type randomizer struct {
	t        *testing.T
	rand     *rand.Rand
	clusters []*localkube.Cluster
	prefix   string
	service  *service
	changes  int
	sick     bool // the way to the clusters is broken, so nothing is asked for through it
}

func (r *randomizer) namespaces() []string { return []string{r.prefix + "x", r.prefix + "y"} }
func (r *randomizer) app() string          { return r.prefix + string(rune('a'+r.rand.IntN(3))) }
func (r *randomizer) pick(of ...string) string {
	return of[r.rand.IntN(len(of))]
}

// step makes one change. Failures are part of the game: a namespace may be
// going away.
func (r *randomizer) step() {
	c := r.clusters[r.rand.IntN(len(r.clusters))]
	ns := r.pick(r.namespaces()...)
	try := func(method, path, contentType, body string) {
		r.changes++
		_, _ = c.Call(context.Background(), method, path, contentType, []byte(body))
	}
	app, n := r.app(), r.rand.IntN(3)
	meta := func(name, kind string) string {
		return fmt.Sprintf(`{name: %s, namespace: %s, labels: {app.kubernetes.io/managed-by: %s, l: "%d"}, annotations: {moniker.spinnaker.io/application: %s, moniker.spinnaker.io/cluster: %s %s}}`,
			name, ns, r.pick("spinnaker", "spinnaker", "spinnaker-operator", "somebody"), r.rand.IntN(3), app, kind, name)
	}
	template := func(labels string) string {
		return fmt.Sprintf(`{metadata: {labels: {%s, app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: %s, moniker.spinnaker.io/cluster: x}}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: "image:%d"}]}}`,
			labels, app, r.rand.IntN(4))
	}
	doc := ""
	switch r.rand.IntN(12) {
	case 0, 1, 2:
		name := fmt.Sprintf("d%d", n)
		doc = fmt.Sprintf("apiVersion: apps/v1\nkind: Deployment\nmetadata: %s\nspec: {replicas: %d, selector: {matchLabels: {d: %s}}, template: %s}\n", meta(name, "deployment"), r.rand.IntN(4), name, template("d: "+name+", tier: front"))
	case 3:
		name := fmt.Sprintf("s%d", n)
		doc = fmt.Sprintf("apiVersion: apps/v1\nkind: StatefulSet\nmetadata: %s\nspec: {serviceName: v%d, replicas: %d, selector: {matchLabels: {s: %s}}, template: %s}\n", meta(name, "statefulSet"), n, r.rand.IntN(3), name, template("s: "+name))
	case 4, 5:
		selector := r.pick("{d: d0}", "{d: d1, tier: front}", "{tier: front}", "{s: s1}", "{r: r0}")
		doc = fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: %s\nspec: {selector: %s, ports: [{port: 80}]}\n", meta(fmt.Sprintf("v%d", n), "service"), selector)
	case 6:
		name := fmt.Sprintf("r%d", n)
		doc = fmt.Sprintf("apiVersion: apps/v1\nkind: ReplicaSet\nmetadata: %s\nspec: {replicas: %d, selector: {matchLabels: {r: %s}}, template: %s}\n", meta(name, "replicaSet"), r.rand.IntN(3), name, template("r: "+name))
	case 7: // relations that cross applications: a ReplicaSet gets an owner of another one
		var d object
		if body, err := c.Call(context.Background(), http.MethodGet, "/apis/apps/v1/namespaces/"+ns+"/deployments/d"+fmt.Sprint(n), "", nil); err == nil && json.Unmarshal(body, &d) == nil {
			try(http.MethodPatch, fmt.Sprintf("/apis/apps/v1/namespaces/%s/replicasets/r%d", ns, r.rand.IntN(3)), "application/merge-patch+json",
				fmt.Sprintf(`{"metadata":{"ownerReferences":[{"apiVersion":"apps/v1","kind":"Deployment","name":"d%d","uid":%q}]}}`, n, d.uid()))
		}
	case 8:
		try(http.MethodDelete, "/apis/apps/v1/namespaces/"+ns+"/"+r.pick("deployments/d", "statefulsets/s", "replicasets/r")+fmt.Sprint(n)+"?propagationPolicy="+r.pick("Background", "Orphan", "Foreground"), "application/json", "")
	case 9:
		try(http.MethodDelete, "/api/v1/namespaces/"+ns+"/services/v"+fmt.Sprint(n), "application/json", "")
	case 10: // a label change that takes an object out of the selector, or back in
		try(http.MethodPatch, "/apis/apps/v1/namespaces/"+ns+"/"+r.pick("deployments/d", "statefulsets/s", "replicasets/r")+fmt.Sprint(n), "application/merge-patch+json",
			fmt.Sprintf(`{"metadata":{"labels":{"app.kubernetes.io/managed-by":%q},"annotations":{"moniker.spinnaker.io/application":%q}}}`, r.pick("nobody", "spinnaker"), app))
	case 11:
		if err := r.service.fleet.Refresh(context.Background(), c.Name, watch.Everything); err != nil && !r.sick {
			r.t.Error(err)
		}
		if r.rand.IntN(40) == 0 {
			try(http.MethodDelete, "/api/v1/namespaces/"+ns, "application/json", "")
		}
		try(http.MethodPatch, "/api/v1/namespaces/"+ns+"?fieldManager=test", "application/apply-patch+yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+ns+"}\n")
	}
	if doc != "" {
		r.changes++
		_ = c.Apply(context.Background(), []byte(doc))
	}
}

// compare waits until every view equals the oracle's, since controllers go on
// for a moment, and returns how many views that were.
func (r *randomizer) compare() int {
	r.t.Helper()
	compared := 0
	eventually(r.t, 30*time.Second, func() error {
		compared = 0
		n := listNaively(r.t, r.clusters)
		for _, app := range []string{r.prefix + "a", r.prefix + "b", r.prefix + "c"} {
			for path, want := range map[string]any{
				"serverGroups": n.serverGroups(app), "serverGroupManagers": n.managers(app),
				"loadBalancers": n.balancers(app), "clusters": n.clusters(app),
			} {
				got := r.service.get(r.t, "/applications/"+app+"/"+path)
				if err := equalJSON(got.body, want); err != nil {
					return fmt.Errorf("%s of %s: %w", path, app, err)
				}
				compared++
			}
		}
		return nil
	})
	return compared
}

func equalJSON(got string, want any) error {
	encoded, err := json.Marshal(want)
	if err != nil {
		return err
	}
	var a, b any
	if err := json.Unmarshal([]byte(got), &a); err != nil {
		return err
	}
	if err := json.Unmarshal(encoded, &b); err != nil {
		return err
	}
	if !reflect.DeepEqual(a, b) {
		x, _ := json.MarshalIndent(a, "", " ")
		y, _ := json.MarshalIndent(b, "", " ")
		return fmt.Errorf("differs:\n%s", firstDifference(strings.TrimSpace(string(y)), strings.TrimSpace(string(x))))
	}
	return nil
}
