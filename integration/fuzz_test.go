package integration

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// odd are texts that callers may put into any part of a path or query.
var odd = []string{
	"", " ", ".", "..", "_", "*", "null", "a/b", "a//b", "../../x", "a;b", "a?b#c", "%", "%zz", "%2F", "a b", "a  b", " a", "deployment x", "deployment a/b",
	"deployment ..", "deployment %2e%2e/x", "Deployment.apps x", "pod x y z", "pod ", "replicaSet 日本", "CronTab.stable.example.com é", "node n1/proxy/pods",
	"job \x00", "\xff\xfe", "\r\nX-Injected: 1", "kubernetes", "'; DROP TABLE tasks; --", "<script>", "{{.}}", "-1", "99999999999999999999", strings.Repeat("x", 10_000), strings.Repeat("a/", 5_000), strings.Repeat("%2F", 1_000),
}

// FuzzRoutes asks every route that is described, with odd texts for its
// parameters, of a service with a real cluster. Nothing may be answered with a
// failure of ours, and everything as described.
func FuzzRoutes(f *testing.F) {
	c := pool.Shared(f, 1)[0]
	namespace(f, "fuzz", c)
	arcade, _ := fakeArcade(f, c.Token)
	s := startReplica(f, storeOptions(f, nil), arcade)
	if r := s.send(f, http.MethodPost, providersPath, providerFor(f, "fuzzed", c)); r.status != http.StatusCreated {
		f.Fatal(r.status, r.body)
	}
	eventually(f, 20*time.Second, func() error {
		if a := statusOf(s, "fuzzed"); a.State != watch.Synced {
			return fmt.Errorf("%+v", a)
		}
		return nil
	})
	d, err := described()
	if err != nil {
		f.Fatal(err)
	}
	type route struct{ method, path string }
	var routes []route
	for path, item := range d.doc.Paths.Map() {
		for method := range item.Operations() {
			if !strings.HasSuffix(path, "/stream") { // which does not end
				routes = append(routes, route{method, path})
			}
		}
	}
	slices.SortFunc(routes, func(a, b route) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	for i := range routes {
		for j, text := range odd {
			// Accounts, providers and namespaces that are there let the rest be
			// looked at.
			f.Add(uint16(i), true, text, odd[(j+i)%len(odd)], "type="+url.QueryEscape(text)+"&q="+url.QueryEscape(text)+"&region="+url.QueryEscape(text), "{")
		}
		f.Add(uint16(i), false, "deployment x", "deployment x", "pageSize="+url.QueryEscape(odd[i%len(odd)])+"&page=0&expand=%zz", `{"a":`+odd[i%len(odd)]+`}`)
	}
	f.Fuzz(func(t *testing.T, number uint16, known bool, one, other, query, body string) {
		r := routes[int(number)%len(routes)]
		texts, at := []string{one, other}, 0
		parts := strings.Split(r.path, "/")
		for i, part := range parts {
			if !strings.HasPrefix(part, "{") {
				continue
			}
			text := texts[at%2]
			switch at++; {
			case known && part == "{account}":
				text = "fuzzed"
			case known && (part == "{provider}" || part == "{type}"):
				text = "kubernetes"
			case known && (part == "{location}" || part == "{region}" || part == "{namespace}"):
				text = "fuzz"
			}
			parts[i] = url.PathEscape(text)
		}
		path := strings.Join(parts, "/")
		target, err := url.ParseRequestURI(path)
		if err != nil {
			t.Skip() // net/http refuses it before us
		}
		target.RawQuery = query
		req := httptest.NewRequest(r.method, "/", strings.NewReader(body)).WithContext(t.Context())
		req.URL = target
		rec := httptest.NewRecorder()
		s.handler.ServeHTTP(rec, req)
		// Loading the resources of an unknown provider is answered so by contract
		// (accounts.md 3.5).
		unknown := rec.Code == http.StatusInternalServerError && strings.Contains(rec.Body.String(), "error getting kubernetes provider") && strings.HasSuffix(r.path, "/resources")
		if rec.Code >= http.StatusInternalServerError && !unknown {
			t.Errorf("%s %.300s?%.100s: %d %.1000s", r.method, path, query, rec.Code, rec.Body)
		}
		if rec.Header().Get("Content-Encoding") != "" {
			return
		}
		if err := d.check(req, rec.Code, rec.Header(), rec.Body.Bytes()); err != nil {
			t.Errorf("%s %.300s: %v", r.method, path, err)
		}
	})
}
