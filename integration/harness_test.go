package integration

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/datapunchorg/go-clouddriver/localkube"
	"github.com/datapunchorg/go-clouddriver/localkube/kubetest"
	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/index"
	assembly "github.com/datapunchorg/go-clouddriver/pkg/service"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
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
	// Callers keep their connections; the default is two.
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = 256
	flag.Parse()
	if flag.Lookup("test.run").Value.String() == "" && !testing.Short() {
		// It takes minutes of downloading, in which other tests run; those that need
		// it are parallel ones, which come after all that are not.
		go func() { _ = built() }()
	}
	code := pool.Main(m)
	stopMariaDB()
	os.Exit(code)
}

// service is the whole service in the test's process, put together as it ships.
type service struct {
	URL        string
	account    string // that operations act on; the cluster's name when empty
	kubeconfig string
	registry   *account.Registry
	fleet      *watch.Fleet
	index      *index.Index
	requests   atomic.Int64 // to any API server
	wrap       func(http.RoundTripper) http.RoundTripper
	handler    http.Handler
	stop       func()
}

// settings are the defaults, with time-outs that suit tests.
func settings() config.Config {
	c, err := config.Load(noFlags(), func(string) string { return "" })
	if err != nil {
		panic(err) // the defaults are valid
	}
	c.Server.NotSyncedDeadline = 5 * time.Second
	c.Server.ShutdownGrace = 0
	c.Watch.RequestTimeout, c.Watch.StuckAfter, c.Watch.PingAfter = 10*time.Second, 2*time.Minute, time.Second
	c.Cache.Bytes = 64 << 20
	c.Database.Path = ""
	c.Database.PollEvery = 500 * time.Millisecond
	c.Accounts.AllowedHosts = []string{"127.0.0.1"} // where local control planes are
	c.Tasks.Lease, c.Tasks.DeleteTimeout, c.Tasks.FollowEvery = 3*time.Second, 20*time.Second, 100*time.Millisecond
	c.Admin.Tasks.ShutdownWaitSeconds = 20
	return *c
}

func noFlags() *pflag.FlagSet {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.AddFlags(flags)
	return flags
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
	s.serve(t, c, slog.LevelDebug)
	return s
}

// startWith serves what the settings name. wrap, which may be nil, sees every
// request to a cluster.
func startWith(t testing.TB, c config.Config, wrap func(http.RoundTripper) http.RoundTripper) *service {
	t.Helper()
	s := &service{wrap: wrap}
	s.serve(t, c, slog.LevelWarn)
	return s
}

// startShared serves as one of several replicas of a database.
func startShared(t testing.TB, o store.Options, c config.Config, wrap func(http.RoundTripper) http.RoundTripper) *service {
	t.Helper()
	return startWith(t, onDatabase(c, o), wrap)
}

// onDatabase are the settings with another database.
func onDatabase(c config.Config, o store.Options) config.Config {
	d := &c.Database
	d.Path, d.Timeout = o.Path, o.Timeout
	if m := o.MySQL; m != nil {
		d.Host, d.Port, d.Name, d.User, d.Password = m.Host, m.Port, m.Name, m.User, m.Password
		d.TLS, d.TLSCA = m.TLS, m.TLSCA
	}
	return c
}

// parts are what a start changes of the service that ships.
func (s *service) parts(log *slog.Logger) assembly.Options {
	return assembly.Options{Log: log, Version: "test", WrapTransport: s.count, Replicas: true}
}

// serve serves until stop or the end of the test.
func (s *service) serve(t testing.TB, c config.Config, level slog.Level) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: level}))
	_, bench := t.(*testing.B)
	if bench {
		log = slog.New(slog.DiscardHandler)
	}
	if c.Database.Path == "" {
		c.Database.Path = filepath.Join(t.TempDir(), "clouddriver.db")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.URL = "http://" + listener.Addr().String()
	started := make(chan struct{})
	o := s.parts(log)
	o.Listener = listener
	o.Started = func(parts *assembly.Service) {
		s.registry, s.fleet, s.index, s.handler = parts.Accounts, parts.Fleet, parts.Index, parts.Handler
		close(started)
	}
	if !bench {
		o.WrapHandler = func(h http.Handler) http.Handler { return asDescribed(t, h) }
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- assembly.Serve(ctx, &c, o) }()
	select {
	case <-started:
	case err := <-ended:
		cancel()
		t.Fatal("the service does not start:", err)
	}
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error("the service ended with", err)
		}
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
