package compare

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// clouddriver answers what a small one would; change has its say first.
func clouddriver(t *testing.T, change func(w http.ResponseWriter, r *http.Request) bool) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if change != nil && change(w, r) {
			return
		}
		switch r.URL.Path {
		case "/credentials":
			_, _ = fmt.Fprint(w, `[{"name":"prod"},{"name":"`+strings.ReplaceAll(r.Host, ":", "-")+`"}]`)
		case "/applications":
			_, _ = fmt.Fprint(w, `[{"name":"web"}]`)
		case "/applications/web/serverGroups":
			_, _ = fmt.Fprint(w, `[{"name":"replicaSet web-1","account":"prod","region":"default","cluster":"replicaSet web","instances":[{"name":"uid-1","humanReadableName":"pod web-1"}]},{"name":"x","account":"elsewhere","region":"r"}]`)
		case "/applications/web/clusters":
			_, _ = fmt.Fprint(w, `{"prod":["replicaSet web"],"elsewhere":["x"]}`)
		default:
			_, _ = fmt.Fprint(w, `{}`)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func run(t *testing.T, o Options) *Report {
	t.Helper()
	o.Settle, o.Timeout = time.Millisecond, 2*time.Second
	r, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRun_FindsNothingBetweenEquals(t *testing.T) {
	r := run(t, Options{Here: clouddriver(t, nil), There: clouddriver(t, nil)})
	if !r.Equal() || !r.Complete() || r.Routes < 30 {
		t.Errorf("%d routes, %+v %+v", r.Routes, r.Differences, r.Failures)
	}
	if len(r.AccountsOnlyHere) != 1 || len(r.AccountsOnlyThere) != 1 || strings.Join(r.Accounts, " ") != "prod" {
		t.Errorf("%v %v %v", r.Accounts, r.AccountsOnlyHere, r.AccountsOnlyThere)
	}
}

func TestRun_AsksForWhatTheListsName(t *testing.T) {
	asked := make(chan string, 1000)
	run(t, Options{Here: clouddriver(t, func(_ http.ResponseWriter, r *http.Request) bool { asked <- r.URL.EscapedPath(); return false }), There: clouddriver(t, nil)})
	close(asked)
	seen := map[string]bool{}
	for path := range asked {
		seen[path] = true
		if strings.Contains(path, "elsewhere") {
			t.Error("asked for an account that only one has:", path)
		}
	}
	for _, path := range []string{
		"/instances/prod/default/pod%20web-1", "/manifests/prod/default/replicaSet%20web-1",
		"/applications/web/clusters/prod/replicaSet%20web/kubernetes/default/serverGroups/target/current_asg",
		"/manifests/prod/default/replicaSet/cluster/web/replicaSet%20web/dynamic/newest",
	} {
		if !seen[path] {
			t.Error("not asked for:", path)
		}
	}
}

func TestRun_TellsOfEachRouteThatCannotBeCompared(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request)
		want   string
	}{
		"no JSON":   {func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "<html>hello") }, "no JSON"},
		"cut off":   {func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, `{"a":`) }, "no JSON"},
		"two":       {func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, `{} {}`) }, "goes on"},
		"too slow":  {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "within 2s"},
		"hung up":   {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) }, "302"},
		"busy":      {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, "503"},
		"refuses":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, "403"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			odd := clouddriver(t, func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/applications/web/rawResources" {
					return false
				}
				c.answer(w, r)
				return true
			})
			r := run(t, Options{Here: clouddriver(t, nil), There: odd})
			if len(r.Failures) != 1 || r.Failures[0].Side != "there" || !strings.Contains(r.Failures[0].Problem, c.want) {
				t.Errorf("%+v", r.Failures)
			}
		})
	}
}

// TestRun_TwoThatFailAlikeAreNotEqual: neither has shown anything.
func TestRun_TwoThatFailAlikeAreNotEqual(t *testing.T) {
	fails := func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/credentials" || r.URL.Path == "/applications" {
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		return true
	}
	if r := run(t, Options{Here: clouddriver(t, fails), There: clouddriver(t, fails)}); r.Complete() {
		t.Error("they are told as compared")
	}
}

