package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/localkube"
)

// BenchmarkDeploy compares deploys through us with the requests that kubectl
// apply would send for the same objects, made by bare calls in the same run.
func BenchmarkDeploy(b *testing.B) {
	clusters := []*localkube.Cluster{pool.Private(b, localkube.Options{Name: "one"}), pool.Private(b, localkube.Options{Name: "two"})}
	for _, c := range clusters {
		apply(b, c, "apiVersion: v1\nkind: Namespace\nmetadata: {name: bench}\n")
	}
	cfg := settings()
	cfg.Kubernetes.Accounts = javaAccounts(clusters...)
	var listing atomic.Int64
	s := startWith(b, cfg, func(next http.RoundTripper) http.RoundTripper { return listTimer{next, &listing} }).ready(b)
	t := &table{}
	o := &ops{service: s, c: clusters[0], namespace: "bench"}
	oneDeploy(b, o, t, &listing)
	manyDeploys(b, s, clusters, t, "SQLite")
	versionsAmongMany(b, o, t)
	s.stop()
	onMySQL := startWith(b, onDatabase(cfg, storeOptions(b, newDatabase(b, "utf8mb4"))), nil).ready(b)
	manyDeploys(b, onMySQL, clusters, t, "MySQL")
	fmt.Print(t)
	for b.Loop() {
	}
}

// listTimer adds up what the LISTs take that versions are looked up by.
type listTimer struct {
	next http.RoundTripper
	took *atomic.Int64
}

func (l listTimer) RoundTrip(r *http.Request) (*http.Response, error) {
	begin := time.Now()
	res, err := l.next.RoundTrip(r)
	if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/configmaps") && !r.URL.Query().Has("watch") {
		l.took.Add(int64(time.Since(begin)))
	}
	return res, err
}

// three are a Deployment without pods, a Service and a ConfigMap.
func (o *ops) three(name string) string {
	return strings.Replace(o.deployment(name, "x"), "replicas: 2", "replicas: 0", 1) + "\n---\n" + o.serviceManifest(name, "{app: "+name+"}") + "\n---\n" + o.configMap(name, "{k: v}")
}

var threePaths = []struct{ prefix, plural string }{{"/apis/apps/v1", "deployments"}, {"/api/v1", "services"}, {"/api/v1", "configmaps"}}

// modelName stands in the bodies for a name.
const modelName = "modelname"

// bareBodies are those that we send for three, with modelName in them.
func bareBodies(b *testing.B, o *ops) []string {
	b.Helper()
	o.deploy(b, o.three(modelName), "versioned: false").only(b)
	var out []string
	for _, p := range threePaths {
		record := o.live(b, p.prefix+"/namespaces/bench/"+p.plural+"/"+modelName).annotation(lastAppliedKey)
		var m map[string]any
		if err := json.Unmarshal([]byte(record), &m); err != nil {
			b.Fatal(err)
		}
		m["metadata"].(map[string]any)["annotations"].(map[string]any)[lastAppliedKey] = record
		out = append(out, string(marshalled(m)))
	}
	return out
}

// bareApply sends what kubectl apply sends for new objects: a GET that finds
// nothing, and a POST that is validated strictly. The bodies are those that we
// send.
func bareApply(b *testing.B, o *ops, bodies []string, name string) {
	b.Helper()
	for i, body := range bodies {
		path := threePaths[i].prefix + "/namespaces/bench/" + threePaths[i].plural
		_, _ = o.c.Call(context.Background(), http.MethodGet, path+"/"+name, "", nil) // 404, as it should be
		call(b, o.c, http.MethodPost, path+"?fieldManager=kubectl-client-side-apply&fieldValidation=Strict", "application/json", strings.ReplaceAll(body, modelName, name))
	}
}

// deployNow polls as a crowd may; deployClosely so that the poll costs nothing.
func (o *ops) deployNow(b testing.TB, body string) (post time.Duration) {
	b.Helper()
	return o.deployClosely(b, body, 20*time.Millisecond)
}

