package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/localkube"
	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// deployment writes a Deployment of an application named like it.
func deployment(ns, name string, replicas int) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, namespace: %[2]s, %[3]s}
spec:
  replicas: %[4]d
  selector: {matchLabels: {app: %[1]s}}
  template: {metadata: {labels: {app: %[1]s, app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: %[1]s, moniker.spinnaker.io/cluster: deployment %[1]s}}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: x, image: x}]}}
`, name, ns, marks(name, "deployment "+name), replicas)
}

// pods counts the application's instances, by account.
func pods(t testing.TB, s *service, app string) map[string]int {
	t.Helper()
	var groups []struct {
		Account   string
		Instances []struct{}
	}
	s.get(t, "/applications/"+app+"/serverGroups").into(t, &groups)
	out := map[string]int{}
	for _, g := range groups {
		out[g.Account] += len(g.Instances)
	}
	return out
}

func waitPods(t testing.TB, s *service, app, account string, want int) {
	t.Helper()
	eventually(t, time.Minute, func() error {
		if got := pods(t, s, app)[account]; got != want {
			return fmt.Errorf("%d pods of %s in %s, want %d", got, app, account, want)
		}
		return nil
	})
}

func statusOf(s *service, account string) watch.Status {
	for _, a := range s.fleet.Status() {
		if a.Account == account {
			return a
		}
	}
	return watch.Status{}
}

func TestWarmReads_CauseNoRequestToAnyCluster(t *testing.T) {
	clusters := pool.Shared(t, 2)
	namespace(t, "warm", clusters...)
	for _, c := range clusters {
		apply(t, c, deployment("warm", "warm", 3))
	}
	s := start(t, settings(), clusters...).ready(t)
	waitPods(t, s, "warm", "prod-1", 3)
	waitPods(t, s, "warm", "prod-2", 3)
	// Definitions that other tests remove are noticed in the background, so one
	// of a few rounds has to be quiet.
	eventually(t, time.Minute, func() error {
		before := s.requests.Load()
		for i := range 1000 {
			path := []string{"/applications", "/applications/warm", "/applications/warm/clusters", "/applications/warm/serverGroups",
				"/applications/warm/serverGroupManagers", "/applications/warm/loadBalancers", "/credentials?expand=true",
				"/applications/warm/clusters/prod-1/deployment%20warm/kubernetes"}[i%8]
			if r := s.get(t, path); r.status != http.StatusOK {
				t.Fatalf("%s: %d", path, r.status)
			}
		}
		if n := s.requests.Load() - before; n != 0 {
			return fmt.Errorf("1,000 warm reads made %d requests to API servers, want 0", n)
		}
		return nil
	})
}

// TestBrokenCluster_FailsAlone kills one of two API servers under read load,
// then swallows its packets, then compacts its history.
func TestBrokenCluster_FailsAlone(t *testing.T) {
	healthy := pool.Shared(t, 1)[0]
	broken := pool.Private(t, localkube.Options{Name: "broken"})
	proxy, err := broken.Proxy()
	if err != nil {
		t.Fatal(err)
	}
	namespace(t, "alone", healthy)
	apply(t, broken, "apiVersion: v1\nkind: Namespace\nmetadata: {name: alone}\n")
	for _, c := range []*localkube.Cluster{healthy, broken} {
		apply(t, c, deployment("alone", "alone", 2))
	}
	s := start(t, settings(), healthy, behind(broken, "broken", proxy)).ready(t)
	waitPods(t, s, "alone", "prod-1", 2)
	waitPods(t, s, "alone", "broken", 2)

	stale := func(want bool) {
		t.Helper()
		eventually(t, time.Minute, func() error {
			r := s.get(t, "/applications/alone/serverGroups")
			if got := r.header.Get("X-Clouddriver-Stale-Accounts") == "broken"; got != want {
				return fmt.Errorf("stale header %q, want broken named: %v", r.header.Get("X-Clouddriver-Stale-Accounts"), want)
			}
			return nil
		})
		if got := pods(t, s, "alone"); got["broken"] < 2 || got["prod-1"] != 2 {
			t.Errorf("pods served: %v", got)
		}
	}
	load := newLoad(s, "/applications/alone/serverGroups?expand=true", "/applications/alone/clusters/prod-1/deployment%20alone/kubernetes")
	t.Log("latency with both clusters up:     ", load.measure(3*time.Second))

	broken.KillAPIServer()
	stale(true)
	t.Log("latency with one API server killed:", load.measure(3*time.Second))
	if err := broken.StartAPIServer(context.Background()); err != nil {
		t.Fatal(err)
	}
	stale(false)

	proxy.BlackHole(true)
	stale(true)
	t.Log("latency with one black-holed:      ", load.measure(3*time.Second))

	// While it cannot be seen the cluster goes on, forgets its history and
	// restarts, so that resuming the watch is answered 410 Gone.
	apply(t, broken, deployment("alone", "alone", 5))
	eventually(t, time.Minute, func() error {
		body := call(t, broken, http.MethodGet, "/apis/apps/v1/namespaces/alone/deployments/alone", "", "")
		if !strings.Contains(string(body), `"readyReplicas":5`) {
			return errors.New("not scaled yet")
		}
		return nil
	})
	broken.KillAPIServer()
	if err := broken.Compact(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := broken.StartAPIServer(context.Background()); err != nil {
		t.Fatal(err)
	}
	lists := listsOf(statusOf(s, "broken"), "pod")
	proxy.BlackHole(false)
	waitPods(t, s, "alone", "broken", 5)
	stale(false)
	if got := listsOf(statusOf(s, "broken"), "pod"); got <= lists {
		t.Errorf("the history was compacted, but pods were not listed anew (%d lists before, %d after)", lists, got)
	}
	if load.failures() > 0 {
		t.Errorf("%d reads failed", load.failures())
	}
}

func listsOf(a watch.Status, kind string) uint64 {
	for _, k := range a.Kinds {
		if k.Kind == kind {
			return k.Lists
		}
	}
	return 0
}

// load reads from several connections at once.
type load struct {
	s     *service
	paths []string
	mu    sync.Mutex
	bad   int
}

func newLoad(s *service, paths ...string) *load { return &load{s: s, paths: paths} }

func (l *load) failures() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bad
}

// measure reads for a while and describes the latencies.
func (l *load) measure(lasting time.Duration) string {
	const readers = 8
	var wg sync.WaitGroup
	var all []time.Duration
	for i := range readers {
		wg.Go(func() {
			var mine []time.Duration
			failed := 0
			for begin := time.Now(); time.Since(begin) < lasting; {
				at := time.Now()
				r, err := l.s.tryGet(l.paths[i%len(l.paths)])
				if err != nil || r.status != http.StatusOK {
					failed++
				}
				mine = append(mine, time.Since(at))
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			all, l.bad = append(all, mine...), l.bad+failed
		})
	}
	wg.Wait()
	slices.Sort(all)
	at := func(q float64) time.Duration { return all[int(q*float64(len(all)-1))].Round(10 * time.Microsecond) }
	return fmt.Sprintf("%d reads, p50 %s, p90 %s, p99 %s, most %s", len(all), at(.5), at(.9), at(.99), at(1))
}

// TestBadAccounts_AreMarkedAndLeaveTheOthersAlone has one account for each way
// of being broken beside a good one.
func TestBadAccounts_AreMarkedAndLeaveTheOthersAlone(t *testing.T) {
	good := pool.Shared(t, 1)[0]
	namespace(t, "bad-accounts", good)
	apply(t, good, deployment("bad-accounts", "steady", 1))

	html := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html>log in first</html>")
	}))
	defer html.Close()
	ended := make(chan struct{})
	silent := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-ended:
		}
	}))
	defer silent.Close()
	defer close(ended)
	torn := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, `{"kind":"APIGroupDiscoveryList","items":[{"metadata":`)
	}))
	defer torn.Close()

	insecure := func(server, token string) string {
		return `{"apiVersion":"v1","kind":"Config","current-context":"x","contexts":[{"name":"x","context":{"cluster":"x","user":"x"}}],
"clusters":[{"name":"x","cluster":{"server":"` + server + `","insecure-skip-tls-verify":true}}],"users":[{"name":"x","user":{"token":"` + token + `"}}]}`
	}
	kubeconfig := string(good.Kubeconfig())
	yes := true
	c := settings()
	c.Server.NotSyncedDeadline = time.Second
	c.Watch.RequestTimeout = 2 * time.Second
	cases := []struct{ name, kubeconfig, message string }{
		{"refused", insecure("https://127.0.0.1:1", "t"), "refused"},
		{"unauthorized", insecure(good.URL, "expired"), "unauthorized"},
		{"wrong-name", strings.Replace(kubeconfig, `"server": "`+good.URL, `"tls-server-name": "other.example.com", "server": "`+good.URL, 1), "certificate"},
		{"unknown-ca", strings.Replace(insecure(good.URL, good.Token), `"insecure-skip-tls-verify":true`, `"insecure-skip-tls-verify":false`, 1), "certificate"},
		{"html", insecure(html.URL, "t"), "not JSON"},
		{"silent", insecure(silent.URL, "t"), "deadline|timeout"},
		{"torn", insecure(torn.URL, "t"), "decode"},
		{"forbidden", insecure(good.URL, good.UserToken), "forbidden"},
	}
	for _, bad := range cases {
		c.Kubernetes.Accounts = append(c.Kubernetes.Accounts, config.Account{Name: bad.name, KubeconfigContents: bad.kubeconfig, OnlySpinnakerManaged: &yes})
	}
	c.Kubernetes.Accounts = append(c.Kubernetes.Accounts, config.Account{Name: "good", KubeconfigContents: kubeconfig, OnlySpinnakerManaged: &yes})
	s := start(t, c).ready(t)
	waitPods(t, s, "steady", "good", 1)
	t.Log("latency beside eight broken accounts:", newLoad(s, "/applications/steady/serverGroups").measure(time.Second))
	for _, bad := range cases {
		t.Run(bad.name, func(t *testing.T) {
			eventually(t, 20*time.Second, func() error {
				a := statusOf(s, bad.name)
				said := fmt.Sprint(a.Message, a.Kinds)
				for _, want := range strings.Split(bad.message, "|") {
					if strings.Contains(strings.ToLower(said), strings.ToLower(want)) {
						return nil
					}
				}
				return fmt.Errorf("state %s says %s, want %q", a.State, said, bad.message)
			})
		})
	}
}

func TestNamespacedAccount_WatchesItsNamespacesOnly(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	for _, ns := range []string{"mine", "theirs"} {
		namespace(t, ns, c)
		apply(t, c, deployment(ns, "split", 1))
	}
	apply(t, c, `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: viewer, namespace: mine}
rules: [{apiGroups: ["*"], resources: ["*"], verbs: [list, watch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: viewer, namespace: mine}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: viewer}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: `+localkube.User+`}]
`)
	limited := &localkube.Cluster{Name: "x", URL: c.URL, CA: c.CA, Token: c.UserToken}
	yes := true
	cfg := settings()
	cfg.Kubernetes.Accounts = []config.Account{{Name: "limited", KubeconfigContents: string(limited.Kubeconfig()), Namespaces: []string{"mine"}, OnlySpinnakerManaged: &yes}}
	s := start(t, cfg).ready(t)
	var groups []struct{ Namespace string }
	eventually(t, 20*time.Second, func() error {
		s.get(t, "/applications/split/serverGroups").into(t, &groups)
		if len(groups) != 1 || groups[0].Namespace != "mine" {
			return fmt.Errorf("%v; %+v", groups, s.fleet.Status())
		}
		return nil
	})
	if a := statusOf(s, "limited"); a.State != watch.Synced || a.Stale {
		t.Errorf("got %+v", a)
	}
}

func TestOldestKubernetes_IsWatched(t *testing.T) {
	c := pool.Private(t, localkube.Options{Name: "oldest", Oldest: true})
	s := start(t, settings(), c).ready(t)
	apply(t, c, "apiVersion: v1\nkind: Namespace\nmetadata: {name: old}\n")
	apply(t, c, strings.ReplaceAll(replicaSet("old", "old", "replicaSet old", "", ""), "shop", "old"))
	eventually(t, 20*time.Second, func() error {
		if r := s.get(t, "/applications/old/serverGroups"); !strings.Contains(r.body, `"name":"replicaSet old"`) {
			return errors.New(r.body)
		}
		return nil
	})
	t.Logf("Kubernetes %s: %+v", c.Version, statusOf(s, "oldest").State)
}

// TestHangingPlugin_HoldsUpNobody has a credential plugin that takes half a
// minute: reads of its account keep their deadline, and accounts come and go.
func TestHangingPlugin_HoldsUpNobody(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/plugin", []byte("#!/bin/sh\nexec sleep 30\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	hangs := `{"apiVersion":"v1","kind":"Config","current-context":"x","contexts":[{"name":"x","context":{"cluster":"x","user":"x"}}],
"clusters":[{"name":"x","cluster":{"server":"` + c.URL + `","insecure-skip-tls-verify":true}}],"users":[{"name":"x","user":{"exec":{"apiVersion":"client.authentication.k8s.io/v1","command":"` + dir + `/plugin","interactiveMode":"Never"}}}]}`
	cfg := settings()
	cfg.Watch.RequestTimeout = 2 * time.Second
	cfg.Server.NotSyncedDeadline = time.Second
	cfg.Kubernetes.Accounts = append(javaAccounts(c), config.Account{Name: "hangs", KubeconfigContents: hangs})
	s := start(t, cfg)
	begin := time.Now()
	if r := s.get(t, "/manifests/hangs/default/configMap%20x"); r.status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", r.status, r.body)
	}
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("the read took %s", took)
	}
	// It goes, and another comes.
	all, _ := s.registry.List()
	kept := *all[slices.IndexFunc(all, func(a *account.Account) bool { return a.Name == c.Name })]
	added := kept
	added.Name = "added"
	begin = time.Now()
	s.registry.Replace(account.SourceKubeconfig, []*account.Account{&kept, &added})
	eventually(t, 10*time.Second, func() error {
		if a := statusOf(s, "added"); a.State != watch.Synced {
			return fmt.Errorf("%+v", a)
		}
		return nil
	})
	t.Logf("the other account was there after %s", time.Since(begin).Round(time.Millisecond))
}

func TestIdentities_ClientCertificateAndExecPlugin(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	namespace(t, "identities", c)
	apply(t, c, deployment("identities", "identities", 1))
	cert, key, err := c.ClientCertificate("operator", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"tls.crt": cert, "tls.key": key, "ca.crt": c.CA,
		"plugin": []byte("#!/bin/sh\necho '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{\"token\":\"" + c.Token + "\"}}'\n"),
	} {
		if err := os.WriteFile(dir+"/"+name, content, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	config := func(user string) string {
		return `{"apiVersion":"v1","kind":"Config","current-context":"x","contexts":[{"name":"x","context":{"cluster":"x","user":"x"}}],
"clusters":[{"name":"x","cluster":{"server":"` + c.URL + `","certificate-authority":"` + dir + `/ca.crt"}}],"users":[{"name":"x","user":` + user + `}]}`
	}
	s := start(t, accountsOf(map[string]string{
		"certificate": config(`{"client-certificate":"` + dir + `/tls.crt","client-key":"` + dir + `/tls.key"}`),
		"plugin":      config(`{"exec":{"apiVersion":"client.authentication.k8s.io/v1","command":"` + dir + `/plugin","interactiveMode":"Never"}}`),
	})).ready(t)
	waitPods(t, s, "identities", "certificate", 1)
	waitPods(t, s, "identities", "plugin", 1)
}

func accountsOf(kubeconfigs map[string]string) config.Config {
	yes := true
	c := settings()
	for name, content := range kubeconfigs {
		c.Kubernetes.Accounts = append(c.Kubernetes.Accounts, config.Account{Name: name, KubeconfigContents: content, OnlySpinnakerManaged: &yes})
	}
	return c
}

// TestHugeAndOddObjects_AreServed has objects at the limits of what an API
// server takes.
func TestHugeAndOddObjects_AreServed(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	namespace(t, "odd", c)
	var labels strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&labels, ", l%d: v%d", i, i)
	}
	apply(t, c, strings.ReplaceAll(replicaSet("huge", "odd", "replicaSet huge", labels.String(), ", big: "+strings.Repeat("x", 200<<10)), "shop", "odd"))
	apply(t, c, strings.ReplaceAll(replicaSet("malformed", "odd", "'replicaSet <&> \\u00e9 \"'", "", ", moniker.spinnaker.io/sequence: abc, traffic.spinnaker.io/load-balancers: 'not json'"), "shop", "odd"))
	s := start(t, settings(), c).ready(t)
	eventually(t, 20*time.Second, func() error {
		var groups []struct{ Name, Cluster string }
		s.get(t, "/applications/odd/serverGroups").into(t, &groups)
		if len(groups) != 2 || groups[1].Name != "replicaSet malformed" || !strings.HasPrefix(groups[1].Cluster, "replicaSet <&>") {
			return fmt.Errorf("%+v", groups)
		}
		return nil
	})
	for path, want := range map[string]int{
		"/applications/%ff/serverGroups":                      http.StatusBadRequest,
		"/applications/a%00b/serverGroups":                    http.StatusBadRequest,
		"/applications/" + strings.Repeat("x", 10_000):        http.StatusNotFound,
		"/applications/a%2Fb%25%20.json/serverGroups":         http.StatusOK,
		"/serverGroups/prod-1/odd/replicaSet%20a%2Fb%25.c":    http.StatusNotFound,
		"/serverGroups/prod-1/odd/replicaSet+huge":            http.StatusNotFound,
		"/applications/odd/serverGroups/prod-1/odd/RS%20huge": http.StatusOK,
		"/nothing/here": http.StatusNotFound,
	} {
		r := s.get(t, path)
		if r.status != want {
			t.Errorf("%.80s: %d, want %d: %.200s", path, r.status, want, r.body)
		}
		if want >= http.StatusBadRequest && !strings.Contains(r.body, `"timestamp"`) {
			t.Errorf("%.80s: not the common error shape: %.200s", path, r.body)
		}
	}
}

// TestAccounts_ComeAndGoWithoutALeak adds and removes an account 200 times.
func TestAccounts_ComeAndGoWithoutALeak(t *testing.T) {
	clusters := pool.Shared(t, 2)
	s := start(t, settings(), clusters[0]).ready(t)
	all, _ := s.registry.List()
	one := slices.Clone(all)
	added := *all[0]
	added.Name = "added"
	cycle := func() {
		t.Helper()
		s.registry.Replace("kubeconfig", append(slices.Clone(one), &added))
		eventually(t, 20*time.Second, func() error {
			if a := statusOf(s, "added"); a.State != watch.Synced {
				return fmt.Errorf("%+v", a)
			}
			return nil
		})
		s.registry.Replace("kubeconfig", one)
		eventually(t, 20*time.Second, func() error {
			if len(s.fleet.Status()) != 1 {
				return errors.New("the account is still there")
			}
			return nil
		})
	}
	for range 10 {
		cycle() // what is made once is made
	}
	goroutines, heap := footprint()
	for range 200 {
		cycle()
	}
	eventually(t, 30*time.Second, func() error {
		g, h := footprint()
		if g > goroutines+5 || h > heap+heap/10+(256<<10) {
			return fmt.Errorf("%d goroutines and %d KB, %d and %d before", g, h>>10, goroutines, heap>>10)
		}
		t.Logf("after 200 cycles: %d goroutines and %d KB of heap, %d and %d before", g, h>>10, goroutines, heap>>10)
		return nil
	})
}

func footprint() (goroutines int, heap uint64) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return runtime.NumGoroutine(), m.HeapAlloc
}

func TestKubeconfig_IsFollowed(t *testing.T) {
	clusters := pool.Shared(t, 2)
	s := start(t, settings(), clusters[0]).ready(t)
	names := func() string {
		var out []string
		for _, a := range s.fleet.Status() {
			out = append(out, a.Account)
		}
		return strings.Join(out, ",")
	}
	wait := func(want string) {
		t.Helper()
		eventually(t, 20*time.Second, func() error {
			if got := names(); got != want {
				return fmt.Errorf("accounts %s, want %s", got, want)
			}
			return nil
		})
	}
	if err := localkube.WriteKubeconfig(s.kubeconfig, clusters...); err != nil {
		t.Fatal(err)
	}
	wait("prod-1,prod-2")
	if err := os.WriteFile(s.kubeconfig, []byte("{not yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := localkube.WriteKubeconfig(s.kubeconfig, clusters[1]); err != nil {
		t.Fatal(err)
	}
	wait("prod-2")
}

func TestAnswers_AreCompressedAndConditional(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	namespace(t, "zip", c)
	apply(t, c, deployment("zip", "zip", 5))
	s := start(t, settings(), c).ready(t)
	waitPods(t, s, "zip", "prod-1", 5)
	eventually(t, 20*time.Second, func() error {
		if r := s.get(t, "/applications/zip/serverGroups"); !strings.Contains(r.body, `"up":5`) {
			return errors.New(r.body)
		}
		return nil
	})
	plain := s.get(t, "/applications/zip/serverGroups") // Go's client unpacks gzip by itself
	req, err := http.NewRequest(http.MethodGet, s.URL+"/applications/zip/serverGroups", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "gzip;q=0")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	identity, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || res.Header.Get("Content-Encoding") != "" || string(identity) != plain.body {
		t.Errorf("identity differs: %v %v", err, res.Header)
	}
	req.Header.Set("If-None-Match", `"other", `+res.Header.Get("Etag"))
	if res, err = http.DefaultClient.Do(req); err != nil || res.StatusCode != http.StatusNotModified {
		t.Fatalf("%v %v", res, err)
	}
	_ = res.Body.Close()
}
