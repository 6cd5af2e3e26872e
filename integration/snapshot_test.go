package integration

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/localkube"
	"github.com/datapunchorg/go-clouddriver/pkg/api"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// keeping are settings with snapshots, and two accounts of one cluster: one sees the
// namespace only.
func keeping(t *testing.T, c *localkube.Cluster, namespace string) config.Config {
	cfg := settings()
	cfg.Snapshots.Directory = filepath.Join(t.TempDir(), "kept")
	one := labelledOnly("part", c)
	one.Namespaces = []string{namespace}
	cfg.Kubernetes.Accounts = []config.Account{labelledOnly("whole", c), one}
	return cfg
}

// listing are requests for all objects of a kind that accounts show; what announces
// kinds is listed at each start.
func listing(r *http.Request) bool {
	q := r.URL.Query()
	if strings.Contains(r.URL.Path, "customresourcedefinitions") || strings.Contains(r.URL.Path, "apiservices") || !strings.Contains(r.URL.Path, "/v1") {
		return false
	}
	if q.Get("watch") != "" {
		return q.Get("sendInitialEvents") == "true"
	}
	return q.Get("limit") != "" && q.Get("limit") != "1"
}

// kept are the deployments of the application and how many replicas each wants, by
// account, and the accounts that are marked.
func kept(t *testing.T, s *service) (names, marked string) {
	t.Helper()
	var all []struct {
		Account             string
		ServerGroupManagers []struct{ Name string }
		Capacity            struct{ Desired int }
	}
	r := s.get(t, "/applications/kept/serverGroups?expand=true")
	r.into(t, &all)
	for _, account := range []string{"part", "whole"} {
		counts := map[string]int{}
		for _, g := range all {
			if g.Account == account && len(g.ServerGroupManagers) == 1 && g.Capacity.Desired > 0 {
				counts[g.ServerGroupManagers[0].Name] = g.Capacity.Desired
			}
		}
		names += fmt.Sprint(account, counts)
	}
	return names, r.header.Get(api.StaleHeader)
}

func keptDeployment(name string, replicas int) string {
	return strings.NewReplacer("moniker.spinnaker.io/application: "+name, "moniker.spinnaker.io/application: kept").
		Replace(deployment("kept", name, replicas))
}

func TestSnapshot_ARestartServesAtOnceAndGoesOn(t *testing.T) {
	t.Parallel() // its control plane is its own
	c := pool.Private(t, localkube.Options{Name: "kept"})
	namespace(t, "kept", c)
	for name, n := range map[string]int{"grows": 1, "goes": 1, "stays": 2} {
		apply(t, c, keptDeployment(name, n))
	}
	cfg := keeping(t, c, "kept")
	var lists atomic.Int64
	run := func() *service { return startWith(t, cfg, counting(&lists, listing)) }
	shows := func(s *service, want string) {
		t.Helper()
		both := "part" + want + "whole" + want
		eventually(t, 30*time.Second, func() error {
			if got, marked := kept(t, s); got != both || marked != "" {
				return fmt.Errorf("got %s, marked %q; want %s", got, marked, both)
			}
			return nil
		})
	}
	first := run().ready(t)
	shows(first, "map[goes:1 grows:1 stays:2]")
	first.stop()
	if lists.Load() == 0 {
		t.Fatal("the first start lists nothing, or the test does not see it")
	}

	// Changed while nobody watched: it is seen without a list.
	apply(t, c, keptDeployment("grows", 3))
	apply(t, c, keptDeployment("comes", 1))
	call(t, c, http.MethodDelete, "/apis/apps/v1/namespaces/kept/deployments/goes?propagationPolicy=Foreground", "application/json", "")
	lists.Store(0)
	second := run()
	shows(second, "map[comes:1 grows:3 stays:2]")
	if n := lists.Load(); n != 0 {
		t.Errorf("%d lists after a restart", n)
	}
	second.stop()

	// Without an API server there is what was known, and it says so. What Orca decides
	// on is not answered from it.
	c.KillAPIServer()
	third := run()
	select {
	case <-third.fleet.Settled():
	case <-time.After(5 * time.Second):
		t.Fatal("a restart waits for a cluster that is away")
	}
	if got, marked := kept(t, third); !strings.Contains(got, "wholemap[comes:1 grows:3 stays:2]") || marked != "part,whole" {
		t.Errorf("got %s, marked %q", got, marked)
	}
	if r := third.get(t, escaped("manifests", "whole", "kept", "deployment stays")); r.status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", r.status, r.body)
	}
	if err := c.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	shows(third, "map[comes:1 grows:3 stays:2]")
	third.stop()

	// What the cluster has forgotten is listed.
	apply(t, c, keptDeployment("stays", 1))
	if err := c.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.KillAPIServer()
	if err := c.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	fourth := run()
	shows(fourth, "map[comes:1 grows:3 stays:1]")
	fourth.stop()

	// A damaged file costs its account a list, and no other.
	files, err := filepath.Glob(filepath.Join(cfg.Snapshots.Directory, "*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("%v: %v", files, err)
	}
	if err := os.Truncate(files[0], 300); err != nil {
		t.Fatal(err)
	}
	lists.Store(0)
	fifth := run().ready(t)
	shows(fifth, "map[comes:1 grows:3 stays:1]")
	if n := lists.Load(); n == 0 || n > 20 {
		t.Errorf("%d lists for one account", n)
	}
}

