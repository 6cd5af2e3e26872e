package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/localkube"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// fiat answers as Fiat does (accounts.md 8.1): it cannot be had here.
type fiat struct {
	config.Fiat
	calls atomic.Int64

	mu    sync.Mutex
	users map[string]string
}

func startFiat(t testing.TB, users map[string]string) *fiat {
	t.Helper()
	f := &fiat{users: users}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.calls.Add(1)
		user, err := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), "/authorize/"))
		f.mu.Lock()
		body, known := f.users[user]
		f.mu.Unlock()
		if err != nil || !known || !strings.EqualFold(r.Header.Get("X-SPINNAKER-USER"), user) {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	f.Fiat = settings().Services.Fiat
	f.Enabled, f.URL, f.Cache.AfterSeconds = true, server.URL, 1
	return f
}

func (f *fiat) set(user, body string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.users[user] = body
}

// may is Fiat's answer about a user.
func may(name string, accounts, applications map[string][]string, flags string) string {
	grants := func(of map[string][]string) string {
		out := []map[string]any{}
		for name, authorizations := range of {
			out = append(out, map[string]any{"name": name, "authorizations": authorizations})
		}
		encoded, _ := json.Marshal(out) //nolint:errchkjson // texts
		return string(encoded)
	}
	return fmt.Sprintf(`{"name":%q,"accounts":%s,"applications":%s,"serviceAccounts":[],"roles":[{"name":"ops","source":"LDAP"}],"buildServices":[],"extensionResources":{},"legacyFallback":false%s}`, name, grants(accounts), grants(applications), flags)
}

