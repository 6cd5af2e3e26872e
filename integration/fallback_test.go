package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/api"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// besides serves the cluster of o with a fallback.
func besides(t testing.TB, o *ops, base string, patience time.Duration) *ops {
	t.Helper()
	return &ops{serveWith(t, o, func(c *config.Config) {
		c.Fallback = config.Fallback{URL: base, Timeout: patience, ListTimeout: patience, MaxInFlight: 100}
	}), o.c, o.namespace}
}

// fakeHeader marks answers of a fake, which no description holds for.
const fakeHeader = "X-Fake"

// TestFallback_AnswersForWhatIsNotOurs tells by the echo of a fake Java
// Clouddriver which requests get there, and that they get there as they are.
func TestFallback_AnswersForWhatIsNotOurs(t *testing.T) {
	o := startOps(t, "fallback-routes")
	java := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set(fakeHeader, "yes")
		w.WriteHeader(http.StatusAccepted)
		_ = json.NewEncoder(w).Encode(map[string]string{"method": r.Method, "uri": r.RequestURI, "body": string(body), "user": r.Header.Get("X-Spinnaker-User"), "host": r.Host})
	}))
	t.Cleanup(java.Close)
	s := besides(t, o, java.URL+"/base", 5*time.Second)
	mine := o.c.Name
	op := func(account, provider string) string {
		return fmt.Sprintf(`{"resizeServerGroup":{"account":%q,"cloudProvider":%q,"credentials":%q}}`, account, provider, account)
	}
	for _, c := range []struct {
		method, path, body string
		theirs             bool
	}{
		{"GET", "/manifests/aws-1/eu/image%20x?includeEvents=false", "", true},
		{"GET", "/manifests/" + mine + "/ns/deployment%20x", "", false},
		{"GET", "/credentials/aws-1", "", true},
		{"GET", "/credentials/" + mine, "", false},
		{"GET", "/instances/aws-1/eu/i-123", "", true},
		{"GET", "/instances/aws-1/eu/i-123/console?provider=aws", "", true},
		{"GET", "/applications/web/serverGroups/aws-1/eu/web-v001", "", true},
		{"GET", "/applications/web/clusters/aws-1/web/aws", "", true},
		{"GET", "/applications/web/clusters/" + mine, "", false},
		{"GET", "/applications/web/jobs/titus-1/eu/abc", "", true},
		{"DELETE", "/applications/web/jobs/titus-1/eu/abc", "", true},
		{"GET", "/applications/web/clusters/aws-1/web/aws/eu/serverGroups/target/newest", "", true},
		{"GET", "/applications/web/serverGroups/aws-1/web-v001/events", "", true}, // no route of ours
		{"GET", "/aws/loadBalancers", "", true},
		{"GET", "/kubernetes/loadBalancers", "", false},
		{"GET", "/securityGroups/aws-1/aws/eu/sg?vpcId=v", "", true},
		{"GET", "/securityGroups/" + mine + "/aws", "", false},
		{"GET", "/subnets", "", true},
		{"GET", "/networks/aws", "", true},
		{"GET", "/tags?entityId=x", "", true},
		{"POST", "/tags", "{}", true},
		{"GET", "/elasticIps/" + mine, "", true},
		{"GET", "/aws/images/find?q=a%2Fb&x=%20", "", true},
		{"GET", "/dockerRegistry/images/find?q=x", "", true},
		{"GET", "/cloudMetrics/aws/a/b", "", true},
		{"POST", "/cache/aws/ServerGroup", "{}", true},
		{"POST", "/cache/kubernetes/manifest", "{}", false},
		{"POST", "/aws/ops", "[" + op("aws-1", "aws") + "]", true},
		{"POST", "/kubernetes/ops", "[" + op("other-k8s", "kubernetes") + "]", true},
		{"POST", "/kubernetes/ops", "[" + op(mine, "kubernetes") + "]", false},
		{"POST", "/kubernetes/ops/resizeServerGroup", `{"account":"other-k8s"}`, true},
		{"POST", "/ops", "[" + op("aws-1", "aws") + "]", true},
		{"POST", "/ops", "[" + op(mine, "kubernetes") + "]", false},
		{"POST", "/kubernetes/ops", "no JSON", false},
		{"POST", "/ops", `[{"upsertEntityTags":{"entityRef":{"account":"aws-1"}}}]`, true},
		{"POST", "/ops", `[{"resizeServerGroup":{}}]`, false},
		{"POST", "/cache/kubernetes/manifest", `{"account":"other-k8s"}`, true},
		{"POST", "/cache/kubernetes/manifest", `{"account":"` + mine + `"}`, false},
		{"GET", "/task/of-the-fallback", "", true},
		{"PATCH", "/kubernetes/task/of-the-fallback", `{"retry":true}`, true},
		{"PUT", "/artifacts/fetch/", `{"type":"http/file","artifactAccount":"theirs"}`, true},
		{"GET", "/artifacts/account/helm/names?type=helm%2Fchart", "", true},
		{"POST", "/v1/kubernetes/providers", "no JSON", false},
		{"GET", "/health", "", false},
		{"GET", "/env", "", false},
		{"GET", "/ENV/x", "", false},
		{"GET", "//env", "", false},
		{"GET", "/x/../heapdump", "", false},
		{"GET", "/x/..;a=b/env", "", false},
		{"GET", "/x/%2e%2e;/heapdump", "", false},
		{"GET", "/;a/env", "", false},
		{"GET", "/.;/env", "", false},
		{"GET", "/%2e%2e/other", "", false},
		{"GET", "/httpexchanges", "", false},
		{"PUT", "/admin/db/drop/x", "", false},
		{"PUT", "/v1/kubernetes/providers/prod", `{"bearerToken":"secret"}`, false},
		{"GET", "/v1//kubernetes/providers", "", false},
		{"HEAD", "/manifests/" + mine + "/ns/deployment%20x", "", false},
		{"HEAD", "/applications", "", false},
		{"HEAD", "/manifests/aws-1/ns/deployment%20x", "", true},
		{"GET", "/manifests/aws-1/eu/image%20a%2Fb/", "", true},
		{"GET", "/actuator/heapdump", "", false},
		{"GET", "/aws/of%2Fpath?a=b", "", true}, {"GET", "/unheard/of%2Fpath?a=b", "", false},
		{"GET", "/applications/web/history", "", false},
	} {
		t.Run(c.method+" "+c.path+" "+c.body, func(t *testing.T) {
			req, err := http.NewRequest(c.method, s.URL+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-SPINNAKER-USER", "ann")
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			body, _ := io.ReadAll(res.Body)
			if theirs := res.Header.Get(fakeHeader) == "yes"; theirs != c.theirs {
				t.Fatalf("theirs: %v, want %v: %d %s", theirs, c.theirs, res.StatusCode, body)
			}
			if !c.theirs {
				return
			}
			if c.method == http.MethodHead {
				return
			}
			var got map[string]string
			if err := json.Unmarshal(body, &got); err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != http.StatusAccepted || got["method"] != c.method || got["uri"] != "/base"+strings.TrimSuffix(c.path, "/") || got["body"] != c.body || got["user"] != "ann" || !strings.HasPrefix(java.URL, "http://"+got["host"]) {
				t.Errorf("%d %s", res.StatusCode, body)
			}
		})
	}
	t.Run("operations of both in one request are refused whole", func(t *testing.T) {
		r := s.send(t, http.MethodPost, "/kubernetes/ops", "["+op(mine, "kubernetes")+","+op("other-k8s", "kubernetes")+"]")
		r.says(t, 400, "credentials: this service has "+mine+", and the fallback other-k8s")
	})
	t.Run("an operation that names no account", func(t *testing.T) {
		r := s.send(t, http.MethodPost, "/kubernetes/ops", `[{"cleanupArtifacts":{}},`+op("other-k8s", "kubernetes")+"]")
		r.says(t, 400, "this service has (no account), and the fallback other-k8s")
	})
	t.Run("two that point at each other", func(t *testing.T) {
		var target string
		mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			to, _ := url.Parse(target + r.RequestURI)
			req := r.Clone(r.Context())
			req.URL, req.RequestURI = to, ""
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			defer func() { _ = res.Body.Close() }()
			w.Header().Set("Content-Type", res.Header.Get("Content-Type"))
			w.WriteHeader(res.StatusCode)
			_, _ = io.Copy(w, res.Body)
		}))
		t.Cleanup(mirror.Close)
		s := besides(t, o, mirror.URL, 5*time.Second)
		target = s.URL
		s.get(t, "/manifests/nobody/ns/deployment%20x").says(t, 404, "not found")
		s.get(t, "/applications").says(t, 200)
	})
}

