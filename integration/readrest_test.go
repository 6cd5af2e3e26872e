package integration

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// escaped is a path with its segments as callers encode them.
func escaped(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString("/" + url.PathEscape(p))
	}
	return b.String()
}

// is compares an answer's status and body.
func (r response) is(t testing.TB, status int, body string) {
	t.Helper()
	if r.status != status || r.body != body {
		t.Errorf("%d %s, want %d %s", r.status, r.body, status, body)
	}
}

// says expects a status and texts in the body.
func (r response) says(t testing.TB, status int, texts ...string) {
	t.Helper()
	if r.status != status {
		t.Errorf("%d %.2000s, want %d", r.status, r.body, status)
	}
	for _, text := range texts {
		if !strings.Contains(r.body, text) {
			t.Errorf("no %q in %.2000s", text, r.body)
		}
	}
}

// fakeFront50 knows one project and two applications, until it is down.
func fakeFront50(t testing.TB, account string) (base string, down func(bool)) {
	var broken atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if broken.Load() {
			http.Error(w, "<html>gone", http.StatusInternalServerError)
			return
		}
		project := `{"id":"p1","name":"demo","email":"me@example.com","config":{"applications":["rest-projects","other"],"clusters":[
			{"account":"` + account + `","stack":"*","detail":"*"},{"account":"` + account + `","stack":"blue","applications":["rest-projects"]},{"account":"nobody","stack":"*","detail":"*"}]}}`
		switch r.URL.Path {
		case "/v2/projects/demo":
			_, _ = io.WriteString(w, project)
		case "/v2/projects/empty":
			_, _ = io.WriteString(w, `{"id":"p2","name":"empty","config":{"applications":[],"clusters":[]}}`)
		case "/v2/projects/garbage":
			_, _ = io.WriteString(w, `{"id":`)
		case "/v2/projects/null":
			_, _ = io.WriteString(w, "null")
		case "/v2/projects/slow":
			<-r.Context().Done()
		case "/v2/projects":
			_, _ = io.WriteString(w, "[null,"+project+"]")
		case "/v2/applications":
			_, _ = io.WriteString(w, `[null,{"name":"onlyinfront50","email":"a@example.com"},{"name":"REST-MANIFESTS","email":"b@example.com"}]`)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, broken.Store
}

func (o *ops) manifestPath(full string) string {
	return escaped("manifests", o.c.Name, o.namespace, full)
}

// TestReadRest_ClosingTable iterates the table that closes read-rest.md; only
// row 36, which needs Fiat, is not among them. Rows 13, 14 and 20 have every
// branch as table tests of pkg/view, too.
func TestReadRest_ClosingTable(t *testing.T) {
	runRows(t, "rest-manifests", slices.Concat(manifestRows(), instanceAndJobRows(), otherReadRows()))
}

func (o *ops) onePod(t testing.TB, selector string) string {
	t.Helper()
	var list struct{ Items []object }
	if err := json.Unmarshal(call(t, o.c, http.MethodGet, "/api/v1/namespaces/"+o.namespace+"/pods?labelSelector="+url.QueryEscape(selector), "", ""), &list); err != nil || len(list.Items) == 0 {
		t.Fatal("no pod", selector, err)
	}
	return list.Items[0].text("metadata", "name")
}

// serveWith serves the cluster of o once more, with other settings.
func serveWith(t testing.TB, o *ops, change func(*config.Config)) *service {
	t.Helper()
	cfg := settings()
	cfg.Kubernetes.Accounts = javaAccounts(o.c)
	change(&cfg)
	return startWith(t, cfg, nil).ready(t)
}