func (o *ops) deployClosely(b testing.TB, body string, most time.Duration) (post time.Duration) {
	b.Helper()
	var id string
	post = timed(func() { id = o.submit(b, body, "") })
	for wait := time.Millisecond; ; {
		r, err := o.tryGet("/task/" + id)
		if err != nil {
			b.Fatal(err)
		}
		if strings.Contains(r.body, `"completed":true`) {
			if strings.Contains(r.body, `"failed":true`) {
				b.Fatal(r.body)
			}
			return post
		}
		time.Sleep(wait)
		wait = min(2*wait, most)
	}
}

func oneDeploy(b *testing.B, o *ops, t *table, listing *atomic.Int64) {
	b.Helper()
	const n = 25
	var ours, bare, lists []time.Duration
	bodies := bareBodies(b, o)
	before := o.requests.Load()
	for i := range n {
		body := o.body(b, "deployManifest", o.deployFields(b, o.three(fmt.Sprint("ours-", i)), ""))
		listing.Store(0)
		took := timed(func() { o.deployClosely(b, body, time.Millisecond) })
		lists = append(lists, time.Duration(listing.Load()))
		ours = append(ours, took-time.Duration(listing.Load()))
		bare = append(bare, timed(func() { bareApply(b, o, bodies, fmt.Sprint("bare-", i)) }))
	}
	requests := float64(o.requests.Load()-before) / (3 * n)
	slices.Sort(ours)
	slices.Sort(bare)
	slices.Sort(lists)
	us, them := ours[n/2], bare[n/2]
	ratio := float64(us) / float64(them)
	t.add("deploy of three / kubectl's requests", fmt.Sprintf("%s (and %s for the versioning LIST) / %s = %.2f; %.1f API requests per object (kubectl 2)", round(us), round(lists[n/2]), round(them), ratio, requests), "at most 1.2", ratio <= 1.2)
}

// versionsAmongMany deploys sixty versioned config maps into a namespace of a
// thousand, and into one that is empty.
func versionsAmongMany(b *testing.B, o *ops, t *table) {
	b.Helper()
	const among, deployed = 1000, 60
	took := map[string][]time.Duration{}
	for _, namespace := range []string{"full", "empty"} {
		apply(b, o.c, "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+namespace+"}\n")
	}
	var filling []string
	for i := range among {
		filling = append(filling, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: filling-%d, namespace: full}\ndata: {k: %s}\n", i, strings.Repeat("x", 1000)))
	}
	apply(b, o.c, strings.Join(filling, "---\n"))
	const rounds = 3
	for round := range rounds {
		for _, namespace := range []string{"empty", "full"} {
			there := &ops{service: o.service, c: o.c, namespace: namespace}
			var manifests []string
			for i := range deployed {
				manifests = append(manifests, there.configMap(fmt.Sprintf("made-%d-%d", round, i), "{k: v}"))
			}
			body := there.body(b, "deployManifest", there.deployFields(b, strings.Join(manifests, "\n---\n"), ""))
			took[namespace] = append(took[namespace], timed(func() { there.deployNow(b, body) }))
		}
	}
	full, empty := slices.Min(took["full"]), slices.Min(took["empty"])
	ratio := float64(full) / float64(empty)
	t.add("60 versioned config maps among 1000 / among none", fmt.Sprintf("%s / %s = %.2f", round(full), round(empty), ratio), "at most 1.2", ratio <= 1.2)
}

