package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/localkube"
	"github.com/datapunchorg/go-clouddriver/pkg/api"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// The fault matrix: while one thing is broken, what another replica writes and
// what others do in the cluster is asked for by every kind of route. Each answer
// has to be right, or marked, or to say that it cannot tell.

// sick is the account whose cluster, credentials or record of writes is broken.
const sick = "sick"

// rig is a service with one account that can be broken, beside another replica
// that works, on one database.
type rig struct {
	*ops
	direct *ops // the other replica
	wire   *localkube.Proxy
	sql    *localkube.Proxy
	db     backend
	meddle atomic.Pointer[func(next http.RoundTripper, r *http.Request) (*http.Response, error)]
	plugin string // a file whose presence makes the credential plugin hang
}

// RoundTrip lets the fault answer in the cluster's place.
func (g *rig) through(next http.RoundTripper) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		if meddle := g.meddle.Load(); meddle != nil {
			return (*meddle)(next, r)
		}
		return next.RoundTrip(r)
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// play answers requests that fit in the cluster's place, from now on, and ends
// what is open.
func (g *rig) play(fits func(*http.Request) bool, answer func(*http.Request) (*http.Response, error)) {
	meddle := func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		if fits(r) {
			return answer(r)
		}
		return next.RoundTrip(r)
	}
	g.meddle.Store(&meddle)
	g.wire.Cut()
}

func everything(*http.Request) bool       { return true }
func watches(r *http.Request) bool        { return r.URL.Query().Get("watch") != "" }
func initial(r *http.Request) bool        { return r.URL.Query().Get("sendInitialEvents") != "" }
func plainWatches(r *http.Request) bool   { return watches(r) && !initial(r) }
func listsAnything(r *http.Request) bool  { return initial(r) || r.URL.Query().Get("limit") != "" }
func listsOrWatches(r *http.Request) bool { return watches(r) || listsAnything(r) }

// says is an answer with a Status, as Kubernetes gives it.
func says(code int, reason, header, value string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		res := textResponse(r, code, fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","message":"played: %s","reason":%q,"code":%d}`, reason, reason, code))
		if header != "" {
			res.Header.Set(header, value)
		}
		return res, nil
	}
}

func textResponse(r *http.Request, code int, text string) *http.Response {
	return &http.Response{
		StatusCode: code, Status: fmt.Sprint(code, " ", http.StatusText(code)), Proto: "HTTP/2.0", ProtoMajor: 2,
		Header: http.Header{"Content-Type": {"application/json"}, "Audit-Id": {"played"}}, Body: io.NopCloser(strings.NewReader(text)), Request: r,
	}
}

// endless is a list that does not end until stop.
func endless(stop <-chan struct{}) func(r *http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) { return endlessly(r, stop), nil }
}

func endlessly(r *http.Request, stop <-chan struct{}) *http.Response {
	res := textResponse(r, 200, "")
	from, to := io.Pipe()
	go func() {
		<-stop
		_ = to.CloseWithError(io.ErrUnexpectedEOF)
	}()
	go func() {
		begin, item := `{"kind":"List","items":[`, `{"metadata":{"name":"x","uid":"x","resourceVersion":"1"}},`
		if watches(r) {
			begin, item = "", `{"type":"ADDED","object":{"metadata":{"name":"x","namespace":"x","uid":"x","resourceVersion":"1"}}}`+"\n"
		}
		_, err := io.WriteString(to, begin)
		for err == nil {
			_, err = io.WriteString(to, item)
			time.Sleep(time.Millisecond)
		}
	}()
	res.Body = endsWithRequest(r.Context(), from)
	return res
}

func endsWithRequest(ctx context.Context, body *io.PipeReader) io.ReadCloser {
	context.AfterFunc(ctx, func() { _ = body.CloseWithError(ctx.Err()) })
	return body
}

