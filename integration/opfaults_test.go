package integration

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/localkube"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// meddler does something before each write that the service sends to a path.
type meddler struct {
	next   http.RoundTripper
	method string
	path   string
	before func(n int64) *http.Response
	n      *atomic.Int64
}

func (m meddler) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == m.method && strings.HasSuffix(r.URL.Path, m.path) {
		if answer := m.before(m.n.Add(1)); answer != nil {
			answer.Request = r
			return answer, nil
		}
	}
	return m.next.RoundTrip(r)
}

// meddle serves the cluster of o once more, with something done before each
// write to a path.
func (o *ops) meddle(t testing.TB, method, path string, before func(n int64) *http.Response) (*ops, *atomic.Int64) {
	t.Helper()
	n := &atomic.Int64{}
	cfg := settings()
	cfg.Kubernetes.Accounts = javaAccounts(o.c)
	s := startShared(t, storeOptions(t, nil), cfg, func(next http.RoundTripper) http.RoundTripper { return meddler{next, method, path, before, n} })
	return &ops{service: s.ready(t), c: o.c, namespace: o.namespace}, n
}

// TestFaults_OfOperations has the failures of operations.md 1.3 and 6.1 that
// need a hand in the cluster.
func TestFaults_OfOperations(t *testing.T) {
	runRows(t, "rows-faults", []check{
		{32, "an object that others change all the time", func(t *testing.T, o *ops) {
			for _, c := range []struct {
				conflicts int64
				fails     bool
			}{{1, false}, {5, false}, {6, true}} {
				name := fmt.Sprintf("busy-%d", c.conflicts)
				o.deploy(t, o.serviceManifest(name, "{a: b}"), "").only(t)
				s, n := o.meddle(t, http.MethodPatch, "/services/"+name, func(n int64) *http.Response {
					call(t, o.c, http.MethodPatch, o.core("services", name), mergePatch, fmt.Sprintf(`{"metadata":{"annotations":{"other":"%d"}}}`, n))
					if n > c.conflicts {
						return nil
					}
					return &http.Response{
						StatusCode: http.StatusConflict, Status: "409 Conflict", Header: http.Header{"Content-Type": {"application/json"}, "Audit-Id": {"x"}},
						Body: io.NopCloser(strings.NewReader(`{"kind":"Status","apiVersion":"v1","code":409,"reason":"Conflict","message":"the object has been modified","details":{"name":"x"}}`)),
					}
				})
				d := s.deploy(t, o.serviceManifest(name, "{a: c}"), "")
				if c.fails {
					d.failed(t, "service "+name, "others changed the object each of the 6 times that this was tried", "run the stage again")
				} else if d.Status.Failed {
					t.Error(d.raw)
				}
				live := o.live(t, o.core("services", name))
				if want := map[bool]string{false: "c", true: "b"}[c.fails]; live.at("spec", "selector", "a") != want || live.annotation("other") != fmt.Sprint(min(c.conflicts+1, 6)) {
					t.Errorf("%d conflicts: %v", c.conflicts, live)
				}
				if want := min(c.conflicts+1, 6); n.Load() != want {
					t.Errorf("%d conflicts: %d patches, want %d", c.conflicts, n.Load(), want)
				}
			}
		}},
		{26, "a version that another takes at the last moment", func(t *testing.T, o *ops) {
			s, _ := o.meddle(t, http.MethodPost, "/configmaps", func(n int64) *http.Response {
				if n == 1 {
					apply(t, o.c, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: taken-v000, namespace: "+o.namespace+"}\ndata: {by: another}")
				}
				return nil
			})
			m := strings.Replace(o.deployment("taken", "x"), "containers: [", "volumes: [{name: v, configMap: {name: taken}}]\n      containers: [", 1)
			r := s.deploy(t, o.configMap("taken", "{by: us}")+"\n---\n"+m, "").only(t)
			if got := fmt.Sprint(o.live(t, o.apps("deployments", "taken")).at("spec", "template", "spec", "volumes")); !strings.Contains(got, "taken-v001") {
				t.Errorf("the deployment has another's config map: %s", got)
			}
			if got := r.BoundArtifacts[0]; got["reference"] != "taken-v001" || got["version"] != "v001" {
				t.Errorf("%v", got)
			}
		}},
		{10, "a record that makes kubectl's own code panic", func(t *testing.T, o *ops) {
			o.deploy(t, o.deployment("panics", "x"), "").only(t)
			call(t, o.c, http.MethodPatch, o.apps("deployments", "panics"), mergePatch, `{"metadata":{"annotations":{"`+lastAppliedKey+`":"{\"spec\":{\"template\":{\"spec\":{\"imagePullSecrets\":[null]}}}}"}}}`)
			m := strings.Replace(o.deployment("panics", "x"), "containers: [", "imagePullSecrets: [{name: r}]\n      containers: [", 1)
			o.deploy(t, m, "").failed(t, "internal error")
			o.deploy(t, o.serviceManifest("after-panic", "{a: b}"), "").only(t)
		}},
		{10, "an API server that is throttled", func(t *testing.T, o *ops) {
			s, n := o.meddle(t, http.MethodPost, "/services", func(n int64) *http.Response {
				if n > 2 {
					return nil
				}
				return &http.Response{
					StatusCode: http.StatusTooManyRequests, Status: "429 Too Many Requests", Header: http.Header{"Content-Type": {"application/json"}, "Retry-After": {"1"}},
					Body: io.NopCloser(strings.NewReader(`{"kind":"Status","apiVersion":"v1","code":429,"reason":"TooManyRequests","message":"slow down"}`)),
				}
			})
			begin := time.Now()
			s.deploy(t, o.serviceManifest("throttled", "{a: b}"), "").only(t)
			if took := time.Since(begin); n.Load() != 3 || took < 2*time.Second {
				t.Errorf("%d calls in %s: Retry-After is not honoured", n.Load(), took)
			}
		}},
		{10, "a webhook that refuses, and one that does not answer", func(t *testing.T, o *ops) {
			hold := make(chan struct{})
			hook := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var review map[string]any
				if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
					w.WriteHeader(http.StatusBadRequest)
					return
				}
				request, _ := review["request"].(map[string]any)
				if name, _ := request["name"].(string); name == "slow" {
					<-hold
				}
				review["response"] = map[string]any{"uid": request["uid"], "allowed": request["name"] != "denied", "status": map[string]any{"message": "no limits are set"}}
				delete(review, "request")
				_ = json.NewEncoder(w).Encode(review)
			}))
			hook.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
			hook.StartTLS()
			t.Cleanup(hook.Close)
			t.Cleanup(func() { close(hold) })
			ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: hook.Certificate().Raw})
			apply(t, o.c, fmt.Sprintf(`apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: rows-hook}
webhooks:
- name: limits.rows.example.com
  admissionReviewVersions: [v1]
  sideEffects: None
  timeoutSeconds: 1
  clientConfig: {url: "%s", caBundle: %s}
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %s}}
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [serviceaccounts]}]
`, hook.URL, base64.StdEncoding.EncodeToString(ca), o.namespace))
			t.Cleanup(func() {
				call(t, o.c, http.MethodDelete, "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/rows-hook", "application/json", "")
			})
			account := func(name string) string {
				return "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: " + name + ", namespace: " + o.namespace + "}"
			}
			eventually(t, 20*time.Second, func() error {
				_, err := o.c.Call(t.Context(), http.MethodPost, "/api/v1/namespaces/"+o.namespace+"/serviceaccounts?dryRun=All", "application/json", []byte(`{"metadata":{"name":"denied"}}`))
				if err == nil {
					return errors.New("the webhook is not in force yet")
				}
				return nil
			})
			o.deploy(t, account("denied"), "").failed(t, `admission webhook "limits.rows.example.com" denied the request: no limits are set`)
			begin := time.Now()
			o.deploy(t, account("slow"), "").failed(t, "limits.rows.example.com", "account "+o.c.Name)
			if took := time.Since(begin); took > 20*time.Second {
				t.Errorf("took %s", took)
			}
		}},
		{10, "an API server that goes away between two objects", func(t *testing.T, o *ops) {
			p, err := localkube.NewProxy(strings.TrimPrefix(o.c.URL, "https://"))
			if err != nil {
				t.Fatal(err)
			}
			away := behind(o.c, "between", p)
			cfg := settings()
			cfg.Kubernetes.Accounts = javaAccounts(away)
			var n atomic.Int64
			s := &ops{startShared(t, storeOptions(t, nil), cfg, func(next http.RoundTripper) http.RoundTripper {
				return meddler{next, http.MethodPost, "/services", func(int64) *http.Response { p.Close(); return nil }, &n}
			}).ready(t), away, o.namespace}
			d := s.deploy(t, o.configMap("before", "{a: b}")+"\n---\n"+o.serviceManifest("between", "{a: b}")+"\n---\n"+o.deployment("after", "x"), "")
			d.failed(t, "service between", "account between")
			if !o.exists(t, o.core("configmaps", "before-v000")) || o.exists(t, o.core("services", "between")) || o.exists(t, o.apps("deployments", "after")) {
				t.Error("what was applied stays, and nothing comes after a failure")
			}
			if !strings.Contains(d.raw, "Created configMap before-v000") {
				t.Errorf("the history does not tell what is left: %s", d.raw)
			}
		}},
	})
}

