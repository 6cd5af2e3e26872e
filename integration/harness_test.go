package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/localkube"
	"github.com/datapunchorg/go-clouddriver/localkube/kubetest"
	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/api"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/ledger"
	"github.com/datapunchorg/go-clouddriver/pkg/operation"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
	"github.com/datapunchorg/go-clouddriver/pkg/task"
	"github.com/datapunchorg/go-clouddriver/pkg/telemetry"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

var pool kubetest.Pool

func TestMain(m *testing.M) {
	if os.Getenv(patcherEnv) != "" {
		patcher()
		return
	}
	if input := os.Getenv(killerEnv); input != "" {
		if err := killer(input); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	if input := os.Getenv(replicaEnv); input != "" {
		if err := replica(input); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	code := pool.Main(m)
	stopMariaDB()
	os.Exit(code)
}

// service is the whole service in the test's process.
type service struct {
	URL        string
	kubeconfig string
	registry   *account.Registry
	fleet      *watch.Fleet
	requests   atomic.Int64 // to any API server
	wrap       func(http.RoundTripper) http.RoundTripper
	handler    http.Handler
	stop       func()
}

// settings are the defaults, with time-outs that suit tests.
func settings() config.Config {
	return config.Config{
		Server: config.Server{MaxInFlight: 2000, MaxStreams: 1000, NotSyncedDeadline: 5 * time.Second, LogTimeout: 30 * time.Second},
		Watch:  config.Watch{StartConcurrency: 32, RequestTimeout: 10 * time.Second, StuckAfter: time.Minute, PingAfter: time.Second},
		Cache:  config.Cache{Bytes: 64 << 20},
		Credentials: config.Credentials{
			ChallengeDestructiveActionsEnvironments: []string{"default"}, PrimaryAccountTypes: []string{"default"},
		},
	}
}

// start serves the clusters, each as the account of its name, and ends with
// the test. It does not wait for the first lists.
func start(t testing.TB, c config.Config, clusters ...*localkube.Cluster) *service {
	t.Helper()
	s := &service{kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")}
	if len(clusters) > 0 {
		if err := localkube.WriteKubeconfig(s.kubeconfig, clusters...); err != nil {
			t.Fatal(err)
		}
		c.Kubernetes.Kubeconfig = s.kubeconfig
	}
	log := slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if _, bench := t.(*testing.B); bench {
		log = slog.New(slog.DiscardHandler)
	}
	s.registry = account.NewRegistry(account.SourceKubeconfig)
	source := account.NewKubeconfig(c.Kubernetes, s.registry, log)
	if err := source.Load(); err != nil {
		t.Fatal(err)
	}
	s.serve(t, c, log, api.Options{}, source.Run)
	return s
}

// wired is a service whose parts are put together and do not run yet.
type wired struct {
	handler http.Handler
	cache   *index.Cache
	tasks   *task.Runner
	runs    []func(context.Context) error
}

// wire puts together what watches the registry's accounts and answers the API.
func (s *service) wire(c config.Config, log *slog.Logger, o api.Options, db *store.Store) (*wired, error) {
	cache, err := index.NewCache(c.Cache.Bytes)
	if err != nil {
		return nil, err
	}
	ix := index.New(cache)
	cacheDir := ""
	if c.Kubernetes.UseDiskCache {
		cacheDir = c.Kubernetes.DiskCache
	}
	s.fleet = watch.NewFleet(s.registry, ix, watch.Options{
		Client: cluster.Options{RequestTimeout: c.Watch.RequestTimeout, PingAfter: c.Watch.PingAfter, WrapTransport: s.count, CacheDir: cacheDir},
		Timing: watch.Timing{RequestTimeout: c.Watch.RequestTimeout, StuckAfter: c.Watch.StuckAfter}, StartConcurrency: c.Watch.StartConcurrency, Log: log,
	})
	clients := operation.ClientFunc(s.fleet.Client)
	writes := ledger.New(db, ix, clients, 100*time.Millisecond, log)
	if err := writes.Begin(context.Background()); err != nil {
		return nil, err
	}
	lease := c.Tasks.Lease
	if lease == 0 {
		lease = 3 * time.Second
	}
	tasks := task.NewRunner(db, s.registry, clients, nil, writes, task.Options{
		Host: "test", MaxWaiting: 1000, PerAccount: 16, Lease: lease, Drain: 20 * time.Second, GoneWithin: 20 * time.Second,
		Operations: operation.Settings{MatchNameOnly: c.Kubernetes.ArtifactBinding.MatchNameOnly()},
	}, log)
	o.Tasks, o.Clients, o.Ledger = tasks, api.ClientFunc(s.fleet.Client), writes
	metrics := telemetry.NewMetrics(telemetry.Source{Accounts: s.fleet.Status, Objects: ix.Size, Cache: cache.Stats, Tasks: tasks.Load})
	o.Index, o.Cache, o.Fleet, o.Accounts, o.Limits, o.Credentials = ix, cache, s.fleet, s.registry, c.Server, c.Credentials
	o.History = db
	o.Down = func(ctx context.Context) error {
		if tasks.Draining() {
			return errors.New("shutting down")
		}
		return db.Ping(ctx)
	}
	o.Metrics, o.Observe, o.Log = metrics.Handler(), metrics.Observe, log
	return &wired{api.New(o), cache, tasks, []func(context.Context) error{s.fleet.Run, writes.Run}}, nil
}

// serve watches the registry's accounts and answers the API, beside what runs
// the registry's source, until stop or the end of the test.
func (s *service) serve(t testing.TB, c config.Config, log *slog.Logger, o api.Options, source func(context.Context) error) {
	t.Helper()
	db, _ := o.Resources.(*store.Store)
	if db == nil {
		db = openStore(t, storeOptions(t, nil))
	}
	parts, err := s.wire(c, log, o, db)
	if err != nil {
		t.Fatal(err)
	}
	s.handler = parts.handler
	served := s.handler
	if _, bench := t.(*testing.B); !bench {
		served = asDescribed(t, served)
	}
	server := httptest.NewServer(served)
	s.URL = server.URL
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, run := range append(parts.runs, source) {
		running.Go(func() { _ = run(ctx) })
	}
	taking, drain := context.WithCancel(ctx)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_ = parts.tasks.Run(taking)
	}()
	s.stop = sync.OnceFunc(func() {
		drain()
		<-drained
		server.Close()
		cancel()
		running.Wait()
		parts.cache.Close()
	})
	t.Cleanup(s.stop)
}

// ready waits until every account is through its first lists.
func (s *service) ready(t testing.TB) *service {
	t.Helper()
	select {
	case <-s.fleet.Settled():
	case <-time.After(time.Minute):
		t.Fatalf("accounts are not settled: %+v", s.fleet.Status())
	}
	return s
}

type counter struct {
	next http.RoundTripper
	n    *atomic.Int64
}

func (c counter) RoundTrip(r *http.Request) (*http.Response, error) {
	c.n.Add(1)
	return c.next.RoundTrip(r)
}

func (s *service) count(next http.RoundTripper) http.RoundTripper {
	if s.wrap != nil {
		next = s.wrap(next)
	}
	return counter{next, &s.requests}
}

// diverted answers some requests to a cluster in its place.
type diverted struct {
	next   http.RoundTripper
	when   func(*http.Request) bool
	answer func(*http.Request) (*http.Response, error)
}

func (d diverted) RoundTrip(r *http.Request) (*http.Response, error) {
	if d.when(r) {
		return d.answer(r)
	}
	return d.next.RoundTrip(r)
}

func endsWith(suffix string) func(*http.Request) bool {
	return func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, suffix) }
}

