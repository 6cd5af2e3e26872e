package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/localkube"
	"github.com/datapunchorg/go-clouddriver/pkg/api"
)

// TestOracle_NoDifferenceOutsideMarkedAnswersUnderFaults changes two control
// planes at random for a minute while the way to one of them is broken in one
// random way after the other. At every pause, each view that is not marked has
// to equal what a second implementation makes of a fresh LIST.
func TestOracle_NoDifferenceOutsideMarkedAnswersUnderFaults(t *testing.T) {
	t.Parallel() // it keeps apart by namespace
	const lasting = time.Minute
	clusters := pool.Shared(t, 2)
	var wires []*localkube.Proxy
	var reached []*localkube.Cluster
	for _, c := range clusters {
		wire, err := c.Proxy()
		if err != nil {
			t.Fatal(err)
		}
		wires, reached = append(wires, wire), append(reached, behind(c, c.Name, wire))
	}
	var meddle atomic.Pointer[func(http.RoundTripper, *http.Request) (*http.Response, error)]
	s := &service{wrap: func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if m := meddle.Load(); m != nil {
				return (*m)(next, r)
			}
			return next.RoundTrip(r)
		})
	}}
	s.kubeconfig = t.TempDir() + "/kubeconfig"
	if err := localkube.WriteKubeconfig(s.kubeconfig, reached...); err != nil {
		t.Fatal(err)
	}
	cfg := settings()
	cfg.Kubernetes.Kubeconfig = s.kubeconfig
	cfg.Watch.RequestTimeout, cfg.Server.NotSyncedDeadline = 3*time.Second, time.Second
	s.serve(t, cfg, 4)
	s.ready(t)
	r := &randomizer{t: t, rand: rand.New(rand.NewPCG(11, 7)), clusters: clusters, prefix: "oracle-f-", service: s, sick: true}
	for _, ns := range r.namespaces() {
		namespace(t, ns, clusters...)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var breaking sync.WaitGroup
	broken := map[string]int{}
	breaking.Go(func() { breakAtRandom(ctx, wires, &meddle, broken) })
	compared, marked := 0, 0
	for begin := time.Now(); time.Since(begin) < lasting; {
		for pause := time.Now().Add(3 * time.Second); time.Now().Before(pause); {
			r.step()
		}
		until(time.Now().Add(bound))
		n, m := r.compareUnmarked()
		compared, marked = compared+n, marked+m
	}
	cancel()
	breaking.Wait()
	meddle.Store(nil)
	t.Logf("%d changes, faults %v; %d views that were not marked, all equal; %d marked", r.changes, broken, compared, marked)
	if compared == 0 || marked == 0 {
		t.Errorf("%d views compared, %d marked: nothing was shown", compared, marked)
	}
	r.compare() // and when all is well again, all of them
}

// breakAtRandom plays one fault after the other, each for some seconds.
func breakAtRandom(ctx context.Context, wires []*localkube.Proxy, meddle *atomic.Pointer[func(http.RoundTripper, *http.Request) (*http.Response, error)], broken map[string]int) {
	play := func(fits func(*http.Request) bool, answer func(*http.Request) (*http.Response, error)) func(*localkube.Proxy) {
		return func(w *localkube.Proxy) {
			m := func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
				if r.URL.Host == w.Addr() && fits(r) {
					return answer(r)
				}
				return next.RoundTrip(r)
			}
			meddle.Store(&m)
			w.Cut()
		}
	}
	stop := make(chan struct{}) // of what does not end by itself
	kinds := []struct {
		name  string
		begin func(w *localkube.Proxy)
	}{
		{"refused", func(w *localkube.Proxy) { w.Refuse(true) }}, {"black hole", func(w *localkube.Proxy) { w.BlackHole(true) }},
		{"half-open", func(w *localkube.Proxy) { w.Freeze() }}, {"cut", func(w *localkube.Proxy) { w.Cut() }},
		{"410", play(plainWatches, says(410, "Expired", "", ""))}, {"403 on list", play(listsAnything, says(403, "Forbidden", "", ""))},
		{"429", play(everything, says(429, "TooManyRequests", "Retry-After", "1"))}, {"endless", func(w *localkube.Proxy) { play(listsOrWatches, endless(stop))(w) }},
		{"ended at once", play(watches, func(r *http.Request) (*http.Response, error) { return textResponse(r, 200, ""), nil })},
	}
	for {
		kind, wire := kinds[rand.IntN(len(kinds))], wires[rand.IntN(len(wires))]
		broken[kind.name]++
		kind.begin(wire)
		pause(ctx, time.Duration(1000+rand.IntN(3000))*time.Millisecond)
		meddle.Store(nil)
		wire.Refuse(false)
		wire.BlackHole(false)
		close(stop)
		stop = make(chan struct{})
		if kind.name == "half-open" {
			wire.Cut()
		}
		if ctx.Err() != nil {
			return
		}
		pause(ctx, time.Duration(2000+rand.IntN(8000))*time.Millisecond)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// compareUnmarked compares what the service shows without a mark with what the
// clusters list, where that has not changed meanwhile.
func (r *randomizer) compareUnmarked() (compared, marked int) {
	r.t.Helper()
	for _, app := range []string{r.prefix + "a", r.prefix + "b", r.prefix + "c"} {
		before := listNaively(r.t, r.clusters)
		for _, view := range []string{"serverGroups", "serverGroupManagers", "loadBalancers", "clusters"} {
			got := r.service.get(r.t, "/applications/"+app+"/"+view)
			if got.header.Get(api.StaleHeader) != "" {
				marked++
				continue
			}
			after := listNaively(r.t, r.clusters)
			want := viewOf(after, view, app)
			if !reflect.DeepEqual(plain(want), plain(viewOf(before, view, app))) {
				continue // a controller was at work
			}
			if err := equalJSON(got.body, want); err != nil {
				r.t.Errorf("%s of %s, not marked: %v", view, app, err)
			}
			compared++
		}
	}
	return compared, marked
}

func viewOf(n naive, view, app string) any {
	switch view {
	case "serverGroups":
		return n.serverGroups(app)
	case "serverGroupManagers":
		return n.managers(app)
	case "loadBalancers":
		return n.balancers(app)
	}
	return n.clusters(app)
}

func plain(v any) string { return strings.TrimSpace(fmt.Sprint(v)) }