// TestDatabaseAway_DuringATask takes the database away in the middle of a
// deploy: the task waits and ends once, and nothing is answered with a 500.
func TestDatabaseAway_DuringATask(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	const name = "sql-away"
	namespace(t, name, c)
	m := newDatabase(t, "utf8mb4")
	p, err := localkube.NewProxy(m.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	through := *m
	through.Host = p.Addr()
	options := storeOptions(t, &through)
	options.Timeout = 2 * time.Second
	cfg := settings()
	cfg.Kubernetes.Accounts = javaAccounts(c)
	var n atomic.Int64
	gone := make(chan struct{})
	s := &ops{startShared(t, options, cfg, func(next http.RoundTripper) http.RoundTripper {
		return meddler{next, http.MethodPost, "/services", func(n int64) *http.Response {
			if n == 1 {
				p.BlackHole(true)
				close(gone)
			}
			return nil
		}, &n}
	}).ready(t), c, name}
	o := &ops{service: s.service, c: c, namespace: name}
	id := s.submit(t, s.body(t, "deployManifest", s.deployFields(t, s.configMap("one", "{a: b}")+"\n---\n"+s.serviceManifest("two", "{a: b}")+"\n---\n"+s.deployment("three", "x"), "")), "away")
	<-gone
	eventually(t, 20*time.Second, func() error {
		if !o.exists(t, o.core("services", "two")) {
			return errors.New("the call under way is not made")
		}
		return nil
	})
	s.get(t, "/task/"+id).says(t, 200, `"completed":false`) // it runs here
	for _, path := range []string{"/task/unheard", "/task"} {
		if r := s.get(t, path); r.status != http.StatusServiceUnavailable || r.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	if r := s.post(t, "/kubernetes/ops", s.body(t, "scaleManifest", s.target("deployment x")+"replicas: 1")); r.status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", r.status, r.body)
	}
	if o.exists(t, o.apps("deployments", "three")) {
		t.Error("the next step came before the one before it was recorded")
	}
	// Reads that would ask the ledger read live instead.
	if r := s.get(t, "/applications/"+name+"/clusters/"+c.Name); r.status != http.StatusOK && r.status != http.StatusNotFound {
		t.Errorf("%d %s", r.status, r.body)
	}
	p.BlackHole(false)
	d := s.await(t, id)
	if r := d.only(t); len(r.Manifests) != 3 || len(r.CreatedArtifacts) != 3 {
		t.Error(d.raw)
	}
	db := openStore(t, storeOptions(t, m))
	writes, err := db.WritesAfter(t.Context(), 0, nil, 100)
	if err != nil {
		t.Fatal(err)
	}
	if len(writes) != 3 {
		t.Errorf("%d rows in the ledger: %+v", len(writes), writes)
	}
}

// TestKilledAfterItsWrite_TakesEffectOnce kills the process right after one
// write of an operation, before it is recorded (rows 8 and 48).
func TestKilledAfterItsWrite_TakesEffectOnce(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	for _, scenario := range []struct {
		operation string
		fields    func(o *ops) string
		check     func(t *testing.T, o *ops, d done)
	}{
		{"undoRolloutManifest", func(o *ops) string { return o.target("deployment web") + "numRevisionsBack: 1" }, func(t *testing.T, o *ops, d done) {
			if image := imageOf(o.live(t, o.apps("deployments", "web"))); d.Status.Failed || image != "v:2" {
				t.Errorf("%s: %s", image, d.raw)
			}
		}},
		{"rollingRestartManifest", func(o *ops) string { return o.target("deployment web") }, func(t *testing.T, o *ops, d done) {
			if generation := o.live(t, o.apps("deployments", "web")).at("metadata", "generation"); d.Status.Failed || generation != 4.0 {
				t.Errorf("generation %v: %s", generation, d.raw)
			}
		}},
		{"scaleManifest", func(o *ops) string { return o.target("deployment web") + "replicas: 4" }, func(t *testing.T, o *ops, d done) {
			if replicas := o.live(t, o.apps("deployments", "web")).at("spec", "replicas"); d.Status.Failed || replicas != 4.0 {
				t.Errorf("%v: %s", replicas, d.raw)
			}
		}},
		{"deleteManifest", func(o *ops) string { return o.target("deployment web") }, func(t *testing.T, o *ops, d done) {
			if err := equal(o.names(d.only(t)), []string{"deployment web"}); err != nil {
				t.Error(err)
			}
		}},
		{"patchManifest", func(o *ops) string {
			return o.target("deployment web") + "options: {mergeStrategy: json}\npatchBody: [{op: add, path: /spec/template/spec/containers/-, value: {name: side, image: x}}]"
		}, func(t *testing.T, o *ops, d done) {
			d.failed(t, "not known whether the patch took effect")
			containers, _ := o.live(t, o.apps("deployments", "web")).at("spec", "template", "spec", "containers").([]any)
			if len(containers) != 2 {
				t.Errorf("%d containers", len(containers))
			}
		}},
		{"runJob", func(o *ops) string {
			return "application: x\nmanifest: {apiVersion: batch/v1, kind: Job, metadata: {name: named, namespace: " + o.namespace + "}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: x}]}}}}"
		}, func(t *testing.T, o *ops, d done) {
			live := o.live(t, "/apis/batch/v1/namespaces/"+o.namespace+"/jobs/named")
			if d.only(t).Manifests[0].at("metadata", "uid") != live.at("metadata", "uid") {
				t.Errorf("made twice: %s", d.raw)
			}
		}},
	} {
		t.Run(scenario.operation, func(t *testing.T) {
			name := "killed-" + strings.ToLower(scenario.operation)
			namespace(t, name, c)
			o := &ops{service: start(t, settings(), c).ready(t), c: c, namespace: name}
			for _, v := range []string{"v:1", "v:2", "v:3"} {
				o.deploy(t, o.deployment("web", v), "").only(t)
				o.settled(t, "deployment web")
			}
			o.stop()
			in := replicaInput{Path: storeOptions(t, nil).Path, At: 2}
			p := startProcess(t, in, c, name)
			id := p.submit(t, p.body(t, scenario.operation, scenario.fields(p.ops)), "")
			select {
			case <-p.exited:
			case <-time.After(time.Minute):
				t.Fatal("not killed")
			}
			in.At = 0
			q := startProcess(t, in, c, name)
			scenario.check(t, q.ops, q.await(t, id))
		})
	}
}

// TestOlderRewritesWrites_AreReadLive has a replica of the older rewrite write
// beside us: it changes an object and then inserts a row without a version.
func TestOlderRewritesWrites_AreReadLive(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	const name = "older-writes"
	namespace(t, name, c)
	cfg := settings()
	cfg.Kubernetes.Accounts = javaAccounts(c)
	m := newDatabase(t, "utf8")
	s := &ops{startShared(t, storeOptions(t, m), cfg, func(next http.RoundTripper) http.RoundTripper { return heldBack{next, 5 * time.Second} }).ready(t), c, name}
	s.deploy(t, strings.Replace(s.replicaSetManifest("set", 0), "metadata: {", "metadata: {annotations: {strategy.spinnaker.io/versioned: 'false'}, ", 1), "").only(t)
	older := openStore(t, storeOptions(t, m))
	row := func(id, taskType string) {
		t.Helper()
		rows, err := older.Resources(t.Context(), c.Name)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, store.Resource{AccountName: c.Name, ID: id, TaskID: "older-" + id, TaskType: taskType, APIGroup: "apps", Kind: "ReplicaSet", Name: "set", Namespace: name, Timestamp: time.Now()})
		if err := older.ReplaceResources(t.Context(), c.Name, rows); err != nil {
			t.Fatal(err)
		}
	}
	path := "/applications/" + name + "/clusters/" + c.Name + "/replicaSet%20set/kubernetes"
	call(t, c, http.MethodPatch, s.apps("replicasets", "set"), mergePatch, `{"spec":{"replicas":3}}`)
	row("one", "")
	if r := s.get(t, path); !strings.Contains(r.body, `"desired":3`) {
		t.Errorf("an older write is not shown: %s", r.body)
	}
	before := s.requests.Load()
	s.get(t, path)
	if n := s.requests.Load() - before; n != 0 {
		t.Errorf("%d requests for a row that was looked at", n)
	}
	call(t, c, http.MethodDelete, s.apps("replicasets", "set"), "application/json", "")
	row("two", "delete")
	if r := s.get(t, path); r.status != http.StatusNotFound {
		t.Errorf("an older deletion is not shown: %d %s", r.status, r.body)
	}
}