// TestRun_LeavesOutWhatOnlyOneHas: a team moves account by account, and spells
// names as it likes.
func TestRun_LeavesOutWhatOnlyOneHas(t *testing.T) {
	with := func(application, own string) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			switch {
			case r.URL.Path == "/credentials":
				_, _ = fmt.Fprintf(w, `[{"name":"prod"},{"name":%q}]`, own)
			case r.URL.Path == "/applications":
				_, _ = fmt.Fprintf(w, `[{"name":%q,"clusterNames":{"prod":["a"],%q:["b"]}}]`, application, own)
			case strings.EqualFold(r.URL.Path, "/applications/web"):
				_, _ = fmt.Fprintf(w, `{"clusters":{"prod":[{"name":"a"}],%q:[{"name":"b"}]}}`, own)
			case r.URL.Path == "/search":
				_, _ = fmt.Fprintf(w, `[{"totalMatches":%d,"results":[{"account":"prod","name":"a"},{"account":%q,"name":"b"}]}]`, len(own), own)
			default:
				return false
			}
			return true
		}
	}
	if r := run(t, Options{Here: clouddriver(t, with("web", "mine")), There: clouddriver(t, with("Web", "theirs"))}); !r.Equal() || !r.Complete() {
		t.Errorf("%+v %+v", r.Differences, r.Failures)
	}
}

func TestRun_RefusesNamesThatThereAreNot(t *testing.T) {
	_, err := Run(context.Background(), Options{Here: clouddriver(t, nil), There: clouddriver(t, nil), Applications: []string{"wbe"}})
	if err == nil || !strings.Contains(err.Error(), "wbe") {
		t.Error(err)
	}
}

func TestRun_ForgivesWhatChangesBetweenTwoLooks(t *testing.T) {
	looks := 0
	flickering := clouddriver(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/applications/web/rawResources" {
			return false
		}
		if looks++; looks == 1 {
			_, _ = fmt.Fprint(w, `[{"name":"new"}]`)
		} else {
			_, _ = fmt.Fprint(w, `{}`)
		}
		return true
	})
	if r := run(t, Options{Here: clouddriver(t, nil), There: flickering}); !r.Equal() {
		t.Errorf("%+v", r.Differences)
	}
}

func TestRun_RefusesWhatIsNoClouddriver(t *testing.T) {
	ours := clouddriver(t, nil)
	for there, want := range map[string]string{
		"":               "not the address",
		"ftp://x":        "not the address",
		"http://[::1]:1": "refused",
		clouddriver(t, func(w http.ResponseWriter, _ *http.Request) bool { _, _ = fmt.Fprint(w, `{}`); return true }):         "no Clouddriver",
		clouddriver(t, func(w http.ResponseWriter, _ *http.Request) bool { http.NotFound(w, nil); return true }):              "no Clouddriver",
		clouddriver(t, func(w http.ResponseWriter, _ *http.Request) bool { _, _ = fmt.Fprint(w, `<html>`); return true }):     "no JSON",
		clouddriver(t, func(w http.ResponseWriter, _ *http.Request) bool { _, _ = fmt.Fprint(w, `[{"id":1}]`); return true }): "without a name",
	} {
		if _, err := Run(context.Background(), Options{Here: ours, There: there}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", there, err, want)
		}
	}
}

func TestTable_CountsDifferencesOfOneSort(t *testing.T) {
	r := &Report{Here: "a", There: "b", Routes: 3, Accounts: []string{"prod"}, Differences: []Difference{
		{Route: "/x/1", Pattern: "/x/{n}", Where: "[a].v", Kind: Value, Here: 1, There: 2},
		{Route: "/x/2", Pattern: "/x/{n}", Where: "[b].v", Kind: Value, Here: 3, There: 4},
		{Route: "/x/2", Pattern: "/x/{n}", Kind: Status, Here: 200, There: 404},
	}, Failures: []Failure{{"/y", "there", "slow"}}}
	var out strings.Builder
	if err := r.Table(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2      value   /x/{n}  [].v", "1      status  /x/{n}  -", "200   404", "there /y: slow", "3 differences"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}
