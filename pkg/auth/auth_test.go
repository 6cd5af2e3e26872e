package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const me = `{"name":"me@example.org","accounts":[{"name":"Prod","authorizations":["READ","WRITE"]},{"name":"test","authorizations":["READ"]}],
"applications":[{"name":"Shop","authorizations":["READ","EXECUTE"]}],"roles":[{"name":"Ops","source":"A_NEW_SOURCE"}],"extensionResources":{},"admin":false}`

func asking(t *testing.T, change func(*Options), handler http.HandlerFunc) *Authority {
	t.Helper()
	fiat := httptest.NewServer(handler)
	t.Cleanup(fiat.Close)
	o := Options{
		URL: fiat.URL, Keep: time.Minute, MostUsers: 10, Connect: time.Second, Read: time.Second,
		FirstWait: time.Millisecond, RetryFor: 20 * time.Millisecond, Factor: 1.5, Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&o)
	}
	a := New(o)
	t.Cleanup(a.Close)
	return a
}

func says(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

func from(user string, more ...string) http.Header {
	h := http.Header{}
	h.Set("X-Spinnaker-User", user)
	for i := 0; i+1 < len(more); i += 2 {
		h.Set(more[i], more[i+1])
	}
	return h
}

func TestDecisions_AreJavas(t *testing.T) {
	with := func(flags string) string { return `{"name":"u",` + flags + me[len(`{"name":"me@example.org",`):] }
	plain := asking(t, nil, says(me)).Caller(t.Context(), from("me@example.org"))
	admin := asking(t, nil, says(`{"name":"root","admin":true}`)).Caller(t.Context(), from("root"))
	unknown := asking(t, nil, says(with(`"allowAccessToUnknownApplications":true,`))).Caller(t.Context(), from("u"))
	legacy := asking(t, nil, says(with(`"legacyFallback":true,`))).Caller(t.Context(), from("u"))
	for _, c := range []struct {
		what   string
		err    error
		denied bool
	}{
		{"listed account, other case", plain.Account("pROD", Write), false},
		{"listed, without the authorization", plain.Account("test", Write), true},
		{"account that is not listed", plain.Account("other", Read), true},
		{"no account", plain.Account("", Read), true},
		{"listed application", plain.Application("SHOP", Read), false},
		{"listed, without the authorization", plain.Application("shop", Write), true},
		{"application that is not listed", plain.Application("other", Read), true},
		{"no application", plain.Application("", Read), true},
		{"admin, account that is not listed", admin.Account("other", Write), false},
		{"admin, application that is not listed", admin.Application("other", Execute), false},
		{"unknown applications allowed", unknown.Application("other", Read), false},
		{"unknown applications allowed, but this one is known", unknown.Application("shop", Write), true},
		{"unknown applications allowed, accounts are not", unknown.Account("other", Read), true},
		{"legacy fallback of Fiat, application", legacy.Application("shop", Write), false},
	} {
		var refusal *Denied
		if errors.As(c.err, &refusal) != c.denied {
			t.Errorf("%s: %v", c.what, c.err)
		}
	}
	if got := plain.Account("Other", Read).Error(); got != "Access denied to account Other - required authorization: READ" {
		t.Error(got)
	}
	if !plain.HasRole([]string{"x", " OPS "}) || plain.HasRole([]string{"dev"}) || plain.Manages() || plain.Admin() || !admin.Manages() {
		t.Error("roles, managers and administrators are not as Fiat says")
	}
}

func TestFiat_FailuresAreClosed(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"500":          func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"401":          func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
		"redirect":     func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"HTML":         says("<html><body>Sign in</body></html>"),
		"null":         says("null"),
		"list":         says("[]"),
		"other object": says(`{"status":"UP","admin":true}`),
		"cut off":      says(me[:40]),
		"wrong types":  says(`{"name":"me","admin":"true"}`),
		"slow":         func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"broken": func(http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		},
		"204": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
	}
	for name, handler := range answers {
		t.Run(name, func(t *testing.T) {
			for _, legacy := range []bool{false, true} {
				a := asking(t, func(o *Options) { o.LegacyFallback, o.Read = legacy, 100*time.Millisecond }, handler)
				c := a.Caller(t.Context(), from("me", "X-Spinnaker-Accounts", "prod, Test"))
				var failed *Unreachable
				if err := c.Known(); errors.As(err, &failed) == legacy {
					t.Errorf("legacy fallback %t: %v", legacy, err)
				}
				if got := c.Account("test", Write) == nil; got != legacy {
					t.Errorf("legacy fallback %t: account that Gate lists: allowed %t", legacy, got)
				}
				if c.Account("other", Read) == nil || c.SeesEverything() || c.Admin() {
					t.Errorf("legacy fallback %t: more is allowed than Gate lists", legacy)
				}
				if got := c.Application("any", Read) == nil; got != legacy {
					t.Errorf("legacy fallback %t: application: allowed %t", legacy, got)
				}
			}
		})
	}
	t.Run("down", func(t *testing.T) {
		a := asking(t, func(o *Options) { o.URL = "http://127.0.0.1:1" }, says(me))
		if c := a.Caller(t.Context(), from("me")); c.Known() == nil || c.SeesAccount("prod") || c.Mark() != "nothing" {
			t.Error("a Fiat that is down allows something")
		}
	})
}

