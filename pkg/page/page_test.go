package page

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
	"github.com/datapunchorg/go-clouddriver/pkg/telemetry"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

func pages(t *testing.T) *Pages {
	t.Helper()
	p, err := New("test")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func rendered(t *testing.T) func(body []byte, err error) string {
	return func(body []byte, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(body, []byte("</html>")) {
			t.Fatalf("the page is not whole: %s", body)
		}
		return string(body)
	}
}

// weight is what a page costs with all that it loads, as it is sent.
func weight(t *testing.T, body string) int {
	t.Helper()
	total := zipped(t, []byte(body))
	for _, m := range regexp.MustCompile(`(?:src|href)="/ui/assets/([^"]+)"`).FindAllStringSubmatch(body, -1) {
		asset, _, ok := Asset(m[1])
		if !ok {
			t.Errorf("there is no asset %s", m[1])
		}
		total += zipped(t, asset)
	}
	return total
}

// hash is a text that does not compress.
func hash(a, b int) string { return fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%d %d", a, b))) }

func zipped(t *testing.T, body []byte) int {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Len()
}

const mostWeight = 100 << 10

func TestPages_StaySmallHoweverMuchThereIs(t *testing.T) {
	p, page := pages(t), rendered(t)
	long := strings.Repeat("n", 250)
	var apps []index.Application
	for i := range 5000 {
		apps = append(apps, index.Application{Name: fmt.Sprintf("application-%04d-%s", i, long[:200]), Clusters: map[string][]string{"prod-1": {"a", "b"}}})
	}
	var accounts []Account
	for i := range 1000 {
		s := watch.Status{Account: fmt.Sprintf("account-%04d-%s", i, long), State: watch.Failed, Message: "dial tcp: " + long, Version: "v1.37.2"}
		for k := range 12 {
			s.Kinds = append(s.Kinds, watch.KindStatus{Kind: fmt.Sprintf("kind%d", k), Phase: watch.Broken})
		}
		accounts = append(accounts, Account{Status: s, Objects: map[string]int{"pod": 5000}})
	}
	var tasks []store.Task
	for i := range TasksPerPage {
		tasks = append(tasks, store.Task{ID: fmt.Sprint(i), State: store.TaskFailed, Ended: time.Now(), Context: `{"application":"` + long + `"}`})
	}
	var parts []Part
	for i := range 200 {
		var instances []string
		for k := range 50 {
			instances = append(instances, fmt.Sprintf(`{"displayName":%q,"healthState":"Up"}`, hash(i, k)+long))
		}
		var g view.ServerGroup
		text := fmt.Sprintf(`{"name":%q,"moniker":{"cluster":%q},"buildInfo":{"images":[%[3]q,%[3]q]},"instances":[%[4]s]}`, fmt.Sprintf("replicaSet %d-%s", i, long), fmt.Sprintf("%d-%s", i%50, long), long, strings.Join(instances, ","))
		if err := json.Unmarshal([]byte(text), &g); err != nil {
			t.Fatal(err)
		}
		g.Moniker.Cluster = fmt.Sprintf("%d-%s", i%50, long)
		parts = append(parts, Part{Account: "account", Groups: []view.ServerGroup{g}})
	}
	task, changes := store.Task{ID: "t", State: store.TaskRunning}, []store.TaskChange{}
	for i := range 1000 {
		task.History = append(task.History, store.HistoryLine{Phase: "P", Status: fmt.Sprint(i, long)})
		var fields []string
		for k := range 41 {
			fields = append(fields, fmt.Sprintf(`{"path":"/p%d-%d","before":%q,"after":%q}`, i, k, hash(i, k), hash(k, i)))
		}
		changes = append(changes, store.TaskChange{Name: long, Diff: "[" + strings.Join(fields, ",") + "]"})
	}
	stale := make([]string, 1000)
	for i := range stale {
		stale[i] = accounts[i].Account
	}
	streams := Account{Status: watch.Status{Account: long}}
	for i := range 3000 {
		streams.Kinds = append(streams.Kinds, watch.KindStatus{Kind: fmt.Sprint("kind", i), Namespace: long, Message: hash(i, i)})
	}
	for name, body := range map[string]string{
		"application":  page(p.Application("app", parts, "", 1, stale)),
		"server group": page(p.ServerGroup("app", "account", parts[0].Groups[0], 1, stale)),
		"account":      page(p.Account(streams, 1)),
		"task":         page(p.Task(task, changes, 1)),
		"applications": page(p.Applications(apps, "", 1, stale)),
		"accounts":     page(p.Accounts(accounts, AccountsQuery{})),
		"tasks":        page(p.Tasks(tasks, tasks)),
		"search":       page(p.Search("a", Found{Applications: apps[:10], Total: 10}, nil)),
	} {
		if n := weight(t, body); n > mostWeight || n < 1000 {
			t.Errorf("%s weighs %d bytes", name, n)
		}
		for _, forbidden := range []string{"<style", "style=\"", "onclick", "http://", "https://", "<script>"} {
			if strings.Contains(body, forbidden) {
				t.Errorf("%s has %q, which the policy forbids or which asks another host", name, forbidden)
			}
		}
	}
}

func TestPages_ShowNamesAsText(t *testing.T) {
	p, page := pages(t), rendered(t)
	evil := `<script>alert("x")</script>&/..`
	for name, body := range map[string]string{
		"applications": page(p.Applications([]index.Application{{Name: evil}}, evil, 1, []string{evil})),
		"application":  page(p.Application(evil, nil, evil, 1, nil)),
		"accounts":     page(p.Accounts([]Account{{Status: watch.Status{Account: evil, Message: evil}}}, AccountsQuery{Text: "", Sort: evil})),
		"task":         page(p.Task(store.Task{ID: evil, History: []store.HistoryLine{{Status: evil}}}, []store.TaskChange{{Name: evil, Diff: `[{"path":"/a","before":"<b>","after":{"x":1}}]`}}, 1)),
		"history":      page(p.History(evil, []store.HistoryEntry{{Name: evil, Task: evil}}, 1)),
		"search":       page(p.Search(evil, Found{Task: evil, Accounts: []string{evil}}, nil)),
		"problem":      page(p.Problem(404, evil)),
	} {
		if strings.Contains(body, "<script>") || strings.Contains(body, "<b>") {
			t.Errorf("%s runs what a name says", name)
		}
		if !strings.Contains(body, "alert(") && name != "accounts" {
			t.Errorf("%s does not show the name", name)
		}
	}
}

func TestApplications_FindsAsOneTypes(t *testing.T) {
	p, page := pages(t), rendered(t)
	all := []index.Application{{Name: "web"}, {Name: "WebShop"}, {Name: "mail"}}
	body := page(p.Applications(all, " wEb", 1, nil))
	if !strings.Contains(body, ">WebShop<") || strings.Contains(body, ">mail<") || !strings.Contains(body, "2 applications") {
		t.Error(body)
	}
	if body := page(p.Applications(nil, "", 7, nil)); !strings.Contains(body, "No application has been found yet") {
		t.Error(body)
	}
}

func TestAccounts_AreSortedAndNarrowed(t *testing.T) {
	p, page := pages(t), rendered(t)
	kinds := func(lag time.Duration) []watch.KindStatus {
		return []watch.KindStatus{{Kind: "pod", Phase: watch.Live, Lag: lag}}
	}
	all := []Account{
		{Status: watch.Status{Account: "a", State: watch.Synced, Kinds: kinds(time.Second)}, Objects: map[string]int{"pod": 1}},
		{Status: watch.Status{Account: "b", State: watch.Synced, Stale: true, Message: "pod: forbidden: no", Reason: "forbidden", Kinds: kinds(3 * time.Second)}, Objects: map[string]int{"pod": 9}},
		{Status: watch.Status{Account: "c", State: watch.Failed, Message: "connection refused", Reason: "unavailable"}},
		{Status: watch.Status{Account: "d", State: watch.Starting}},
	}
	order := func(body string) string {
		var names []string
		for _, m := range regexp.MustCompile(`href="/ui/accounts/(\w)"`).FindAllStringSubmatch(body, -1) {
			names = append(names, m[1])
		}
		return strings.Join(names, "")
	}
	for _, c := range []struct {
		query AccountsQuery
		want  string
	}{
		{AccountsQuery{}, "abcd"}, {AccountsQuery{Sort: "state"}, "cdba"}, {AccountsQuery{Sort: "objects"}, "bacd"}, {AccountsQuery{Sort: "lag"}, "bacd"},
		{AccountsQuery{State: "stale"}, "b"}, {AccountsQuery{Text: "REFUSED"}, "c"}, {AccountsQuery{State: "ok", Text: "zzz"}, ""},
	} {
		if got := order(page(p.Accounts(all, c.query))); got != c.want {
			t.Errorf("%+v: got %q, want %q", c.query, got, c.want)
		}
	}
	body := page(p.Accounts(all, AccountsQuery{}))
	for _, want := range []string{"1 failed", "1 stale", "list and watch on the kind", "nothing answers there", "3s"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q", want)
		}
	}
}

func TestFigures_LeaveAGapWhereNothingWas(t *testing.T) {
	p, page := pages(t), rendered(t)
	now := time.Now()
	var samples []telemetry.Sample
	for i := range 360 {
		s := telemetry.Sample{At: now.Add(time.Duration(i-359) * telemetry.Every), Events: 5, Lag: math.NaN(), Median: 0.001, P99: 0.01, Memory: 1 << 27}
		if i < 100 || i > 200 {
			s.Lag = 0.4
		}
		samples = append(samples, s)
	}
	body := page(p.Figures(samples))
	if n := strings.Count(body, "<polyline"); n != 6 {
		t.Errorf("%d stretches, want 6", n)
	}
	for _, want := range []string{"128 MiB", "10.0 ms", "400.0 ms", "5.0"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q", want)
		}
	}
	if n := weight(t, body); n > mostWeight {
		t.Errorf("it weighs %d bytes", n)
	}
	page(p.Figures(nil))
}

