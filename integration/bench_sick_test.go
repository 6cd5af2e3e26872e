package integration

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// BenchmarkSickAccount measures the list views of 50 accounts while one of them
// is in each state that a cluster can be in.
func BenchmarkSickAccount(b *testing.B) {
	const accounts = 50
	c := pool.Shared(b, 1)[0]
	namespace(b, "sickbench", c)
	apply(b, c, deployment("sickbench", "sickbench", 10))
	wire, err := c.Proxy()
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	hang := dir + "/hang"
	script := fmt.Sprintf("#!/bin/sh\nwhile [ -e %s ]; do sleep 0.1; done\necho '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{\"token\":%q,\"expirationTimestamp\":\"2020-01-01T00:00:00Z\"}}'\n", hang, c.Token)
	if err := os.WriteFile(dir+"/plugin", []byte(script), 0o700); err != nil {
		b.Fatal(err)
	}
	yes := true
	cfg := settings()
	cfg.Watch.RequestTimeout, cfg.Server.NotSyncedDeadline = 3*time.Second, 2*time.Second
	for i := range accounts - 1 {
		cfg.Kubernetes.Accounts = append(cfg.Kubernetes.Accounts, config.Account{Name: fmt.Sprintf("well-%02d", i), KubeconfigContents: string(c.Kubeconfig()), OnlySpinnakerManaged: &yes})
	}
	cfg.Kubernetes.Accounts = append(cfg.Kubernetes.Accounts, config.Account{Name: sick, OnlySpinnakerManaged: &yes, KubeconfigContents: `{"apiVersion":"v1","kind":"Config","current-context":"x","contexts":[{"name":"x","context":{"cluster":"x","user":"x"}}],
"clusters":[{"name":"x","cluster":{"server":"https://` + wire.Addr() + `","insecure-skip-tls-verify":true}}],"users":[{"name":"x","user":{"exec":{"apiVersion":"client.authentication.k8s.io/v1","command":"` + dir + `/plugin","interactiveMode":"Never"}}}]}`})
	g := &rig{wire: wire, plugin: hang}
	s := &service{wrap: func(next http.RoundTripper) http.RoundTripper {
		through := g.through(next)
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == wire.Addr() {
				return through.RoundTrip(r)
			}
			return next.RoundTrip(r)
		})
	}}
	s.serve(b, cfg, 8)
	s.ready(b)
	waitPods(b, s, "sickbench", sick, 10)
	waitPods(b, s, "sickbench", "well-00", 10)
	g.ops = &ops{service: s, c: c, namespace: "sickbench"}
	var rows table
	for _, f := range faults() {
		if f.begin == nil || f.notOfCluster || f.private {
			continue
		}
		// The best of some rounds counts: the machine has other work.
		well, ill := time.Hour, time.Hour
		for range 3 {
			well = min(well, p99(s, time.Second))
			end := f.begin(nil, g)
			ill = min(ill, p99(s, 1500*time.Millisecond))
			end()
			inTouch(b, s)
		}
		rows.add("p99 of lists, one account: "+f.name, fmt.Sprintf("%s / %s = %.2f", round(ill), round(well), float64(ill)/float64(well)), "at most 1.5", ill <= well*3/2)
	}
	fmt.Println(rows.String())
}

func inTouch(b *testing.B, s *service) {
	b.Helper()
	eventually(b, time.Minute, func() error {
		if a := statusOf(s, sick); a.Stale {
			return fmt.Errorf("%s", a.Message)
		}
		return nil
	})
}

// p99 reads list views from four connections for a while.
func p99(s *service, lasting time.Duration) time.Duration {
	paths := []string{"/applications", "/applications/sickbench", "/applications/sickbench/serverGroups", "/applications/sickbench/loadBalancers", "/applications/sickbench/clusters"}
	var mu sync.Mutex
	var all []time.Duration
	var reading sync.WaitGroup
	var failed atomic.Int64
	for i := range 4 {
		reading.Go(func() {
			var mine []time.Duration
			for begin, n := time.Now(), i; time.Since(begin) < lasting; n++ {
				at := time.Now()
				if r, err := s.tryGet(paths[n%len(paths)]); err != nil || r.status != http.StatusOK {
					failed.Add(1)
				}
				mine = append(mine, time.Since(at))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, mine...)
		})
	}
	reading.Wait()
	if failed.Load() > 0 {
		return time.Hour // an answer that fails is worse than a late one
	}
	slices.Sort(all)
	return all[len(all)*99/100]
}