// bothLists are the lists that both serve, for one application.
func bothLists(application string) []string {
	return []string{
		"/applications", "/applications/" + application, "/applications/" + application + "/clusters", "/applications/" + application + "/serverGroups",
		"/applications/" + application + "/serverGroupManagers", "/applications/" + application + "/loadBalancers", "/applications/" + application + "/rawResources",
		"/serverGroups?applications=" + application, "/securityGroups", "/search?type=serverGroups&q=" + application, "/credentials", "/credentials?expand=true",
		"/artifacts/credentials", "/features/stages", "/task",
	}
}

// TestFallback_ListsShowBoth has a second service of ours as the fallback, with
// an account of its own and one that both have.
func TestFallback_ListsShowBoth(t *testing.T) {
	o := startOps(t, "fallback-both")
	cfg := settings()
	cfg.Kubernetes.Accounts = []config.Account{{Name: "theirs", KubeconfigContents: string(o.c.Kubeconfig())}, {Name: o.c.Name, KubeconfigContents: string(o.c.Kubeconfig())}}
	other := &ops{service: startWith(t, cfg, nil).ready(t), c: o.c, namespace: o.namespace}
	s := besides(t, o, other.URL, 10*time.Second)
	s.deploy(t, s.replicaSetManifest("both", 1), "").only(t)
	s.deploy(t, s.serviceManifest("both", "{both: both}"), "").only(t)
	s.deploy(t, "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: both, namespace: "+o.namespace+"}\nspec: {podSelector: {}}", "").only(t)
	s.deploy(t, s.deployment("both", "x"), "").only(t)
	app := o.namespace
	eventually(t, 20*time.Second, func() error {
		for _, path := range bothLists(app)[2:10] {
			if r := other.get(t, path); !strings.Contains(r.body, `"theirs"`) {
				return fmt.Errorf("%s: %s", path, r.body)
			}
		}
		return nil
	})
	for _, path := range bothLists(app)[:12] {
		t.Run(path, func(t *testing.T) {
			both, alone := s.get(t, path), o.get(t, path)
			both.says(t, 200, `"`+o.c.Name+`"`, `"theirs"`)
			if both.header.Get(api.FallbackHeader) != "" || both.header.Get("Etag") == "" {
				t.Errorf("%v", both.header)
			}
			if strings.HasPrefix(path, "/search") || strings.HasPrefix(path, "/serverGroups") || strings.HasSuffix(path, "/loadBalancers") {
				mine := strings.Count(alone.body, `"account":"`+o.c.Name+`"`)
				if n := strings.Count(both.body, `"account":"`+o.c.Name+`"`); n != mine || mine == 0 {
					t.Errorf("%d entries of our account, want %d", n, mine)
				}
			}
		})
	}
	t.Run("an application that only the fallback has", func(t *testing.T) {
		empty := &ops{service: start(t, settings()), c: o.c, namespace: o.namespace}
		cfg := settings()
		cfg.Fallback = config.Fallback{URL: other.URL, Timeout: 5 * time.Second, ListTimeout: 5 * time.Second, MaxInFlight: 100}
		s := &ops{service: startWith(t, cfg, nil), c: o.c, namespace: o.namespace}
		empty.get(t, "/applications/"+app).says(t, 404)
		s.get(t, "/applications/"+app).says(t, 200, `"theirs"`)
		s.get(t, "/applications/nobody").says(t, 404)
	})
	t.Run("pages of a search go on with theirs", func(t *testing.T) {
		names := map[string]bool{}
		for page := 1; page <= 4; page++ {
			var sets []struct {
				TotalMatches int
				Results      []struct{ Account, Name string }
			}
			s.get(t, fmt.Sprintf("/search?type=serverGroups,loadBalancers,securityGroups&q=%s&pageSize=2&page=%d", app, page)).into(t, &sets)
			for _, hit := range sets[0].Results {
				names[hit.Account+" "+hit.Name] = true
			}
			if sets[0].TotalMatches != 8 {
				t.Errorf("page %d: %+v", page, sets)
			}
		}
		if len(names) != 8 {
			t.Errorf("%v", names)
		}
	})
}