func manyDeploys(b *testing.B, s *service, clusters []*localkube.Cluster, t *table, database string) {
	b.Helper()
	const n = 200
	model := bareBodies(b, &ops{service: s, c: clusters[0], namespace: "bench"})
	targets := []*ops{{service: s, c: clusters[0], namespace: "bench"}, {service: s, c: clusters[1], namespace: "bench"}}
	var idle []time.Duration
	for i := range 30 {
		body := targets[0].body(b, "deployManifest", targets[0].deployFields(b, targets[0].configMap(strings.ToLower(fmt.Sprint("idle-", database, "-", i)), "{k: v}"), ""))
		idle = append(idle, targets[0].deployNow(b, body))
	}
	var bodies []string
	for i := range n {
		o := targets[i%2]
		bodies = append(bodies, o.body(b, "deployManifest", o.deployFields(b, o.three(strings.ToLower(fmt.Sprint("many-", database, "-", i))), "versioned: false")))
	}
	posts := make([]time.Duration, n)
	busyBefore, ownBefore := machineBusy(b), cpu()
	var meanwhile []time.Duration
	took := timed(func() {
		var wg sync.WaitGroup
		over := make(chan struct{})
		var asking sync.WaitGroup
		asking.Go(func() { meanwhile = postsUntil(b, targets[0], over) })
		defer asking.Wait()
		defer close(over)
		for i := range n {
			wg.Go(func() { posts[i] = targets[i%2].deployNow(b, bodies[i]) })
		}
		wg.Wait()
	})
	share := 1 - (cpu()-ownBefore).Seconds()/(machineBusy(b)-busyBefore).Seconds()
	raw := timed(func() {
		var wg sync.WaitGroup
		slots := make(chan struct{}, 32)
		for i := range n {
			wg.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				bareApply(b, targets[i%2], model, strings.ToLower(fmt.Sprint("raw-", database, "-", i)))
			})
		}
		wg.Wait()
	})
	lost := 0
	for i := range n {
		for _, p := range threePaths {
			if !targets[i%2].exists(b, p.prefix+"/namespaces/bench/"+p.plural+"/many-"+strings.ToLower(database)+"-"+strconv.Itoa(i)) {
				lost++
			}
		}
	}
	slices.Sort(idle)
	slices.Sort(posts)
	ratio := float64(raw) / float64(took)
	t.add("200 deploys at once on "+database+", ours / raw", fmt.Sprintf("%.1f/s / %.1f/s = %.2f; %d objects lost; %.0f %% of the CPU is the control planes'", n/took.Seconds(), n/raw.Seconds(), ratio, lost, 100*share), "none lost, at least 0.9", lost == 0 && ratio >= 0.9)
	const postMost = 50 * time.Millisecond
	slices.Sort(meanwhile)
	p99 := meanwhile[len(meanwhile)*99/100]
	t.add("p99 of POST meanwhile on "+database, fmt.Sprintf("%s of %d (p50 %s), idle %s; of the 200 that came in one moment p50 %s, p99 %s", round(p99), len(meanwhile), round(meanwhile[len(meanwhile)/2]), round(idle[len(idle)*99/100]),
		round(posts[n/2]), round(posts[n*99/100])), "at most 50ms", p99 <= postMost)
}

// postsUntil sends requests one after the other, as others would meanwhile.
func postsUntil(b *testing.B, o *ops, over <-chan struct{}) []time.Duration {
	b.Helper()
	body := o.body(b, "cleanupArtifacts", "manifests: []")
	var out []time.Duration
	for {
		select {
		case <-over:
			return out
		case <-time.After(20 * time.Millisecond):
		}
		out = append(out, timed(func() { o.submit(b, body, "") }))
	}
}

// machineBusy is the CPU time that everything on the machine has used.
func machineBusy(b *testing.B) time.Duration {
	b.Helper()
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(strings.SplitN(string(text), "\n", 2)[0])
	var ticks int64
	for i, f := range fields[1:] {
		if n, err := strconv.ParseInt(f, 10, 64); err == nil && i != 3 && i != 4 { // neither idle nor waiting
			ticks += n
		}
	}
	const perSecond = 100
	return time.Duration(ticks) * time.Second / perSecond
}
