package telemetry

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

func scrape(t *testing.T, accounts ...watch.Status) *httptest.ResponseRecorder {
	t.Helper()
	m := NewMetrics(Source{
		Accounts: func() []watch.Status { return accounts }, Objects: func(string) map[string]int { return map[string]int{"pod": 7} },
		Cache: func() (uint64, uint64, uint64) { return 1, 2, 3 }, Tasks: func() int { return 4 }, Version: "v1",
	}, NewFigures(func() uint64 { return 0 }))
	m.Observe("/applications", http.MethodGet, 200, 1)
	rec := httptest.NewRecorder()
	m.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return rec
}

func TestMetrics_TellHowFreshEachStreamIs(t *testing.T) {
	rec := scrape(t, watch.Status{Account: "prod", State: watch.Synced, Stale: true, Kinds: []watch.KindStatus{
		{Kind: "pod", Phase: watch.Live, Synced: true, Events: 5}, {Kind: "service", Phase: watch.Ended, Reason: "forbidden", Odd: 2},
	}})
	for _, want := range []string{
		`clouddriver_account_stale{account="prod"} 1`, `clouddriver_account_streams{account="prod",phase="live"} 1`, `clouddriver_account_streams{account="prod",phase="ended"} 1`,
		`clouddriver_watch_events_total{account="prod"} 5`, `clouddriver_watch_synced{account="prod",kind="service",namespace=""} 0`,
		`clouddriver_watch_live{account="prod",kind="service",namespace="",phase="ended",reason="forbidden"} 0`, `clouddriver_watch_odd_objects_total{account="prod",kind="service",namespace=""} 2`,
		`clouddriver_index_objects{account="prod",kind="pod"} 7`, `clouddriver_http_request_duration_seconds_count{method="GET",route="/applications",status="200"} 1`,
	} {
		if !strings.Contains(rec.Body.String(), want+"\n") {
			t.Errorf("%s is not there:\n%s", want, rec.Body)
		}
	}
	for _, well := range []string{"watch_live", "watch_synced", "watch_odd_objects_total"} {
		if strings.Contains(rec.Body.String(), "clouddriver_"+well+`{account="prod",kind="pod"`) {
			t.Errorf("%s tells of a stream that is as it should be", well)
		}
	}
}

// TestMetrics_OneThatStandsTwiceCostsItself: a page that is not there at all
// hides every other fault.
func TestMetrics_OneThatStandsTwiceCostsItself(t *testing.T) {
	twice := watch.KindStatus{Kind: "customResourceDefinition", Phase: watch.Live}
	rec := scrape(t, watch.Status{Account: "prod", Kinds: []watch.KindStatus{twice, twice, {Kind: "pod", Phase: watch.Live}}})
	if rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), `kind="pod"`) {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

func TestReference_HasEveryMetric(t *testing.T) {
	m := NewMetrics(Source{
		Accounts: func() []watch.Status {
			return []watch.Status{{Account: "prod", Kinds: []watch.KindStatus{{Kind: "pod", Odd: 1}}}}
		},
		Objects: func(string) map[string]int { return map[string]int{"pod": 7} },
		Cache:   func() (uint64, uint64, uint64) { return 1, 2, 3 }, Tasks: func() int { return 4 }, FallbackDown: func() bool { return true }, Registries: func() map[string]bool { return map[string]bool{"hub": true} },
	}, NewFigures(func() uint64 { return 0 }))
	m.Observe("/applications", http.MethodGet, 200, 1)
	m.ObserveOperation("deployManifest", false, 1)
	m.ObserveLag(1)
	res, err := m.Transport(http.DefaultTransport).RoundTrip(httptest.NewRequest(http.MethodGet, "http://127.0.0.1:1/", nil))
	if err == nil {
		_ = res.Body.Close()
		t.Fatal("something listens on port 1")
	}
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), namespace+"_") {
			got[f.GetName()] = strings.ToLower(f.GetType().String())
		}
	}
	for _, one := range Reference() {
		if got[one.FullName()] != one.Type {
			t.Errorf("%s is a %q, the reference says %q", one.FullName(), got[one.FullName()], one.Type)
		}
		delete(got, one.FullName())
	}
	for name := range got {
		t.Errorf("%s is not in the reference", name)
	}
}