// fault is one way of being broken; begin returns what ends it.
type fault struct {
	name  string
	begin func(t *testing.T, g *rig) (end func())
	// private faults need a control plane of their own.
	private bool
	// notOfCluster faults are not the account's cluster's.
	notOfCluster bool
}

func faults() []fault {
	meddling := func(name string, fits func(*http.Request) bool, answer func(*http.Request) (*http.Response, error)) fault {
		return fault{name: name, begin: func(_ *testing.T, g *rig) func() {
			g.play(fits, answer)
			return func() { g.meddle.Store(nil) }
		}}
	}
	return []fault{
		{name: "API server killed", begin: func(_ *testing.T, g *rig) func() {
			g.wire.Refuse(true)
			return func() { g.wire.Refuse(false) }
		}},
		{name: "black-holed", begin: func(_ *testing.T, g *rig) func() {
			g.wire.BlackHole(true)
			return func() { g.wire.BlackHole(false) }
		}},
		{name: "half-open", begin: func(_ *testing.T, g *rig) func() {
			g.wire.Freeze()
			return g.wire.Cut
		}},
		meddling("410 on all watches", plainWatches, says(410, "Expired", "", "")),
		meddling("403 on list", listsAnything, says(403, "Forbidden", "", "")),
		meddling("403 on watch", watches, says(403, "Forbidden", "", "")),
		meddling("429 with Retry-After", everything, says(429, "TooManyRequests", "Retry-After", "2")),
		meddling("HTML answer", everything, func(r *http.Request) (*http.Response, error) {
			res := textResponse(r, 200, "<html>log in</html>")
			res.Header.Set("Content-Type", "text/html")
			return res, nil
		}),
		{name: "endless list", begin: func(_ *testing.T, g *rig) func() {
			stop := make(chan struct{})
			g.play(listsOrWatches, endless(stop))
			return func() { g.meddle.Store(nil); close(stop) }
		}},
		meddling("watch ended at once", watches, func(r *http.Request) (*http.Response, error) { return textResponse(r, 200, ""), nil }),
		{name: "exec plugin hangs", begin: func(t *testing.T, g *rig) func() {
			if err := os.WriteFile(g.plugin, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			g.wire.Cut() // the next request asks the plugin, whose credentials are always out of date
			return func() { _ = os.Remove(g.plugin) }
		}},
		{name: "SQL away", notOfCluster: true, begin: func(_ *testing.T, g *rig) func() {
			g.sql.Refuse(true)
			return func() { g.sql.Refuse(false) }
		}},
		{name: "SQL slow", notOfCluster: true, begin: func(_ *testing.T, g *rig) func() {
			g.sql.Delay(150 * time.Millisecond)
			return func() { g.sql.Delay(0) }
		}},
		{name: "SQL black-holed", notOfCluster: true, begin: func(_ *testing.T, g *rig) func() {
			g.sql.BlackHole(true)
			return func() { g.sql.BlackHole(false) }
		}},
		{name: "ledger row that cannot be read", notOfCluster: true, begin: func(t *testing.T, g *rig) func() {
			g.play(func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/unreadable") }, says(500, "InternalError", "", ""))
			raw := g.db.raw(t)
			if _, err := raw.Exec(`INSERT INTO clouddriver_writes (written_at, task_id, operation, account, kind, namespace, name, uid, resource_version, deleted, application, cluster)
				VALUES (?, 't', 'deployManifest', ?, 'replicaSet', ?, 'unreadable', 'u', '999999999', 0, ?, 'replicaSet m')`, time.Now().UnixMilli(), sick, g.namespace, g.namespace); err != nil {
				t.Fatal(err)
			}
			return func() {
				g.meddle.Store(nil)
				_, _ = raw.Exec(`DELETE FROM clouddriver_writes WHERE name = 'unreadable'`)
			}
		}},
		{name: "etcd restored to an older snapshot", private: true, begin: func(t *testing.T, g *rig) func() {
			if err := g.c.Restore(context.Background()); err != nil {
				t.Fatal(err)
			}
			return func() {}
		}},
		{name: "clock jump of another replica", notOfCluster: true, begin: func(t *testing.T, g *rig) func() {
			// What others have written comes from a clock that is a day off.
			raw, stop := g.db.raw(t), make(chan struct{})
			var jumping sync.WaitGroup
			jumping.Go(func() {
				for off := int64(86_400_000); ; off = -off {
					select {
					case <-stop:
						return
					case <-time.After(5 * time.Millisecond):
					}
					_, _ = raw.Exec(`UPDATE clouddriver_writes SET written_at = ?`, time.Now().UnixMilli()+off)
				}
			})
			return func() { close(stop); jumping.Wait() }
		}},
	}
}

// newRig starts both replicas and makes what the routes are asked for.
func newRig(t *testing.T, n int, private bool) *rig {
	t.Helper()
	c := pool.Shared(t, 1)[0]
	if private {
		c = pool.Private(t, localkube.Options{Name: sick})
	}
	name := fmt.Sprintf("matrix-%d", n)
	namespace(t, name, c)
	g := &rig{db: backend{options: storeOptions(t, newDatabase(t, "utf8mb4"))}}
	var err error
	if g.wire, err = c.Proxy(); err != nil {
		t.Fatal(err)
	}
	m := *g.db.options.MySQL
	if g.sql, err = localkube.NewProxy(m.Host); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.sql.Close)
	broken := m
	broken.Host = g.sql.Addr()

	dir := t.TempDir()
	g.plugin = dir + "/hang"
	script := fmt.Sprintf("#!/bin/sh\nwhile [ -e %s ]; do sleep 0.1; done\necho '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{\"token\":%q,\"expirationTimestamp\":\"2020-01-01T00:00:00Z\"}}'\n", g.plugin, c.Token)
	if err := os.WriteFile(dir+"/plugin", []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	reached := func(address, user string) config.Account {
		return config.Account{Name: sick, KubeconfigContents: `{"apiVersion":"v1","kind":"Config","current-context":"x","contexts":[{"name":"x","context":{"cluster":"x","user":"x"}}],
"clusters":[{"name":"x","cluster":{"server":"` + address + `","insecure-skip-tls-verify":true}}],"users":[{"name":"x","user":` + user + `}]}`}
	}
	token := `{"token":"` + c.Token + `"}`
	cfg := settings()
	cfg.Watch.RequestTimeout, cfg.Server.NotSyncedDeadline = 3*time.Second, 2*time.Second
	other := cfg
	user := token
	if private || n%2 == 0 {
		user = `{"exec":{"apiVersion":"client.authentication.k8s.io/v1","command":"` + dir + `/plugin","interactiveMode":"Never"}}`
	}
	cfg.Kubernetes.Accounts = []config.Account{reached("https://"+g.wire.Addr(), user)}
	other.Kubernetes.Accounts = []config.Account{reached(c.URL, token)}
	brokenOptions := g.db.options
	brokenOptions.MySQL, brokenOptions.Timeout = &broken, time.Second
	g.direct = &ops{service: startShared(t, g.db.options, other, nil).ready(t), c: c, namespace: name}
	g.direct.account = sick
	s := startShared(t, brokenOptions, cfg, g.through).ready(t)
	g.ops = &ops{service: s, c: c, namespace: name}
	g.account = sick
	return g
}

// truth is what an answer has to show.
type truth int

const (
	there truth = iota
	absent
)

// cell is one route's question, and the truth about it.
type cell struct {
	column string
	path   string
	want   truth
	// shows is what the answer holds when it is there.
	shows string
}

func (g *rig) cells(newest string) []cell {
	app, ns := g.namespace, g.namespace
	return []cell{
		{"list view", "/applications/" + app + "/serverGroups", there, `"name":"replicaSet ` + newest + `"`},
		{"list view", "/applications/" + app + "/serverGroups", absent, `"name":"replicaSet gone"`},
		{"target", escaped("applications", app, "clusters", sick, "replicaSet m", "kubernetes", ns, "serverGroups", "target", "current_asg"), there, `"name":"replicaSet ` + newest + `"`},
		{"target", escaped("manifests", sick, ns, "replicaSet", "cluster", app, "replicaSet m", "dynamic", "newest"), there, `"name":"` + newest + `"`},
		{"single manifest", escaped("manifests", sick, ns, "replicaSet "+newest) + "?includeEvents=false", there, `"name":"replicaSet ` + newest + `"`},
		{"single manifest", escaped("manifests", sick, ns, "replicaSet gone") + "?includeEvents=false", absent, `"name":"replicaSet gone"`},
		{"cluster route", escaped("applications", app, "clusters", sick, "replicaSet m"), there, `"name":"replicaSet ` + newest + `"`},
		{"cluster route", escaped("applications", app, "clusters", sick, "replicaSet gone"), absent, `"name":"replicaSet gone"`},
		{"search", "/search?q=" + newest + "&type=serverGroups&account=" + sick, there, `"name":"replicaSet ` + newest + `"`},
		{"job", escaped("applications", app, "jobs", sick, ns, "job gone"), absent, `"name":"gone"`},
	}
}

// judge says how an answer is, or what is wrong with it.
func (c cell) judge(r response) (verdict string, err error) {
	marked := strings.Contains(r.header.Get(api.StaleHeader), sick)
	shown := strings.Contains(r.body, c.shows)
	switch {
	case r.status == http.StatusServiceUnavailable, r.status == http.StatusBadGateway:
		return fmt.Sprint(r.status), nil
	case strings.Contains(r.body, "goroutine "):
		return "", fmt.Errorf("a stack trace: %.300s", r.body)
	case marked:
		return "marked", nil
	case r.status == http.StatusNotFound && c.want == absent, r.status == http.StatusOK && shown == (c.want == there):
		return "right", nil
	}
	return "", fmt.Errorf("%s %s: %d, shown %v, not marked: %.300s", c.column, c.path, r.status, shown, r.body)
}

// streamed follows an application's stream and tells what it has said: that the
// account is out of touch, or the object.
func (g *rig) streamed(t *testing.T, object string) (said func() string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL+"/applications/"+g.namespace+"/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	heard := res.Header.Get(api.StaleHeader)
	go func() {
		defer func() { _ = res.Body.Close() }()
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			text := lines.Text()
			if strings.Contains(text, `"accounts":"`+sick) || strings.Contains(text, object) {
				mu.Lock()
				heard += text
				mu.Unlock()
			}
		}
	}()
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return heard
	}
}