func TestUnknownUser_IsRefusedEvenWithLegacyFallback(t *testing.T) {
	a := asking(t, func(o *Options) { o.LegacyFallback = true }, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	c := a.Caller(t.Context(), from("stranger", "X-Spinnaker-Accounts", "prod"))
	if c.Known() == nil || c.SeesAccount("prod") {
		t.Error("somebody whom Fiat does not know is let in")
	}
}

func TestFiat_IsToldWhoAsks(t *testing.T) {
	var path, user, request, other atomic.Value
	a := asking(t, nil, func(w http.ResponseWriter, r *http.Request) {
		path.Store(r.URL.EscapedPath())
		user.Store(r.Header.Get("X-Spinnaker-User"))
		request.Store(r.Header.Get("X-Spinnaker-Request-Id"))
		other.Store(r.Header.Get("Authorization"))
		_, _ = io.WriteString(w, me)
	})
	a.Caller(t.Context(), from("Robot/a b@example.org", "X-Spinnaker-Request-Id", "r1", "Authorization", "Bearer x"))
	if path.Load() != "/authorize/robot%2Fa%20b@example.org" || user.Load() != "robot/a b@example.org" || request.Load() != "r1" || other.Load() != "" {
		t.Error(path.Load(), user.Load(), request.Load(), other.Load())
	}
	a.Caller(t.Context(), http.Header{})
	if path.Load() != "/authorize/anonymous" {
		t.Error("without a user:", path.Load())
	}
	for _, odd := range []string{"..", ".", string(make([]byte, 600))} {
		path.Store("none")
		if c := a.Caller(t.Context(), from(odd)); c.Known() == nil || path.Load() != "none" {
			t.Errorf("user %.5q is asked for at %v", odd, path.Load())
		}
	}
}

// TestFiat_IsAskedOnceForAUser has many requests of one user at once, and again
// later.
func TestFiat_IsAskedOnceForAUser(t *testing.T) {
	var calls atomic.Int64
	hold := make(chan struct{})
	a := asking(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		<-hold
		_, _ = io.WriteString(w, me)
	})
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if err := a.Caller(t.Context(), from("me")).Account("prod", Write); err != nil {
				t.Error(err)
			}
		})
	}
	close(hold)
	all.Wait()
	if n := calls.Load(); n != 1 {
		t.Errorf("%d calls for 100 requests", n)
	}
}

func TestFiat_AFailureIsNotAskedForAgainAtOnce(t *testing.T) {
	var calls atomic.Int64
	a := asking(t, func(o *Options) { o.RetryFor = 0 }, func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		w.WriteHeader(http.StatusBadGateway)
	})
	for range 50 {
		if a.Caller(t.Context(), from("me")).Known() == nil {
			t.Fatal("let in")
		}
	}
	if n := calls.Load(); n != 1 {
		t.Errorf("%d calls for 50 requests", n)
	}
}

func TestFiat_IsAskedAgainWhileItFails(t *testing.T) {
	var calls atomic.Int64
	a := asking(t, func(o *Options) { o.RetryFor = 10 * time.Second }, func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) < 4 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, me)
	})
	if err := a.Caller(t.Context(), from("me")).Account("prod", Write); err != nil {
		t.Error(err)
	}
}