// as asks as a user.
func (s *service) as(t testing.TB, user, method, path, body string) response {
	t.Helper()
	req, err := http.NewRequest(method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		req.Header.Set("X-SPINNAKER-USER", user)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	content, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response{status: res.StatusCode, body: string(content), header: res.Header}
}

// TestFiat_DecidesOnRealObjects has two accounts and two applications; users see
// and change what Fiat says (accounts.md 8.2 to 8.4).
func TestFiat_DecidesOnRealObjects(t *testing.T) {
	clusters := pool.Shared(t, 2)
	open, vault := clusters[0], clusters[1]
	namespace(t, "fiat", clusters...)
	for _, c := range clusters {
		for _, app := range []string{"fiatshop", "fiatbank"} {
			apply(t, c, strings.ReplaceAll(replicaSet(app+"-v000", app, "replicaSet "+app, "", ""), "namespace: shop", "namespace: fiat"))
		}
		apply(t, c, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: nobodys, namespace: fiat}\ndata: {a: b}\n")
	}
	both := []string{"READ", "WRITE"}
	f := startFiat(t, map[string]string{
		"writer@example.org": may("writer@example.org", map[string][]string{strings.ToUpper(open.Name): both}, map[string][]string{"FiatShop": {"READ", "WRITE", "EXECUTE"}}, ""),
		"reader":             may("reader", map[string][]string{open.Name: {"READ"}}, map[string][]string{"fiatshop": {"READ"}}, ""),
		"admin":              may("admin", nil, nil, `,"admin":true`),
		"anonymous":          may("__unrestricted_user__", nil, nil, ""),
	})
	c := settings()
	c.Services.Fiat = f.Fiat
	s := start(t, c, clusters...)
	eventually(t, 30*time.Second, func() error {
		r := s.as(t, "admin", http.MethodGet, "/applications/fiatbank/serverGroups", "")
		if strings.Count(r.body, "fiatbank-v000") < 2 {
			return fmt.Errorf("%d %.200s", r.status, r.body)
		}
		return nil
	})
	deploy := func(account string) string {
		return fmt.Sprintf(`[{"deployManifest":{"account":%q,"moniker":{"app":"fiatshop"},"source":"text","manifests":[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"made","namespace":"fiat"}}]}}]`, account)
	}
	of := func(format string) string { return fmt.Sprintf(format, open.Name) }
	for _, c := range []struct {
		user, method, path, body string
		status                   int
		has, not                 string
	}{
		{"reader", "GET", "/applications/fiatshop/serverGroups", "", 200, open.Name, vault.Name},
		{"", "PUT", "/artifacts/fetch", `{"type":"embedded/base64","reference":"aGVsbG8="}`, 200, "hello", ""}, // Igor and Orca's templates have no user
		{"nobody", "GET", "/artifacts/credentials", "", 200, "embedded-artifact", ""},
		{"reader", "GET", "/applications/fiatbank/serverGroups", "", 403, "Access denied to application fiatbank - required authorization: READ", "v000"},
		{"reader", "GET", of("/manifests/%s/fiat/replicaSet%%20fiatshop-v000"), "", 200, "fiatshop-v000", ""},
		{"reader", "GET", of("/manifests/%s/fiat/replicaSet%%20fiatbank-v000"), "", 403, "fiatbank", "uid"},
		{"reader", "GET", "/manifests/" + vault.Name + "/fiat/replicaSet%20fiatshop-v000", "", 403, "Access denied to account " + vault.Name, ""},
		{"admin", "GET", "/manifests/" + vault.Name + "/fiat/replicaSet%20fiatbank-v000", "", 200, "fiatbank-v000", ""},
		{"reader", "GET", of("/applications/fiatshop/serverGroups/%s/fiat/replicaSet%%20fiatbank-v000"), "", 403, "", "fiatbank-v000"},
		{"reader", "GET", of("/applications/fiatshop/serverGroups/%s/fiat/replicaSet%%20fiatshop-v000"), "", 200, "fiatshop-v000", ""},
		{"reader", "GET", "/search?type=serverGroups&q=fiat", "", 200, "fiatshop-v000", "fiatbank"},
		{"reader", "GET", "/applications", "", 200, "fiatshop", "fiatbank"},
		{"", "GET", "/applications", "", 200, "[]", "fiatshop"},
		{"", "GET", "/applications?restricted=false", "", 200, "fiatbank", ""},
		{"", "GET", "/credentials", "", 200, vault.Name, ""},
		{"stranger", "GET", "/applications", "", 403, "Access is denied", ""},
		{"reader", "GET", of("/credentials/%s/authorized"), "", 403, "WRITE", ""},
		{"writer@example.org", "GET", of("/credentials/%s/authorized?expand=true"), "", 200, open.Name, ""},
		{"admin", "GET", "/credentials/mars/authorized", "", 404, "", ""},
		{"reader", "GET", "/credentials/mars/authorized", "", 403, "", ""},
		{"reader", "POST", "/kubernetes/ops", deploy(open.Name), 400, "Access denied to account " + open.Name, ""},
		{"writer@example.org", "POST", "/kubernetes/ops", deploy(vault.Name), 400, `"errors":["Access denied to account ` + vault.Name, ""},
		{"", "POST", "/kubernetes/ops", deploy(open.Name), 400, "Access denied", ""},
		{"stranger", "POST", "/kubernetes/ops", deploy(open.Name), 400, "Access denied", ""},
		{"reader", "DELETE", of("/applications/fiatshop/jobs/%s/fiat/job%%20x"), "", 403, "", ""},
		{"reader", "GET", "/credentials/type/kubernetes", "", 403, "account managers", ""},
	} {
		r := s.as(t, c.user, c.method, c.path, c.body)
		if r.status != c.status || !strings.Contains(r.body, c.has) || c.not != "" && strings.Contains(r.body, c.not) {
			t.Errorf("%s %s as %q: %d, want %d with %q and without %q: %.300s", c.method, c.path, c.user, r.status, c.status, c.has, c.not, r.body)
		}
	}
	r := s.as(t, "writer@example.org", http.MethodPost, "/kubernetes/ops", deploy(open.Name))
	var task struct{ ID string }
	if err := json.Unmarshal([]byte(r.body), &task); err != nil || task.ID == "" {
		t.Fatal(r.status, r.body)
	}
	eventually(t, 20*time.Second, func() error {
		if r := s.as(t, "writer@example.org", http.MethodGet, "/task/"+task.ID, ""); !strings.Contains(r.body, `"completed":true`) || strings.Contains(r.body, `"failed":true`) {
			return fmt.Errorf("%d %.300s", r.status, r.body)
		}
		return nil
	})
	for user, want := range map[string]int{"reader": 200, "": 403, "stranger": 403, "admin": 200} {
		if r := s.as(t, user, http.MethodGet, "/task/"+task.ID, ""); r.status != want {
			t.Errorf("the task as %q: %d", user, r.status)
		}
	}
	followedBy(t, s, f, open, vault)
}

// followedBy reads the event stream of an application: it shows the accounts that
// may be read, and ends when the application may not be any more.
func followedBy(t *testing.T, s *service, f *fiat, open, vault *localkube.Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/applications/fiatshop/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-SPINNAKER-USER", "reader")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		t.Fatal(res.Status)
	}
	lines := bufio.NewScanner(res.Body)
	seen := ""
	until := func(text string) {
		for !strings.Contains(seen, text) && lines.Scan() {
			seen += lines.Text() + "\n"
		}
		if !strings.Contains(seen, text) {
			t.Fatalf("the stream ends without %q: %s", text, seen)
		}
	}
	until("event: ready")
	scale := func(c *localkube.Cluster) {
		call(t, c, http.MethodPatch, "/apis/apps/v1/namespaces/fiat/replicasets/fiatshop-v000", "application/merge-patch+json", `{"metadata":{"labels":{"touched":"`+fmt.Sprint(time.Now().UnixNano())+`"}}}`)
	}
	scale(vault)
	scale(open)
	until(open.Name)
	f.set("reader", may("reader", map[string][]string{open.Name: {"READ"}}, nil, ""))
	// What is asked for again within a second or two is seen by the next event.
	go func() {
		for ctx.Err() == nil {
			_, _ = open.Call(ctx, http.MethodPatch, "/apis/apps/v1/namespaces/fiat/replicasets/fiatshop-v000", "application/merge-patch+json", []byte(`{"metadata":{"labels":{"touched":"`+fmt.Sprint(time.Now().UnixNano())+`"}}}`))
			time.Sleep(200 * time.Millisecond)
		}
	}()
	until("event: closing")
	if strings.Contains(seen, vault.Name) {
		t.Errorf("the stream shows an account that may not be read: %s", seen)
	}
}

