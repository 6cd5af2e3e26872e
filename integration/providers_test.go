package integration

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/localkube"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// fakeArcade answers as Arcade does (accounts.md 6.1): it cannot be had here.
func fakeArcade(t testing.TB, token string) (config.Arcade, *atomic.Int64) {
	t.Helper()
	settings, calls, _ := rotatingArcade(t, token)
	return settings, calls
}

// rotatingArcade is one whose token can be replaced.
func rotatingArcade(t testing.TB, token string) (config.Arcade, *atomic.Int64, func(token string)) {
	t.Helper()
	var calls atomic.Int64
	var current atomic.Value
	current.Store(token)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		switch {
		case r.Header.Get("Api-Key") != "test":
			w.WriteHeader(http.StatusForbidden)
		case r.URL.Query().Get("provider") == "unknown":
			w.WriteHeader(http.StatusBadRequest)
		default:
			_ = json.NewEncoder(w).Encode(map[string]any{"token": current.Load()})
		}
	}))
	t.Cleanup(server.Close)
	return config.Arcade{URL: server.URL, APIKey: "test", Timeout: 5 * time.Second, TokenTTL: time.Minute}, &calls, func(token string) { current.Store(token) }
}

// startReplica serves the accounts of a database.
func startReplica(t testing.TB, o store.Options, arcade config.Arcade) *service {
	t.Helper()
	c := onDatabase(settings(), o)
	c.Services.Arcade = arcade
	return startWith(t, c, nil)
}

func (s *service) send(t testing.TB, method, path, body string) response {
	t.Helper()
	return s.with(t, "", method, path, body)
}

