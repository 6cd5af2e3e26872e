package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/auth"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/operation"
	"github.com/datapunchorg/go-clouddriver/pkg/page"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
	"github.com/datapunchorg/go-clouddriver/pkg/task"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// oneTask is a task of the account prod that somebody else has asked for.
type oneTask struct{ Tasks }

func (oneTask) Get(_ context.Context, id string) (task.Task, error) {
	return task.Task{ID: id, User: "somebody", Accounts: []string{"prod"}}, nil
}

func (oneTask) Running(context.Context) ([]task.Task, error) {
	return []task.Task{{ID: "of-prod", Accounts: []string{"prod"}}, {ID: "of-vault", Accounts: []string{"vault"}}}, nil
}

func (oneTask) Submit(context.Context, task.Context, []operation.Request) (string, error) {
	return "submitted", nil
}
func (oneTask) Resume(context.Context, string) error     { return nil }
func (oneTask) Mark(context.Context, string, bool) error { return nil }

type noHistory struct{}

func (noHistory) ApplicationHistory(context.Context, []string, int64, int) ([]store.HistoryEntry, error) {
	return []store.HistoryEntry{{ID: 2, Account: "prod"}, {ID: 1, Account: "vault"}}, nil
}

type noJournal struct{}

func (noJournal) Task(_ context.Context, id string) (store.Task, error) {
	return store.Task{ID: id, Context: `{"accounts":["prod"]}`}, nil
}
func (noJournal) RunningTasks(context.Context) ([]store.Task, error) {
	return []store.Task{{ID: "01OFPROD", State: store.TaskRunning, Context: `{"accounts":["prod"]}`}, {ID: "01OFVAULT", State: store.TaskRunning, Context: `{"accounts":["vault"]}`}}, nil
}
func (noJournal) EndedTasks(context.Context, store.Place, int) ([]store.Task, error) { return nil, nil }
func (noJournal) TaskChanges(context.Context, string) ([]store.TaskChange, error)    { return nil, nil }

// permissions of the users of fiatOf.
var fiatUsers = map[string]string{
	"reader": `{"name":"reader","accounts":[{"name":"prod","authorizations":["READ"]}],"applications":[{"name":"shop","authorizations":["READ","EXECUTE"]}]}`,
	"writer": `{"name":"writer","accounts":[{"name":"prod","authorizations":["READ","WRITE"]}],"applications":[{"name":"shop","authorizations":["READ","WRITE","EXECUTE"]}]}`,
	// Of the account, but not of the application, and the reverse.
	"account-only":     `{"name":"account-only","accounts":[{"name":"prod","authorizations":["READ","WRITE"]}]}`,
	"application-only": `{"name":"application-only","applications":[{"name":"shop","authorizations":["READ","EXECUTE"]}]}`,
	"nothing":          `{"name":"nothing"}`,
	"admin":            `{"name":"admin","admin":true}`,
	"anonymous":        `{"name":"__unrestricted_user__"}`,
}

// fiatOf answers for those users, or as one that is broken.
func fiatOf(state string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch state {
		case "right":
			user, _ := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), "/authorize/"))
			if body, ok := fiatUsers[user]; ok {
				_, _ = io.WriteString(w, body)
				return
			}
			w.WriteHeader(http.StatusNotFound)
		case "down":
			w.WriteHeader(http.StatusBadGateway)
		case "slow":
			<-r.Context().Done()
		case "garbage":
			_, _ = io.WriteString(w, `{"name":"x","admin":tru`)
		case "HTML":
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<html>Sign in</html>")
		}
	}
}

// guarded is a server with Fiat over two accounts, prod and vault, that hold
// objects of the applications shop and bank.
func guarded(t *testing.T, state string) http.Handler {
	t.Helper()
	return guardedWith(t, state, func(*Options) {})
}