// TestFallback_DeadTakesNothingDown has lists answer as without a fallback when
// it is not there, does not answer or answers nonsense.
func TestFallback_DeadTakesNothingDown(t *testing.T) {
	alone(t, pool.Shared(t, 1)...) // the lists of two services are compared
	o := startOps(t, "fallback-dead")
	o.deploy(t, o.deployment("alive", "x"), "").only(t)
	o.settled(t, "deployment alive")
	closed := httptest.NewServer(nil)
	closed.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	says := func(status int, body string) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	for name, base := range map[string]string{
		"not there": closed.URL, "silent": "http://" + silent.Addr().String(), "in error": says(500, `{"error":"x"}`), "garbage": says(200, "<html>"),
		"another shape": says(200, `"text"`), "empty": says(200, ""), "null elements": says(200, `[null, 1, "x", []]`), "forbidden": says(403, `{"error":"Forbidden","message":"no","status":403,"timestamp":1}`),
	} {
		t.Run(name, func(t *testing.T) {
			patience := 2 * time.Second
			if name == "silent" {
				patience = 300 * time.Millisecond // which each list takes once
			}
			s := besides(t, o, base, patience)
			begin := time.Now()
			for _, path := range []string{"/applications/nobody", "/projects/nobody/clusters"} {
				// It may be there; Orca would take 404 for leave to delete it.
				switch r := s.get(t, path); {
				case name == "forbidden":
					r.says(t, 403)
				case name == "null elements" && strings.HasPrefix(path, "/projects"):
					r.is(t, 200, "[]") // it has the project
				default:
					r.says(t, 503, "not known here, and the fallback could not be asked")
				}
			}
			for _, path := range bothLists(o.namespace) {
				want, got := o.get(t, path), s.get(t, path)
				silent := name == "null elements" // an array, whatever is in it
				if got.status != want.status || got.body != want.body || got.header.Get(api.FallbackHeader) != "unavailable" && !silent {
					t.Errorf("%s: %d %q %.300s, want %d %.300s", path, got.status, got.header.Get(api.FallbackHeader), got.body, want.status, want.body)
				}
			}
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("%d lists took %s", len(bothLists("")), took)
			}
			s.get(t, o.manifestPath("deployment alive")).says(t, 200)
			if name == "not there" || name == "silent" {
				s.get(t, "/manifests/nobody/ns/deployment%20x").says(t, 503, "the fallback http://")
				s.send(t, http.MethodPost, "/aws/ops", "[]").says(t, 503, "the fallback http://")
			}
		})
	}
	t.Run("it comes back", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := listener.Addr().String()
		_ = listener.Close()
		s := besides(t, o, "http://"+address, 2*time.Second)
		if r := s.get(t, "/artifacts/credentials"); r.header.Get(api.FallbackHeader) != "unavailable" {
			t.Fatal(r)
		}
		listener, err = net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		back := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `[{"name":"aws-1","types":["aws"]}]`)
		}), ReadHeaderTimeout: time.Second}
		go func() { _ = back.Serve(listener) }()
		t.Cleanup(func() { _ = back.Close() })
		eventually(t, 20*time.Second, func() error {
			if r := s.get(t, "/artifacts/credentials"); !strings.Contains(r.body, `"aws-1"`) || r.header.Get(api.FallbackHeader) != "" {
				return fmt.Errorf("%s", r.body)
			}
			return nil
		})
	})
}