// with sends the token that opens the provider API, "" for none.
func (s *service) with(t testing.TB, token, method, path, body string) response {
	t.Helper()
	req, err := http.NewRequest(method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	content, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response{res.StatusCode, res.Header, string(content)}
}

const providersPath = "/v1/kubernetes/providers"

// readmeExample is the body of the older rewrite's README.
const readmeExample = `{
  "name": "test-provider",
  "host": "https://test-host",
  "caData": "test",
  "permissions": {
    "read": [
      "test-group"
    ],
    "write": [
      "test-group"
    ]
  }
}`

// TestProviderAPI_KeepsItsContract goes through accounts.md 3 in order; the
// steps build on each other.
func TestProviderAPI_KeepsItsContract(t *testing.T) {
	steps := []struct {
		name, method, path, body string
		status                   int
		want                     string // the whole body, or a part of it after "…"
	}{
		{"empty list", "GET", "", "", 200, `[]`},
		{"the README's example", "POST", "", readmeExample, 201, `{"name":"test-provider","host":"https://test-host","caData":"test","permissions":{"read":["test-group"],"write":["test-group"]}}`},
		{"again", "POST", "", readmeExample, 409, `{"error":"provider already exists"}`},
		{"taken before it is checked", "POST", "", `{"name":"test-provider","caData":"!"}`, 409, `{"error":"provider already exists"}`},
		{"shown", "GET", "/test-provider", "", 200, `{"name":"test-provider","host":"https://test-host","caData":"test","tokenProvider":"google","permissions":{"read":["test-group"],"write":["test-group"]}}`},
		{"unknown", "GET", "/nobody", "", 404, `{"error":"provider not found"}`},
		{"names are case-sensitive", "GET", "/Test-provider", "", 404, `{"error":"provider not found"}`},
		{"no JSON", "POST", "", `dasdf[]dsf;;`, 400, `{"error":"invalid character 'd' looking for beginning of value"}`},
		{"wrong type", "POST", "", `{"name":5}`, 400, `…cannot unmarshal number`},
		{"empty body", "POST", "", ``, 400, `{"error":"EOF"}`},
		{"no base64", "POST", "", `{"name":"x","caData":"test="}`, 400, `{"error":"error decoding base64 CA data: illegal base64 data at input byte 4"}`},
		{"token provider that Arcade refuses", "POST", "", `{"name":"x","tokenProvider":"unknown"}`, 400, `{"error":"error getting token: error getting token: 400 Bad Request"}`},
		{"write group that may not read", "POST", "", `{"name":"x","permissions":{"read":["a"],"write":["gg_test2"]}}`, 400, `{"error":"error in permissions: write group 'gg_test2' must be included as a read group"}`},
		{"groups compare without case", "POST", "", `{"name":"case","permissions":{"read":["GG"],"write":["gg"]}}`, 201, `…"write":["gg"]`},
		{"both namespace fields", "POST", "", `{"name":"x","namespace":"a","namespaces":["b"]}`, 400, `{"error":"Cannot provide both namespace and namespaces field"}`},
		{"nothing of that was kept", "GET", "/x", "", 404, `{"error":"provider not found"}`},
		{"single namespace", "POST", "", `{"name":"one","namespace":"a"}`, 201, `{"name":"one","host":"","caData":"","namespaces":["a"],"permissions":{"read":null,"write":null}}`},
		{"blank namespace", "POST", "", `{"name":"blank","namespace":"  "}`, 201, `{"name":"blank","host":"","caData":"","permissions":{"read":null,"write":null}}`},
		{"namespaces and groups are not multiplied", "POST", "", `{"name":"many","namespaces":["b","a","a"],"permissions":{"read":["r2","r1"]}}`, 201, `…"namespaces":["b","a","a"]`},
		{"each shown once", "GET", "/many", "", 200, `{"name":"many","host":"","caData":"","tokenProvider":"google","namespaces":["a","b"],"permissions":{"read":["r1","r2"],"write":null}}`},
		{"bearer token is answered once", "POST", "", `{"name":"bearer","bearerToken":"secret"}`, 201, `…"bearerToken":"secret"`},
		{"and never again", "GET", "/bearer", "", 200, `{"name":"bearer","host":"","caData":"","tokenProvider":"google","permissions":{"read":null,"write":null}}`},
		{"empty name", "POST", "", `{"name":""}`, 400, `{"error":"name: must not be empty"}`},
		{"empty name by PUT", "PUT", "", `{}`, 400, `{"error":"name: must not be empty"}`},
		{"name of 2 MB", "POST", "", `{"name":"` + strings.Repeat("n", 2<<20) + `"}`, 400, `{"error":"name: 2097152 characters are more than 256"}`},
		{"name of 256 characters", "POST", "", `{"name":"` + strings.Repeat("ü", 256) + `"}`, 201, `…"host"`},
		{"SQL in every field", "POST", "", `{"name":"a'; DROP TABLE kubernetes_providers; --","host":"https://h?\"'\\_","namespaces":["';--"],"permissions":{"read":["' OR 1=1"]}}`, 201, `…OR 1=1`},
		{"and read back", "GET", "/a%27%3B%20DROP%20TABLE%20kubernetes_providers%3B%20--", "", 200, `…"host":"https://h?\"'\\_"`},
		{"PUT creates", "PUT", "", `{"name":"put","host":"https://h","caData":"dGVzdA=="}`, 200, `{"name":"put","host":"https://h","caData":"dGVzdA==","permissions":{"read":null,"write":null}}`},
		{"PUT replaces, and the single namespace wins", "PUT", "", `{"name":"put","host":"https://h2","namespace":"a","namespaces":["b"]}`, 200, `…"namespaces":["a"]`},
		{"replaced", "GET", "/put", "", 200, `{"name":"put","host":"https://h2","caData":"","tokenProvider":"google","namespaces":["a"],"permissions":{"read":null,"write":null}}`},
		{"a refused PUT changes nothing", "PUT", "", `{"name":"put","caData":"!"}`, 400, `…base64`},
		{"still replaced", "GET", "/put", "", 200, `…"https://h2"`},
		{"resources of an unknown account", "PUT", "/nobody/resources", "", 500, `{"error":"internal: error getting kubernetes provider nobody: record not found"}`},
		{"delete resources of an unknown account", "DELETE", "/nobody/resources", "", 404, `{"error":"provider not found"}`},
		{"delete resources", "DELETE", "/put/resources", "", 204, ``},
		{"delete", "DELETE", "/put", "", 204, ``},
		{"delete again", "DELETE", "/put", "", 404, `{"error":"provider not found"}`},
		{"deleted", "GET", "/put", "", 404, `{"error":"provider not found"}`},
	}
	onEach(t, "utf8mb4", func(t *testing.T, b backend) {
		arcade, _ := fakeArcade(t, "x")
		s := startReplica(t, b.options, arcade)
		for _, c := range steps {
			r := s.send(t, c.method, providersPath+c.path, c.body)
			part, partly := strings.CutPrefix(c.want, "…")
			if r.status != c.status || (!partly && r.body != c.want) || !strings.Contains(r.body, part) {
				t.Errorf("%s: %d %.300s, want %d %s", c.name, r.status, r.body, c.status, c.want)
			}
			if kind := r.header.Get("Content-Type"); r.body != "" && kind != "application/json; charset=utf-8" {
				t.Errorf("%s: content type %q", c.name, kind)
			}
		}
		var listed []struct{ Name string }
		s.send(t, "GET", providersPath, "").into(t, &listed)
		for i := 1; i < len(listed); i++ {
			if listed[i-1].Name >= listed[i].Name {
				t.Errorf("the list is not sorted: %v", listed)
			}
		}
		var credentials []struct{ Name string }
		s.get(t, "/credentials").into(t, &credentials)
		if fmt.Sprint(credentials) != fmt.Sprint(listed) {
			t.Errorf("/credentials lists %v, want %v", credentials, listed)
		}
		t.Logf("%s: %d steps of the provider API", b.name, len(steps))
	})
}

func TestProviders_OneOfManyPostsWins(t *testing.T) {
	onEach(t, "utf8mb4", func(t *testing.T, b backend) {
		arcade, _ := fakeArcade(t, "x")
		s := startReplica(t, b.options, arcade)
		var created, conflicts, others atomic.Int64
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				switch r := s.send(t, "POST", providersPath, `{"name":"contended"}`); r.status {
				case http.StatusCreated:
					created.Add(1)
				case http.StatusConflict:
					conflicts.Add(1)
				default:
					others.Add(1)
					t.Log(r.status, r.body)
				}
			})
		}
		wg.Wait()
		if created.Load() != 1 || conflicts.Load() != 99 {
			t.Errorf("%d created, %d conflicts, %d others", created.Load(), conflicts.Load(), others.Load())
		}
	})
}