func TestUsers_AreForgottenByNumber(t *testing.T) {
	var calls atomic.Int64
	a := asking(t, func(o *Options) { o.MostUsers = 5 }, func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		_, _ = io.WriteString(w, me)
	})
	for i := range 50 {
		a.Caller(t.Context(), from(fmt.Sprint("user", i)))
	}
	if n := len(a.kept.Keys()); n > 5 {
		t.Errorf("%d users are kept", n)
	}
}

func TestCaller_WhoGoesDoesNotWait(t *testing.T) {
	a := asking(t, func(o *Options) { o.Read, o.Connect = 10*time.Second, 10*time.Second }, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if a.Caller(ctx, from("me")).Known() == nil {
		t.Error("let in without an answer")
	}
	a.Close()
}

func TestMark_IsTheSameForTheSamePermissionsOnly(t *testing.T) {
	mark := func(body string) string {
		v, err := decode([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return v.mark
	}
	a := mark(`{"name":"a","accounts":[{"name":"x","authorizations":["READ","WRITE"]},{"name":"y","authorizations":["READ"]}]}`)
	same := mark(`{"name":"b","accounts":[{"name":"Y","authorizations":["READ"]},{"name":"x","authorizations":["WRITE","READ"]}]}`)
	if a != same {
		t.Error("order, case or the user's name changes the mark")
	}
	for _, other := range []string{
		`{"name":"a","accounts":[{"name":"x","authorizations":["READ","WRITE"]}]}`,
		`{"name":"a","applications":[{"name":"x","authorizations":["READ","WRITE"]},{"name":"y","authorizations":["READ"]}]}`,
		`{"name":"a","accounts":[{"name":"x","authorizations":["READ","WRITE"]},{"name":"y","authorizations":["READ"]}],"allowAccessToUnknownApplications":true}`,
		`{"name":"a","accounts":[{"name":"x\" [READ WRITE]\n\"y","authorizations":["READ"]}]}`,
	} {
		if mark(other) == a {
			t.Errorf("%s has the same mark", other)
		}
	}
}

func TestWithoutFiat_GateSaysWhoMayWrite(t *testing.T) {
	c := New(Options{}).Caller(t.Context(), from("me", "X-Spinnaker-Accounts", "dev, Prod"))
	if c.Account("any", Read) != nil || c.Application("any", Execute) != nil || !c.SeesEverything() || c.Mark() != "" {
		t.Error("reads are refused without Fiat")
	}
	for _, row := range []struct {
		account    string
		restricted bool
		ok         bool
	}{{"prod", true, true}, {"other", true, false}, {"other", false, true}} {
		finding, ok := c.Operate(row.account, row.restricted, "deployManifest")
		if ok != row.ok {
			t.Errorf("%+v: %t", row, ok)
		}
		if !ok && finding != "me is not authorized (account: other, description: deployManifest)" {
			t.Error(finding)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(me))
	f.Add([]byte(`{"name":"x","admin":true}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := decode(body)
		if (v == nil) == (err == nil) {
			t.Fatal("neither an answer nor an error")
		}
	})
}

func FuzzHeaders(f *testing.F) {
	f.Add("me", "a, b", "Bearer x", "localhost:7002", "127.0.0.1:1")
	f.Fuzz(func(t *testing.T, user, accounts, authorization, host, remote string) {
		header := http.Header{"X-Spinnaker-User": {user}, "X-Spinnaker-Accounts": {accounts}, "Authorization": {authorization}}
		c := Everybody(header)
		if _, ok := c.Operate("restricted", true, "x"); ok && !strings.Contains(strings.ToLower(accounts), "restricted") {
			t.Error("somebody whom Gate does not name may write")
		}
		if c.User == "" {
			t.Error("a caller without a name")
		}
		door := Door{Token: "s3cret"}
		r := &http.Request{Method: http.MethodPost, Header: header, Host: host, RemoteAddr: remote}
		near := loopback(host) && loopback(remote)
		if door.Admit(r) == nil && authorization != "Bearer s3cret" && !near {
			t.Errorf("%q is let in from %q to %q", authorization, remote, host)
		}
	})
}