// TestDefinitions_AreLiveOnEveryReplica is accounts.md 11, rows 3 to 7, on each
// database.
func TestDefinitions_AreLiveOnEveryReplica(t *testing.T) {
	cluster := pool.Shared(t, 1)[0]
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := localkube.WriteKubeconfig(path, cluster); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	definition := func(name, more string) string {
		encoded, _ := json.Marshal(string(content)) //nolint:errchkjson // a text
		return fmt.Sprintf(`{"type":"kubernetes","name":%q,"kubeconfigContents":%s,"context":%q,"debug":null,"somethingElse":1%s}`, name, encoded, cluster.Name, more)
	}
	f := startFiat(t, map[string]string{
		"manager": may("manager", map[string][]string{"dev-1": {"READ", "WRITE"}, "dev-2": {"READ", "WRITE"}, "bad": {"READ", "WRITE"}}, nil, `,"accountManager":true`),
		"user":    may("user", map[string][]string{"dev-1": {"READ", "WRITE"}}, nil, ""),
		"admin":   may("admin", nil, nil, `,"admin":true`),
	})
	onEach(t, "utf8mb4", func(t *testing.T, b backend) {
		c := onDatabase(settings(), b.options)
		c.Services.Fiat = f.Fiat
		first := startWith(t, c, nil)
		second := first
		if b.options.MySQL != nil {
			second = startWith(t, c, nil)
		}
		within := func(s *service, name string, there bool) {
			t.Helper()
			eventually(t, 20*time.Second, func() error {
				if r := s.get(t, "/credentials/"+name); (r.status == http.StatusOK) != there {
					return fmt.Errorf("%s: %d", name, r.status)
				}
				return nil
			})
		}
		for _, row := range []struct {
			user, method, path, body string
			status                   int
			has                      string
		}{
			{"user", "POST", "/credentials", definition("dev-1", ""), 403, "account managers"},
			{"manager", "POST", "/credentials", definition("dev-1", `,"permissions":{"READ":["devs"],"WRITE":["devs"]}`), 400, "permissions.WRITE"},
			{"manager", "POST", "/credentials", definition("dev-1", `,"permissions":{"READ":["ops"],"WRITE":["ops"]}`), 200, `"name":"dev-1"`},
			{"manager", "POST", "/credentials", definition("dev-1", ""), 400, "already"},
			{"manager", "POST", "/credentials", `{"type":"kubernetes"}`, 400, "name"},
			{"manager", "POST", "/credentials", `{"name":"x"}`, 400, "type"},
			{"manager", "POST", "/credentials", definition("a/b", ""), 400, "name"},
			{"manager", "POST", "/credentials", definition("bad", `,"namespaces":["a"],"omitNamespaces":["b"]`), 400, "namespaces"},
			{"manager", "POST", "/credentials", `{"type":"aws","name":"x"}`, 400, "type"},
			{"manager", "POST", "/credentials", `[`, 400, "object"},
			{"manager", "PUT", "/credentials/dev-2", definition("dev-1", ""), 400, "path"},
			{"manager", "PUT", "/credentials/dev-2", definition("dev-2", ""), 400, "no account"},
			{"manager", "PUT", "/credentials", definition("dev-2", ""), 200, "dev-2"},
			{"manager", "PUT", "/credentials/dev-2", definition("dev-2", `,"namespaces":["default"]`), 200, "default"},
			{"manager", "GET", "/credentials/type/kubernetes?limit=100", "", 200, `"name":"dev-1"`},
			{"manager", "GET", "/credentials/type/kubernetes?limit=1&startingAccountName=dev-2", "", 200, `"name":"dev-2"`},
			{"manager", "GET", "/credentials/type/aws", "", 200, "[]"},
			{"manager", "GET", "/credentials/dev-2/history", "", 200, `"version":2`},
			{"manager", "DELETE", "/credentials/none", "", 403, "none"},
			{"admin", "DELETE", "/credentials/none", "", 404, "not found"},
		} {
			r := first.as(t, row.user, row.method, row.path, row.body)
			if r.status != row.status || !strings.Contains(r.body, row.has) || strings.Contains(r.body, "null") && r.status == 200 {
				t.Errorf("%s %s as %s: %d, want %d with %q: %.200s", row.method, row.path, row.user, r.status, row.status, row.has, r.body)
			}
		}
		within(first, "dev-1", true)
		within(second, "dev-1", true)
		within(second, "dev-2", true)
		eventually(t, 30*time.Second, func() error {
			if state := statusOf(second, "dev-1"); state.State != "synced" {
				return fmt.Errorf("%+v", state)
			}
			return nil
		})
		if r := second.as(t, "manager", http.MethodDelete, "/credentials/dev-1", ""); r.status != http.StatusOK || r.body != "" {
			t.Errorf("%d %s", r.status, r.body)
		}
		within(second, "dev-1", false)
		within(first, "dev-1", false)
		if r := first.as(t, "admin", http.MethodGet, "/credentials/dev-1/history", ""); !strings.Contains(r.body, `"version":2`) || strings.Count(r.body, `"account"`) != 1 {
			t.Errorf("%d %.300s", r.status, r.body)
		}
	})
}

