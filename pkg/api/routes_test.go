package api

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/fallback"
)

func TestRoutes_EachSaysWhatHoldsForIt(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range routes() {
		if err := r.check(); err != nil {
			t.Error(err)
		}
		key := r.method + " " + r.pattern
		if seen[key] {
			t.Errorf("%s stands twice", key)
		}
		seen[key] = true
		named := strings.Contains(r.pattern, "{account}") || r.errors == providerAPI
		if r.fresh == set && !named {
			t.Errorf("%s: a set without an account cannot be proved", key)
		}
		if r.budget == none && r.fresh != constant {
			t.Errorf("%s: what is answered in any case must not wait", key)
		}
		if r.method != get && r.method != post && r.budget == reads && r.fresh != live {
			t.Errorf("%s takes a place of the reads", key)
		}
	}
}

func TestRoutes_AnEmptyColumnIsRefused(t *testing.T) {
	whole := route{method: get, pattern: "/x", fresh: memory, budget: reads, side: ours, may: anyone, handle: (*Server).info}
	if err := whole.check(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*route){
		"freshness": func(r *route) { r.fresh = 0 }, "budget": func(r *route) { r.budget = 0 }, "side": func(r *route) { r.side = 0 }, "who may ask": func(r *route) { r.may = nil },
		"an account that the path does not name": func(r *route) { r.may = accountReaders }, "a join that does not filter": func(r *route) { r.side, r.may, r.join = joined, filtered, fallback.Unique }, "handler": func(r *route) { r.handle = nil },
		"a join of a route that is not joined": func(r *route) { r.join = fallback.ByPlace }, "a joined route without a join": func(r *route) { r.side = joined },
	} {
		r := whole
		change(&r)
		if r.check() == nil {
			t.Errorf("%s: a route was taken", name)
		}
	}
}

// TestPanic_ShowsNoStack: an answer is read by anybody.
func TestPanic_ShowsNoStack(t *testing.T) {
	_, handler := bare(t, config.Server{MaxInFlight: 10, MaxStreams: 1, NotSyncedDeadline: time.Second})
	rec := httptest.NewRecorder()
	handler.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/applications/x/history", nil)) // no History here
	if rec.Code != http.StatusInternalServerError || strings.Contains(rec.Body.String(), "goroutine") || strings.Contains(rec.Body.String(), "nil pointer") || !strings.Contains(rec.Body.String(), "error ID") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

func TestSearch_AsksTheFallbackForAllHitsThatMayBeItsOwn(t *testing.T) {
	for query, want := range map[string]string{
		"type=pod&q=x&page=3&pageSize=500": "page=1&pageSize=10000&q=x&type=pod", "type=pod&page=900&pageSize=500": "page=1&pageSize=10000&type=pod",
		"type=pod&account=aws": "account=aws&page=1&pageSize=10000&type=pod", "type=pod&account=k8s": "", "type=pod&page=x": "",
	} {
		r := httptest.NewRequest(http.MethodGet, "/search?"+query, nil)
		q := fallback.Question{Query: r.URL.Query(), IsOurs: func(account string) bool { return account == "k8s" }}
		got := ""
		if asked := askForHits(q, r); asked != nil {
			got = asked.URL.RawQuery
		}
		if got != want || r.URL.RawQuery != query {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}
