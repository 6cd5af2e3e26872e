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
	manyDeploys(b, s, clusters, t)
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

// bareApply sends what kubectl apply sends for new objects: a GET that finds
// nothing, and a POST. The bodies are those that we send.
func bareApply(b *testing.B, o *ops, name string) {
	b.Helper()
	for i, document := range strings.Split(o.three(name), "\n---\n") {
		var m map[string]any
		if err := json.Unmarshal([]byte(yamlToJSON(b, document)), &m); err != nil {
			b.Fatal(err)
		}
		body, err := json.Marshal(m)
		if err != nil {
			b.Fatal(err)
		}
		path := threePaths[i].prefix + "/namespaces/bench/" + threePaths[i].plural
		_, _ = o.c.Call(context.Background(), http.MethodGet, path+"/"+name, "", nil) // 404, as it should be
		call(b, o.c, http.MethodPost, path, "application/json", string(body))
	}
}

func (o *ops) deployNow(b testing.TB, body string) (post time.Duration) {
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
	}
}

func oneDeploy(b *testing.B, o *ops, t *table, listing *atomic.Int64) {
	b.Helper()
	const n = 25
	var ours, bare, lists []time.Duration
	before := o.requests.Load()
	for i := range n {
		body := o.body(b, "deployManifest", o.deployFields(b, o.three(fmt.Sprint("ours-", i)), ""))
		listing.Store(0)
		took := timed(func() { o.deployNow(b, body) })
		lists = append(lists, time.Duration(listing.Load()))
		ours = append(ours, took-time.Duration(listing.Load()))
		bare = append(bare, timed(func() { bareApply(b, o, fmt.Sprint("bare-", i)) }))
	}
	requests := float64(o.requests.Load()-before) / (3 * n)
	slices.Sort(ours)
	slices.Sort(bare)
	slices.Sort(lists)
	us, them := ours[n/2], bare[n/2]
	ratio := float64(us) / float64(them)
	t.add("deploy of three / kubectl's requests", fmt.Sprintf("%s (and %s for the versioning LIST) / %s = %.2f; %.1f API requests per object (kubectl 2)", round(us), round(lists[n/2]), round(them), ratio, requests), "at most 1.2", ratio <= 1.2)
}

func manyDeploys(b *testing.B, s *service, clusters []*localkube.Cluster, t *table) {
	b.Helper()
	const n = 200
	targets := []*ops{{service: s, c: clusters[0], namespace: "bench"}, {service: s, c: clusters[1], namespace: "bench"}}
	var idle []time.Duration
	for i := range 30 {
		body := targets[0].body(b, "deployManifest", targets[0].deployFields(b, targets[0].configMap(fmt.Sprint("idle-", i), "{k: v}"), ""))
		idle = append(idle, targets[0].deployNow(b, body))
	}
	var bodies []string
	for i := range n {
		o := targets[i%2]
		bodies = append(bodies, o.body(b, "deployManifest", o.deployFields(b, o.three(fmt.Sprint("many-", i)), "versioned: false")))
	}
	posts := make([]time.Duration, n)
	busyBefore, ownBefore := machineBusy(b), cpu()
	took := timed(func() {
		var wg sync.WaitGroup
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
				bareApply(b, targets[i%2], fmt.Sprint("raw-", i))
			})
		}
		wg.Wait()
	})
	lost := 0
	for i := range n {
		for _, p := range threePaths {
			if !targets[i%2].exists(b, p.prefix+"/namespaces/bench/"+p.plural+"/many-"+strconv.Itoa(i)) {
				lost++
			}
		}
	}
	slices.Sort(idle)
	slices.Sort(posts)
	ratio := float64(raw) / float64(took)
	t.add("200 deploys at once, ours / raw", fmt.Sprintf("%.1f/s / %.1f/s = %.2f; %d objects lost; %.0f %% of the CPU is the control planes'", n/took.Seconds(), n/raw.Seconds(), ratio, lost, 100*share), "none lost", lost == 0)
	t.add("p99 of POST, 200 at once / idle", fmt.Sprintf("%s / %s (p50 %s / %s)", round(posts[n*99/100]), round(idle[len(idle)*99/100]), round(posts[n/2]), round(idle[len(idle)/2])), "-", true)
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