func guardedWith(t *testing.T, state string, change func(*Options)) http.Handler {
	t.Helper()
	fiat := httptest.NewServer(fiatOf(state))
	t.Cleanup(fiat.Close)
	ix, o := bareOptions(t, config.Server{MaxInFlight: 100, MaxStreams: 100, NotSyncedDeadline: 10 * time.Millisecond, LogTimeout: time.Second})
	authority := auth.New(auth.Options{
		URL: fiat.URL, Keep: time.Minute, MostUsers: 100, Connect: time.Second, Read: 50 * time.Millisecond, FirstWait: time.Millisecond, Factor: 2,
		Log: slog.New(slog.DiscardHandler),
	})
	t.Cleanup(authority.Close)
	o.Auth = authority
	registry := account.NewRegistry("test")
	registry.Replace("test", []*account.Account{{Name: "prod"}, {Name: "vault"}})
	o.Accounts, o.Tasks, o.History, o.Journal = registry, oneTask{}, noHistory{}, noJournal{}
	var err error
	if o.Pages, err = page.New("test"); err != nil {
		t.Fatal(err)
	}
	o.Clients = ClientFunc(func(string) (*cluster.Client, error) {
		return nil, &cluster.Error{Reason: cluster.Unavailable, Err: errors.New("no cluster in this test")}
	})
	for i, name := range []string{"prod", "vault"} {
		sink := ix.Open(&account.Account{Name: name, DeriveNames: true})
		for _, r := range []cluster.Resource{
			{Group: "apps", Version: "v1", Plural: "replicasets", Kind: "ReplicaSet", Namespaced: true, Watchable: true},
			{Version: "v1", Plural: "services", Kind: "Service", Namespaced: true, Watchable: true},
			{Group: "networking.k8s.io", Version: "v1", Plural: "networkpolicies", Kind: "NetworkPolicy", Namespaced: true, Watchable: true},
		} {
			decode, receiver := sink.Open(r, &watch.Stream{})
			for j, app := range []string{"shop", "bank"} {
				object := fmt.Sprintf(`{"metadata":{"name":"%s-%s","namespace":"ns","uid":"%d%d%s","resourceVersion":"%d","annotations":{"moniker.spinnaker.io/application":"%s","moniker.spinnaker.io/cluster":"x %s"}},"spec":{"replicas":1}}`, app, name, i, j, r.Kind, j+1, app, app)
				decoded, err := decode([]byte(object))
				if err != nil {
					t.Fatal(err)
				}
				receiver.Upsert(decoded)
			}
		}
	}
	change(&o)
	handler, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return handler
}

// pathOf fills the parameters of a pattern.
func pathOf(pattern string) string {
	return strings.NewReplacer(
		"{application}", "shop", "{account}", "prod", "{provider}", "kubernetes", "{type}", "kubernetes", "{name}", "replicaSet%20shop-prod", "{region}", "ns", "{location}", "ns",
		"{namespace}", "ns", "{kind}", "replicaSet", "{cluster}", "x%20shop", "{criteria}", "newest", "{scope}", "ns", "{target}", "newest", "{summary}", "images",
		"{id}", "pod%20x", "{container}", "c", "{pod}", "p", "{project}", "p", "{hash}", "h", "{metric}", "m", "{bucket}", "b", "*", "o").Replace(pattern)
}

func ask(handler http.Handler, method, target, user, body string) *httptest.ResponseRecorder {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond) // streams do not end by themselves
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	r.RemoteAddr = "10.9.8.7:1" // not from here
	if user != "" {
		r.Header.Set("X-Spinnaker-User", user)
	}
	rec := httptest.NewRecorder()
	handler.ServeHTTP(rec, r)
	return rec
}

// lets says what a user may ask of a row when Fiat is right.
func (a *access) lets(user string) bool {
	reads := map[string]bool{"reader": true, "writer": true, "account-only": true}
	writes := map[string]bool{"writer": true, "account-only": true}
	application := map[string]bool{"reader": true, "writer": true, "application-only": true}
	switch {
	case a.administers:
		return false
	case a.manages:
		return user == "admin"
	case a.everyone, user == "admin":
		return true
	case fiatUsers[user] == "":
		return false
	case a.operations:
		return writes[user]
	case a.tasks:
		return writes[user] || !a.writes && reads[user]
	case a.queried == auth.Read && !reads[user]:
		return false
	case a.account == auth.Write && !writes[user], a.account == auth.Read && !reads[user], a.application != "" && !application[user]:
		return false
	}
	return true
}

// refusedFor says whether an answer refuses the caller.
func refusedFor(rec *httptest.ResponseRecorder) bool {
	body := rec.Body.String()
	return rec.Code == http.StatusForbidden ||
		rec.Code == http.StatusBadRequest && strings.Contains(body, "Access denied to account") ||
		rec.Code == http.StatusServiceUnavailable && strings.Contains(body, "Access is denied")
}