// providerFor is a provider body for a control plane.
func providerFor(t testing.TB, name string, c *localkube.Cluster) string {
	t.Helper()
	body, err := json.Marshal(map[string]any{"name": name, "host": c.URL, "caData": base64.StdEncoding.EncodeToString(c.CA)})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestProviders_AreWatchedOnEveryReplica has two replicas on one database.
func TestProviders_AreWatchedOnEveryReplica(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	namespace(t, "replicas", c)
	apply(t, c, strings.ReplaceAll(replicaSet("web-v003", "twice", "replicaSet web", "", ""), "shop", "replicas"))
	m := newDatabase(t, "utf8mb4")
	arcade, calls := fakeArcade(t, c.Token)
	one, two := startReplica(t, storeOptions(t, m), arcade), startReplica(t, storeOptions(t, m), arcade)
	if r := one.send(t, "POST", providersPath, providerFor(t, "added", c)); r.status != http.StatusCreated {
		t.Fatal(r.status, r.body)
	}
	begin := time.Now()
	for _, s := range []*service{one, two} {
		eventually(t, 10*time.Second, func() error {
			if a := statusOf(s, "added"); a.State != watch.Synced {
				return fmt.Errorf("%+v", a)
			}
			return nil
		})
	}
	t.Logf("watched on both replicas after %s", time.Since(begin).Round(time.Millisecond))
	var loaded []map[string]any
	two.send(t, "PUT", providersPath+"/added/resources", "").into(t, &loaded)
	found := false
	for _, row := range loaded {
		if row["name"] == "web-v003" {
			found = row["kind"] == "ReplicaSet" && row["resource"] == "replicasets" && row["apiGroup"] == "apps" && row["version"] == "v1" && row["spinnakerApp"] != ""
		}
	}
	if !found {
		t.Errorf("loaded rows: %v", loaded)
	}
	if r := one.send(t, "PUT", providersPath, providerFor(t, "added", c)); r.status != http.StatusOK {
		t.Fatal(r.status, r.body)
	}
	db := backend{options: storeOptions(t, m)}.raw(t)
	defer func() { _ = db.Close() }()
	if kept := tableRows(t, db, "SELECT id FROM kubernetes_resources WHERE account_name = 'added'"); len(kept) != len(loaded) {
		t.Errorf("a PUT left %d of %d resource rows", len(kept), len(loaded))
	}
	if r := two.send(t, "DELETE", providersPath+"/added", ""); r.status != http.StatusNoContent {
		t.Fatal(r.status, r.body)
	}
	eventually(t, 10*time.Second, func() error {
		if n := len(one.fleet.Status()) + len(two.fleet.Status()); n != 0 {
			return fmt.Errorf("%d accounts are still watched", n)
		}
		return nil
	})
	// What the older rewrite writes carries no marker.
	if _, err := db.Exec("INSERT INTO kubernetes_providers (name, host, ca_data) VALUES ('by hand', ?, ?)", c.URL, base64.StdEncoding.EncodeToString(c.CA)); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, func() error {
		if a := statusOf(one, "by hand"); a.State != watch.Synced {
			return fmt.Errorf("%+v", a)
		}
		return nil
	})
	// One call to check the provider each time it was written, and one for
	// each replica's token.
	if n := calls.Load(); n > 4 {
		t.Errorf("Arcade was called %d times", n)
	}
}