// TestFallback_HangingLeavesRoomForKubernetes has a fallback that answers
// nothing, and more requests for it than this service serves at once.
func TestFallback_HangingLeavesRoomForKubernetes(t *testing.T) {
	o := startOps(t, "fallback-hangs")
	hold, asked := make(chan struct{}), make(chan struct{}, 100)
	java := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/aws/images/find" {
			asked <- struct{}{}
		}
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(java.Close)
	t.Cleanup(func() { close(hold) })
	const most = 5
	cfg := settings()
	cfg.Fallback = config.Fallback{URL: java.URL, Timeout: 30 * time.Second, ListTimeout: 500 * time.Millisecond, MaxInFlight: most}
	cfg.Server.MaxInFlight = most
	cfg.Kubernetes.Accounts = javaAccounts(o.c)
	s := &ops{service: startWith(t, cfg, nil).ready(t), c: o.c, namespace: o.namespace}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range most {
		go func() {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/aws/images/find?q=x", nil)
			if err != nil {
				return
			}
			if res, err := http.DefaultClient.Do(req); err == nil {
				_ = res.Body.Close()
			}
		}()
	}
	for range most {
		<-asked
	}
	s.get(t, "/aws/images/find?q=x").says(t, 503, "too many requests wait for the fallback")
	s.get(t, "/credentials/"+o.c.Name).says(t, 200)
	// A list that times out rests; others are asked for all the same, and the
	// service answers.
	for _, path := range []string{"/applications", "/credentials"} {
		begin := time.Now()
		s.get(t, path).says(t, 200)
		first := time.Since(begin)
		begin = time.Now()
		s.get(t, path).says(t, 200)
		if again := time.Since(begin); first < 400*time.Millisecond || again > first {
			t.Errorf("%s took %s, and then %s", path, first, again)
		}
	}
}

// TestFallback_AccountsOutliveASilence: Fiat and Gate read the accounts seldom.
func TestFallback_AccountsOutliveASilence(t *testing.T) {
	o := startOps(t, "fallback-accounts")
	var down atomic.Bool
	java := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			http.Error(w, "{}", http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(w, `[{"name":"aws-1","type":"aws","cloudProvider":"aws","environment":"e","accountType":"a","requiredGroupMembership":[],"challengeDestructiveActions":false,"primaryAccount":false,"skin":"","providerVersion":""}]`)
	}))
	t.Cleanup(java.Close)
	s := besides(t, o, java.URL, 5*time.Second)
	want := s.get(t, "/credentials").body
	down.Store(true)
	got := s.get(t, "/credentials")
	if !strings.Contains(want, "aws-1") || got.body != want || got.header.Get(api.FallbackHeader) != "unavailable" {
		t.Errorf("%v %s, want %s", got.header, got.body, want)
	}
	if r := s.get(t, "/applications/nobody"); r.status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", r.status, r.body)
	}
}