// TestAccess_OfEveryRoute asks each row of the table as each user, in each state
// of Fiat. None may be open that says it is not, and none closed to those who may.
func TestAccess_OfEveryRoute(t *testing.T) {
	users := []string{"reader", "writer", "account-only", "application-only", "nothing", "admin", "", "stranger"}
	combinations := 0
	for _, state := range []string{"right", "down", "slow", "garbage", "HTML"} {
		handler := guarded(t, state)
		for _, row := range routes() {
			for _, user := range users {
				body := ""
				if row.method != get {
					body = `[{"deleteManifest":{"account":"prod","location":"ns","manifestName":"replicaSet shop-prod"}}]`
					if strings.HasSuffix(row.pattern, "/ops/{name}") {
						body = `{"account":"prod","location":"ns","manifestName":"replicaSet shop-prod","cloudProvider":"kubernetes"}`
					}
					if strings.HasPrefix(row.pattern, "/ops") {
						body = strings.Replace(body, `"account"`, `"cloudProvider":"kubernetes","account"`, 1)
					}
				}
				target := pathOf(row.pattern)
				if strings.HasSuffix(row.pattern, "/ops/{name}") {
					target = strings.TrimSuffix(target, "replicaSet%20shop-prod") + "deleteManifest"
				}
				if row.may.queried != "" {
					target += "?account=prod&repository=x"
				}
				known := user
				if user == "" {
					known = "anonymous"
				}
				rec := ask(handler, row.method, target, user, body)
				combinations++
				want := row.may.lets(known)
				if state != "right" && !row.may.everyone {
					want = false
				}
				if row.may == registryFinders && user == "" { // Igor has no name (docker-registry.md 7)
					want = true
				}
				// What is found may be of another application: that is looked at
				// elsewhere, since nothing can be read here.
				ofAnother := row.may.result && want && rec.Code == http.StatusForbidden
				if got := !refusedFor(rec); got != want && !ofAnother {
					t.Errorf("Fiat %s, user %q, %s %s: let in %t, want %t: %d %.200s", state, user, row.method, row.pattern, got, want, rec.Code, rec.Body)
				}
			}
		}
	}
	t.Logf("%d combinations", combinations)
}

// TestSight_ShowsOnlyWhatTheCallerMayRead looks for the names of what is hidden
// in every list, after somebody who may see all has asked for the same.
func TestSight_ShowsOnlyWhatTheCallerMayRead(t *testing.T) {
	handler := guarded(t, "right")
	etags := map[string]string{}
	for _, target := range []string{
		"/applications", "/applications/shop", "/applications/shop/clusters", "/applications/shop/serverGroups", "/applications/shop/serverGroups?expand=true",
		"/applications/shop/serverGroups?clusters=vault:x%20shop,prod:x%20shop", "/applications/shop/loadBalancers", "/applications/shop/serverGroupManagers", "/applications/shop/rawResources", "/applications/shop/history",
		"/serverGroups?applications=shop,bank", "/serverGroups?ids=vault:ns:replicaSet%20shop-vault,prod:ns:replicaSet%20shop-prod,prod:ns:replicaSet%20bank-prod",
		"/securityGroups", "/search?type=serverGroups&q=", "/search?type=replicaSet&q=", "/search?type=applications&q=", "/search?type=clusters&q=", "/search?type=serverGroups&q=&account=vault", "/task",
		"/", "/ui/applications", "/ui/applications/shop", "/ui/applications/shop/history", "/ui/search?q=shop", "/ui/search?q=bank", "/ui/search?q=vault", "/ui/tasks",
	} {
		for _, user := range []string{"admin", "reader", "admin"} {
			rec := ask(handler, http.MethodGet, target, user, "")
			body := rec.Body.String()
			if rec.Code != http.StatusOK {
				t.Errorf("%s as %s: %d %.200s", target, user, rec.Code, body)
			}
			hides := func(name string) bool { return !strings.Contains(body, name) }
			// The text that is looked for stands on the page again, and policies go by
			// their account alone.
			looked := strings.Contains(target, "vault") || strings.Contains(target, "bank") || target == "/securityGroups"
			if user == "reader" && (!looked && (!hides("vault") || !hides("bank")) || !hides("-vault") || target != "/securityGroups" && !hides("bank-") || !hides("OFVAULT")) {
				t.Errorf("%s shows what is hidden: %.2000s", target, body)
			}
			if user == "admin" && !strings.Contains(body, "vault") && !strings.Contains(body, "bank") && !strings.Contains(body, "VAULT") && target != "/applications/shop/serverGroupManagers" {
				t.Errorf("%s shows an administrator nothing that is hidden from others: %.500s", target, body)
			}
			if etag := rec.Header().Get("Etag"); etag != "" {
				key := target + " " + user
				if before := etags[key]; before != "" && before != etag {
					t.Errorf("%s: the tag changes from %s to %s", key, before, etag)
				}
				etags[key] = etag
			}
		}
		if a, b := etags[target+" admin"], etags[target+" reader"]; a != "" && a == b && target != "/applications/shop/serverGroupManagers" {
			t.Errorf("%s: two callers who see different things share the tag %s", target, a)
		}
	}
	for _, target := range []string{"/applications/bank/serverGroups", "/applications/bank", "/ui/applications/bank", "/applications/shop/clusters/vault", "/instances/vault/ns/pod%20x", "/securityGroups/vault", "/ui/accounts/vault"} {
		if rec := ask(handler, http.MethodGet, target, "reader", ""); rec.Code != http.StatusForbidden {
			t.Errorf("%s: %d %.200s", target, rec.Code, rec.Body)
		}
	}
	// The list that Fiat reads itself.
	if rec := ask(handler, http.MethodGet, "/applications?restricted=false", "", ""); rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), "bank") {
		t.Errorf("%d %.200s", rec.Code, rec.Body)
	}
	if rec := ask(handler, http.MethodGet, "/ui/applications/shop/serverGroups/prod/ns/replicaSet%20bank-prod", "reader", ""); rec.Code == http.StatusOK {
		t.Errorf("a group of another application is shown under one that may be read: %.300s", rec.Body)
	}
}

