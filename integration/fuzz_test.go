package integration

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
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

// route is one that is described.
type route struct{ method, path string }

// guess is what a request has beside its route.
type guess struct {
	// known fills in accounts, providers and namespaces that are there, which
	// lets the rest be looked at.
	known       bool
	texts       [2]string
	query, body string
}

// guesser makes texts of pieces that were odd before.
type guesser struct{ *rand.Rand }

func (g guesser) text() string {
	var b strings.Builder
	for range 1 + g.IntN(4) {
		switch g.IntN(4) {
		case 0:
			b.WriteRune(rune(g.IntN(0x3000)))
		case 1:
			b.WriteString([]string{"/", " ", "%", ".", ";", "pod ", "job ", "deployment ", "Kind.example.com "}[g.IntN(9)])
		default:
			b.WriteString(odd[g.IntN(len(odd))])
		}
	}
	return b.String()
}

func (g guesser) guess() guess {
	names := []string{"type", "q", "region", "namespace", "account", "page", "pageSize", "expand", "clusters", "ids", "applications", "includeEvents", "provider", "cloudProvider", "onlyEnabled", "before", "dryRun", "clientRequestId"}
	var query []string
	for range g.IntN(4) {
		query = append(query, names[g.IntN(len(names))]+"="+url.QueryEscape(g.text()))
	}
	bodies := []string{g.text(), `{"account":` + strconv.Quote(g.text()) + "}", `[{"deployManifest":{"account":"fuzzed","moniker":{"app":` + strconv.Quote(g.text()) + `},"manifests":[` + g.text() + `]}}]`, `[{` + strconv.Quote(g.text()) + `:{"account":"fuzzed"}}]`}
	return guess{g.IntN(3) > 0, [2]string{g.text(), g.text()}, strings.Join(query, "&"), bodies[g.IntN(len(bodies))]}
}

// TestRoutes_WithstandOddTexts asks every route that is described, with odd
// texts for its parameters, of a service with a real cluster. Nothing may be
// answered with a failure of ours, and everything as described. With
// INTEGRATION_FUZZTIME it goes on with guesses for that long; go test's own
// fuzzing manages a hundredth of the requests, for what it counts of all the
// code that is linked in.
func TestRoutes_WithstandOddTexts(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	namespace(t, "fuzz", c)
	arcade, _ := fakeArcade(t, c.Token)
	s := startReplica(t, storeOptions(t, nil), arcade)
	if r := s.send(t, http.MethodPost, providersPath, providerFor(t, "fuzzed", c)); r.status != http.StatusCreated {
		t.Fatal(r.status, r.body)
	}
	eventually(t, 20*time.Second, func() error {
		if a := statusOf(s, "fuzzed"); a.State != watch.Synced {
			return fmt.Errorf("%+v", a)
		}
		return nil
	})
	d, err := described()
	if err != nil {
		t.Fatal(err)
	}
	var routes []route
	for path, item := range d.doc.Paths.Map() {
		for method := range item.Operations() {
			if !strings.HasSuffix(path, "/stream") { // which does not end
				routes = append(routes, route{method, path})
			}
		}
	}
	slices.SortFunc(routes, func(a, b route) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	asked := 0
	ask := func(r route, g guess) {
		asked++
		if err := withstands(t, s, d, r, g); err != nil {
			t.Errorf("%+v %.2000q: %v", r, fmt.Sprintf("%+v", g), err)
		}
	}
	for i, r := range routes {
		for j, text := range odd {
			ask(r, guess{true, [2]string{text, odd[(j+i)%len(odd)]}, "type=" + url.QueryEscape(text) + "&q=" + url.QueryEscape(text) + "&region=" + url.QueryEscape(text), "{"})
		}
		ask(r, guess{false, [2]string{"deployment x", "deployment x"}, "pageSize=" + url.QueryEscape(odd[i%len(odd)]) + "&page=0&expand=%zz", `{"a":` + odd[i%len(odd)] + `}`})
	}
	lasting, err := time.ParseDuration(cmp.Or(os.Getenv("INTEGRATION_FUZZTIME"), "0s"))
	if err != nil {
		t.Fatal("INTEGRATION_FUZZTIME:", err)
	}
	seed := uint64(time.Now().UnixNano())
	g := guesser{rand.New(rand.NewPCG(seed, 0))}
	for begin := time.Now(); time.Since(begin) < lasting && !t.Failed(); {
		ask(routes[g.IntN(len(routes))], g.guess())
	}
	t.Logf("%d requests of %d routes; guesses were seeded with %d", asked, len(routes), seed)
}

// withstands asks one route and says what is wrong with the answer.
func withstands(t *testing.T, s *service, d *description, r route, g guess) error {
	t.Helper()
	at := 0
	parts := strings.Split(r.path, "/")
	for i, part := range parts {
		if !strings.HasPrefix(part, "{") {
			continue
		}
		text := g.texts[at%2]
		switch at++; {
		case g.known && part == "{account}":
			text = "fuzzed"
		case g.known && (part == "{provider}" || part == "{type}"):
			text = "kubernetes"
		case g.known && (part == "{location}" || part == "{region}" || part == "{namespace}"):
			text = "fuzz"
		}
		parts[i] = url.PathEscape(text)
	}
	target, err := url.ParseRequestURI(strings.Join(parts, "/"))
	if err != nil {
		return nil //nolint:nilerr // net/http refuses it before us
	}
	target.RawQuery = g.query
	req := httptest.NewRequest(r.method, "/", strings.NewReader(g.body)).WithContext(t.Context())
	req.URL = target
	rec := httptest.NewRecorder()
	s.handler.ServeHTTP(rec, req)
	// Loading the resources of an unknown provider is answered so by contract
	// (accounts.md 3.5).
	unknown := rec.Code == http.StatusInternalServerError && strings.Contains(rec.Body.String(), "error getting kubernetes provider") && strings.HasSuffix(r.path, "/resources")
	if rec.Code >= http.StatusInternalServerError && !unknown {
		return fmt.Errorf("%d %.1000s", rec.Code, rec.Body)
	}
	if rec.Header().Get("Content-Encoding") != "" {
		return nil
	}
	return d.check(req, rec.Code, rec.Header(), rec.Body.Bytes())
}