func TestAsset_GivesOnlyItsOwn(t *testing.T) {
	for _, name := range []string{"../page.go", "..", "", "nothing.css", "a/b", `..\page.go`} {
		if _, _, ok := Asset(name); ok {
			t.Errorf("%q is answered", name)
		}
	}
	for name, want := range map[string]string{"style.css": "text/css", "live.js": "text/javascript", "icon.svg": "image/svg"} {
		if _, mediaType, ok := Asset(name); !ok || !strings.HasPrefix(mediaType, want) {
			t.Errorf("%s: %q", name, mediaType)
		}
	}
}

func TestLeaf_StaysWithinTheList(t *testing.T) {
	all := make([]int, 250)
	for page, want := range map[int][3]int{-5: {1, 100, 0}, 1: {1, 100, 0}, 3: {201, 250, 2}, 99: {201, 250, 2}} {
		rows, l := leaf(all, page, perPage, "/x?")
		if l.First != want[0] || l.Last != want[1] || l.Previous() != want[2] || len(rows) != l.Last-l.First+1 {
			t.Errorf("%d: %+v", page, l)
		}
	}
	if rows, l := leaf([]int(nil), 1, perPage, "/x?"); len(rows) != 0 || l.First != 0 || l.Next() != 0 {
		t.Errorf("%+v", l)
	}
}