// testWriter shows the service's log with a failing test.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

type response struct {
	status int
	header http.Header
	body   string
}

func (s *service) get(t testing.TB, path string) response {
	t.Helper()
	r, err := s.tryGet(path)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (s *service) tryGet(path string) (response, error) {
	res, err := http.Get(s.URL + path)
	if err != nil {
		return response{}, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	return response{res.StatusCode, res.Header, string(body)}, err
}

// into decodes an answer that has to be 200.
func (r response) into(t testing.TB, v any) {
	t.Helper()
	if r.status != http.StatusOK {
		t.Fatalf("status %d: %s", r.status, r.body)
	}
	if err := json.Unmarshal([]byte(r.body), v); err != nil {
		t.Fatalf("%v in %s", err, r.body)
	}
}

// eventually waits for a condition, asking often, and fails with what it last
// said.
func eventually(t testing.TB, within time.Duration, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %v", within, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func apply(t testing.TB, c *localkube.Cluster, manifests string) {
	t.Helper()
	if err := c.Apply(context.Background(), []byte(manifests)); err != nil {
		t.Fatal(err)
	}
}

func call(t testing.TB, c *localkube.Cluster, method, path, contentType, body string) []byte {
	t.Helper()
	out, err := c.Call(context.Background(), method, path, contentType, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// namespace makes a namespace that is deleted after the test and takes its
// time. One of an earlier test has to be gone before.
func namespace(t testing.TB, name string, clusters ...*localkube.Cluster) {
	t.Helper()
	for _, c := range clusters {
		eventually(t, time.Minute, func() error {
			if err := c.Apply(context.Background(), []byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: "+name+"}\n")); err != nil {
				return err
			}
			out, err := c.Call(context.Background(), http.MethodGet, "/api/v1/namespaces/"+name, "", nil)
			if err == nil && strings.Contains(string(out), "deletionTimestamp") {
				err = errors.New("one of an earlier test is being deleted")
			}
			return err
		})
	}
	t.Cleanup(func() {
		for _, c := range clusters {
			if _, err := c.Call(context.Background(), http.MethodDelete, "/api/v1/namespaces/"+name, "application/json", nil); err != nil && !strings.Contains(err.Error(), "refused") {
				t.Log("delete the namespace:", err)
			}
		}
	})
}

// alone waits until nothing of earlier tests is left.
func alone(t testing.TB, clusters ...*localkube.Cluster) {
	t.Helper()
	for _, c := range clusters {
		eventually(t, time.Minute, func() error {
			out, err := c.Call(context.Background(), http.MethodGet, "/api/v1/namespaces", "", nil)
			if err == nil && strings.Contains(string(out), "deletionTimestamp") {
				err = errors.New("namespaces of earlier tests are being deleted")
			}
			return err
		})
	}
}

// behind is a cluster as it is reached through a proxy, under another name.
func behind(c *localkube.Cluster, name string, p *localkube.Proxy) *localkube.Cluster {
	return &localkube.Cluster{Name: name, URL: "https://" + p.Addr(), CA: c.CA, Token: c.Token}
}

// marks are the labels and annotations that Spinnaker writes on deploy.
func marks(app, cluster string) string {
	return fmt.Sprintf(`labels: {app.kubernetes.io/managed-by: spinnaker, app.kubernetes.io/name: %s}, annotations: {moniker.spinnaker.io/application: %s, moniker.spinnaker.io/cluster: %s}`, app, app, cluster)
}