func TestTask_IsShownToWhoeverHasAskedForIt(t *testing.T) {
	handler := guarded(t, "right")
	for user, want := range map[string]int{"reader": http.StatusOK, "nothing": http.StatusForbidden, "account-only": http.StatusOK, "admin": http.StatusOK} {
		if rec := ask(handler, http.MethodGet, "/task/x", user, ""); rec.Code != want {
			t.Errorf("%s: %d", user, rec.Code)
		}
	}
	if !seesTask(&auth.Caller{User: auth.Anonymous}, "anonymous", nil) {
		t.Error("a task is hidden from who has asked for it")
	}
	if seesTask(&auth.Caller{User: auth.Anonymous}, "", nil) || seesTask(&auth.Caller{User: auth.Anonymous}, "other", []string{"prod"}) {
		t.Error("a task is shown to anybody")
	}
}

// TestWithoutFiat_WritingRoutesGoByTheAccountsThatGateNames: a restricted account
// is written to by whoever Gate lists it for, on every route that writes.
func TestWithoutFiat_WritingRoutesGoByTheAccountsThatGateNames(t *testing.T) {
	_, o := bareOptions(t, config.Server{MaxInFlight: 10, MaxStreams: 1, NotSyncedDeadline: 10 * time.Millisecond})
	registry := account.NewRegistry("test")
	registry.Replace("test", []*account.Account{{Name: "prod", Permissions: map[string][]string{"WRITE": {"ops"}}}})
	o.Accounts, o.Tasks, o.History = registry, oneTask{}, noHistory{}
	o.Clients = ClientFunc(func(string) (*cluster.Client, error) {
		return nil, &cluster.Error{Reason: cluster.Unavailable, Err: errors.New("no cluster in this test")}
	})
	handler, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ops := `[{"deleteManifest":{"account":"prod","location":"ns","manifestName":"replicaSet shop-prod"}}]`
	for _, c := range []struct{ method, target, body string }{
		{post, "/kubernetes/ops", ops}, {del, "/applications/shop/jobs/prod/ns/job%20x", ""}, {post, "/task/x:resume", ""},
		{patch, "/kubernetes/task/x", `{"retry":true}`}, {post, "/kubernetes/task/x/restart", ops},
	} {
		for listed, want := range map[string]bool{"": false, "other": false, "a, PROD": true} {
			r := httptest.NewRequest(c.method, c.target, strings.NewReader(c.body))
			r.Header.Set("X-Spinnaker-Accounts", listed)
			rec := httptest.NewRecorder()
			handler.ServeHTTP(rec, r)
			denied := rec.Code == http.StatusBadRequest && strings.Contains(rec.Body.String(), "anonymous is not authorized (account: prod, description: ")
			if denied == want {
				t.Errorf("%s %s, accounts %q: %d %.200s", c.method, c.target, listed, rec.Code, rec.Body)
			}
		}
	}
}