// TestDefinitions_WithoutFiatAreManagedFromHereOnly: whoever reaches the port must
// not be able to add a cluster.
func TestDefinitions_WithoutFiatAreManagedFromHereOnly(t *testing.T) {
	from := func(s *service, forwarded, token string) int {
		req, err := http.NewRequest(http.MethodDelete, s.URL+"/credentials/none", nil)
		if err != nil {
			t.Fatal(err)
		}
		if forwarded != "" {
			req.Header.Set("X-Forwarded-For", forwarded)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	c := settings()
	c.Database.Path = filepath.Join(t.TempDir(), "a.db")
	c.Admin.Token = "hunter2"
	s := startWith(t, c, nil)
	for _, row := range []struct {
		forwarded, token string
		want             int
	}{{"", "", 404}, {"10.1.2.3", "", 403}, {"10.1.2.3", "hunter2", 404}, {"", "wrong", 403}} {
		if got := from(s, row.forwarded, row.token); got != row.want {
			t.Errorf("%+v: %d", row, got)
		}
	}
	c.Database.Path, c.Definitions.Storage.Open = filepath.Join(t.TempDir(), "b.db"), true
	if got := from(startWith(t, c, nil), "10.1.2.3", ""); got != http.StatusNotFound {
		t.Errorf("with account.storage.openWithoutFiat: %d", got)
	}
	c.Database.Path, c.Definitions.Storage.Enabled = filepath.Join(t.TempDir(), "c.db"), false
	off := startWith(t, c, nil)
	if r := off.get(t, "/credentials/type/kubernetes"); r.status != http.StatusInternalServerError || !strings.Contains(r.body, "Cannot use AccountDefinitionService endpoints") {
		t.Errorf("switched off: %d %s", r.status, r.body)
	}
}