// TestSnapshot_OfAnotherClusterIsNotTakenForThis has another cluster behind the
// address since the snapshot: what it does not have is never shown unmarked.
func TestSnapshot_OfAnotherClusterIsNotTakenForThis(t *testing.T) {
	clusters := pool.Shared(t, 2)
	namespace(t, "snapped", clusters...)
	for i, name := range []string{"first", "second"} {
		apply(t, clusters[i], strings.ReplaceAll(replicaSet(name, "snapped", "replicaSet "+name, "", ""), "shop", "snapped"))
	}
	cfg := settings()
	cfg.Snapshots.Directory = t.TempDir()
	one := insecure("moves", clusters[0].URL)
	one.KubeconfigContents = strings.Replace(one.KubeconfigContents, `"token":"t"`, `"token":"`+clusters[0].Token+`"`, 1)
	cfg.Kubernetes.Accounts = []config.Account{one}
	var moved atomic.Bool
	run := func() *service {
		return startWith(t, cfg, func(next http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				if moved.Load() {
					r = r.Clone(r.Context())
					r.URL.Host = strings.TrimPrefix(clusters[1].URL, "https://")
					r.Header.Set("Authorization", "Bearer "+clusters[1].Token)
				}
				return next.RoundTrip(r)
			})
		})
	}
	shows := func(s *service, want, not string) {
		t.Helper()
		eventually(t, 20*time.Second, func() error {
			r := s.get(t, "/applications/snapped/serverGroups")
			marked := r.header.Get(api.StaleHeader) != ""
			if strings.Contains(r.body, "replicaSet "+not) && !marked {
				t.Fatalf("unmarked: %s", r.body)
			}
			if !strings.Contains(r.body, "replicaSet "+want) || marked {
				return fmt.Errorf("marked %v: %s", marked, r.body)
			}
			return nil
		})
	}
	s := run().ready(t)
	shows(s, "first", "second")
	s.stop()
	moved.Store(true)
	shows(run(), "second", "first")
}

// TestSnapshot_IsKeptWhileTheServiceRuns: one that is killed is begun with, too.
func TestSnapshot_IsKeptWhileTheServiceRuns(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	cfg := settings()
	cfg.Snapshots.Directory, cfg.Snapshots.Every = t.TempDir(), time.Second
	cfg.Kubernetes.Accounts = []config.Account{labelledOnly("a", c), labelledOnly("b", c)}
	first := startWith(t, cfg, nil).ready(t)
	files := func(want int) {
		t.Helper()
		eventually(t, 20*time.Second, func() error {
			all, err := filepath.Glob(filepath.Join(cfg.Snapshots.Directory, "*.snapshot"))
			if err == nil && len(all) != want {
				err = fmt.Errorf("%v", all)
			}
			return err
		})
	}
	files(2)
	// Nothing is written at the end of one that is killed.
	killed := cfg
	killed.Snapshots.Directory = filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(killed.Snapshots.Directory, os.DirFS(cfg.Snapshots.Directory)); err != nil {
		t.Fatal(err)
	}
	var lists atomic.Int64
	again := startWith(t, killed, counting(&lists, listing)).ready(t)
	eventually(t, 20*time.Second, func() error {
		for _, a := range again.fleet.Status() {
			if a.Stale {
				return fmt.Errorf("%+v", a)
			}
		}
		return nil
	})
	if n := lists.Load(); n != 0 {
		t.Errorf("%d lists", n)
	}
	first.stop()
	// What is kept of an account that is gone goes once it is too old to be used.
	cfg.Kubernetes.Accounts, cfg.Snapshots.MaxAge = cfg.Kubernetes.Accounts[:1], time.Second
	startWith(t, cfg, nil)
	files(1)
}