// TestFaultMatrix generates every cell of faults and routes.
func TestFaultMatrix(t *testing.T) {
	var cells, ran atomic.Int64
	t.Run("faults", func(t *testing.T) {
		for n, f := range faults() {
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				columns := map[string]map[string]int{}
				runFault(t, n, f, func(column, verdict string) {
					if columns[column] == nil {
						columns[column] = map[string]int{}
					}
					columns[column][verdict]++
				})
				cells.Add(int64(len(columns)))
				ran.Add(1)
				t.Log(columns)
			})
		}
	})
	const columns = 7
	t.Logf("%d cells: %d faults and %d kinds of routes", cells.Load(), ran.Load(), columns)
	if want := columns * ran.Load(); cells.Load() != want && !t.Failed() {
		t.Errorf("%d cells, want %d", cells.Load(), want)
	}
}

// bound is how long a change in the cluster that is not ours, or on a dead
// connection, may go unnoticed.
const bound = 3500 * time.Millisecond

func runFault(t *testing.T, n int, f fault, passed func(column, verdict string)) {
	if f.name == "exec plugin hangs" && n%2 != 0 {
		n += 101 // the even ones have a plugin
	}
	g := newRig(t, n, f.private)
	ns := g.namespace
	g.direct.deploy(t, g.replicaSetManifest("m", 1), "").only(t)
	apply(t, g.c, fmt.Sprintf(`
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: gone, namespace: %[1]s, labels: {app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: %[1]s, moniker.spinnaker.io/cluster: replicaSet gone}}
spec: {replicas: 0, selector: {matchLabels: {a: gone}}, template: {metadata: {labels: {a: gone}}, spec: {containers: [{name: main, image: x}]}}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: gone, namespace: %[1]s}
spec: {suspend: true, template: {spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}}
`, ns))
	eventually(t, 20*time.Second, func() error {
		for _, path := range []string{"/applications/" + ns + "/serverGroups", "/search?q=gone&type=serverGroups"} {
			if r := g.get(t, path); !strings.Contains(r.body, "replicaSet gone") {
				return errors.New(r.body)
			}
		}
		if r := g.get(t, escaped("applications", ns, "jobs", sick, ns, "job gone")); r.status != http.StatusOK {
			return errors.New(r.body)
		}
		return nil
	})
	if f.private { // versions go far beyond those of the backup
		if err := g.c.Backup(context.Background()); err != nil {
			t.Fatal(err)
		}
		for i := range 300 {
			apply(t, g.c, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: filler, namespace: %s}\ndata: {n: \"%d\"}", ns, i))
		}
		eventually(t, 30*time.Second, func() error { return upToDate(g) })
	}
	said := g.streamed(t, "m-v001")
	end := f.begin(t, g)
	begun := time.Now()
	if f.private {
		eventually(t, time.Minute, func() error { return upToDate(g) })
	}
	g.direct.deploy(t, g.replicaSetManifest("m", 2), "").only(t)
	written := time.Now()
	call(t, g.c, http.MethodDelete, "/apis/apps/v1/namespaces/"+ns+"/replicasets/gone", "application/json", "")
	call(t, g.c, http.MethodDelete, "/apis/batch/v1/namespaces/"+ns+"/jobs/gone?propagationPolicy=Background", "application/json", "")
	cells := g.cells("m-v001")
	ask := func(c cell) (string, error) {
		r, err := g.tryGet(c.path)
		if err != nil {
			return "", err
		}
		return c.judge(r)
	}
	// What an installation has written is known at once where Orca decides.
	for _, c := range cells {
		if c.want == there && (c.column == "target" || c.column == "single manifest" || c.column == "cluster route") && time.Since(begun) > bound {
			if _, err := ask(c); err != nil {
				t.Errorf("%s after the write: %v", time.Since(written).Round(time.Millisecond), err)
			}
		}
	}
	until(written.Add(bound))
	for round := range 3 {
		var asking sync.WaitGroup
		var mu sync.Mutex
		for _, c := range cells {
			asking.Go(func() {
				verdict, err := ask(c)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Errorf("round %d: %v", round, err)
				}
				passed(c.column, verdict)
			})
		}
		asking.Wait()
		if said() == "" {
			t.Error("the stream has neither the change nor the mark")
		}
		passed("stream", "right or marked")
		until(time.Now().Add(300 * time.Millisecond))
	}
	end()
	// And then all is well again.
	eventually(t, time.Minute, func() error {
		for _, c := range cells {
			r, err := g.tryGet(c.path)
			if err != nil {
				return err
			}
			if marks := r.header.Get(api.StaleHeader); marks != "" || r.status >= http.StatusInternalServerError {
				return fmt.Errorf("%s: %d, marked %q: %.300s", c.path, r.status, marks, r.body)
			}
			if _, err := c.judge(r); err != nil {
				return err
			}
		}
		return nil
	})
}

// upToDate says whether both replicas are in touch.
func upToDate(g *rig) error {
	for _, s := range []*service{g.service, g.direct.service} {
		if a := statusOf(s, sick); a.Stale {
			text, _ := json.Marshal(a)
			return fmt.Errorf("out of touch: %s", text)
		}
	}
	return nil
}

func until(at time.Time) { <-time.After(time.Until(at)) }
