package account

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

func jwt(exp time.Time) string {
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{}`)) + "." + part(fmt.Appendf(nil, `{"exp":%d}`, exp.Unix())) + ".s"
}

type arcadeServer struct {
	calls  atomic.Int64
	broken atomic.Bool
	token  atomic.Value
}

func newArcade(t *testing.T, ttl time.Duration) (*Arcade, *arcadeServer) {
	t.Helper()
	s := &arcadeServer{}
	s.token.Store("opaque-1")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.calls.Add(1)
		if s.broken.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = fmt.Fprintf(w, `{"token":%q}`, s.token.Load())
	}))
	t.Cleanup(server.Close)
	return NewArcade(config.Arcade{URL: server.URL, APIKey: "k", Timeout: time.Second, TokenTTL: ttl}), s
}

func TestArcade_IsAskedOncePerProviderHoweverManyAccounts(t *testing.T) {
	for name, token := range map[string]string{"opaque": "opaque-1", "readable": jwt(time.Now().Add(time.Hour))} {
		t.Run(name, func(t *testing.T) {
			a, s := newArcade(t, time.Minute)
			s.token.Store(token)
			var wg sync.WaitGroup
			for i := range 1000 {
				wg.Go(func() {
					if got, err := a.Token(context.Background(), fmt.Sprint("provider-", i%4), ""); err != nil || got != token {
						t.Error(got, err)
					}
				})
			}
			wg.Wait()
			if n := s.calls.Load(); n != 4 {
				t.Errorf("%d calls for 4 providers", n)
			}
		})
	}
}

func TestArcade_ReplacesARefusedTokenOnce(t *testing.T) {
	a, s := newArcade(t, time.Hour)
	old, err := a.Token(context.Background(), "p", "")
	if err != nil {
		t.Fatal(err)
	}
	s.token.Store("opaque-2")
	for range 5 {
		if got, err := a.Token(context.Background(), "p", old); err != nil || got != "opaque-2" {
			t.Fatal(got, err)
		}
	}
	if n := s.calls.Load(); n != 2 {
		t.Errorf("%d calls, want 2", n)
	}
}

func TestArcade_DownServesTheLastTokenUntilItExpires(t *testing.T) {
	a, s := newArcade(t, time.Nanosecond) // every use asks for a new one
	if _, err := a.Token(context.Background(), "p", ""); err != nil {
		t.Fatal(err)
	}
	s.broken.Store(true)
	if got, err := a.Token(context.Background(), "p", ""); err != nil || got != "opaque-1" {
		t.Errorf("a token of unknown life: %q, %v", got, err)
	}

	a, s = newArcade(t, time.Minute)
	s.token.Store(jwt(time.Now().Add(-time.Second)))
	if _, err := a.Token(context.Background(), "p", ""); err != nil {
		t.Fatal(err)
	}
	s.broken.Store(true)
	_, err := a.Token(context.Background(), "p", "")
	if err == nil || !strings.Contains(err.Error(), "500") {
		t.Errorf("an expired token: %v, want what Arcade said", err)
	}
	calls := s.calls.Load()
	if _, err := a.Token(context.Background(), "p", ""); err == nil || s.calls.Load() != calls {
		t.Errorf("Arcade was not left alone after it failed: %v", err)
	}
}

func TestKeyring_SealsForOneAccountAndRotates(t *testing.T) {
	key := func(id string, b byte) string {
		return id + ":" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(b), keyBytes)))
	}
	old, err := NewKeyring(key("old", 'a'))
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := old.Seal(ForToken, "secret", "prod", "https://a")
	if err != nil || strings.Contains(sealed.Text, "secret") {
		t.Fatal(sealed, err)
	}
	rotated, err := NewKeyring(key("new", 'b') + "\n" + key("old", 'a'))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := rotated.Open(ForToken, sealed, "prod", "https://a"); err != nil || got != "secret" {
		t.Errorf("the old key does not open: %q, %v", got, err)
	}
	if rotated.Current(sealed) {
		t.Error("a token under the old key counts as current")
	}
	if _, err := rotated.Open(ForToken, sealed, "other", "https://a"); err == nil {
		t.Error("a token opens for another account")
	}
	if _, err := rotated.Open(ForToken, sealed, "prod", "https://b"); err == nil {
		t.Error("a token opens for another server")
	}
	if _, err := rotated.Open(ForTask, sealed, "prod", "https://a"); err == nil {
		t.Error("a token opens as a task")
	}
	// As it was sealed before there were purposes.
	legacy := func(name string) store.Sealed {
		nonce := make([]byte, 12)
		return store.Sealed{KeyID: "old", Text: base64.StdEncoding.EncodeToString(old.keys["old"].Seal(nonce, nonce, []byte("secret"), []byte(name)))}
	}
	if got, err := rotated.Open(ForToken, legacy("prod"), "prod", "https://a"); err != nil || got != "secret" || old.Current(legacy("prod")) {
		t.Errorf("a token of before does not open, or is not sealed anew: %q, %v", got, err)
	}
	if _, err := old.Open(ForToken, legacy("01K9ABCDEFGHJKMNPQRSTVWXYZ"), "01K9ABCDEFGHJKMNPQRSTVWXYZ", "https://a"); err == nil {
		t.Error("a task of before opens as a token")
	}
	if _, err := old.Open(ForToken, store.Sealed{KeyID: "new", Text: sealed.Text}, "prod", "https://a"); err == nil || !strings.Contains(err.Error(), `"new"`) {
		t.Errorf("missing key: %v", err)
	}
	for _, bad := range []string{"x", "a:!!", "a:c2hvcnQ=", key("a", 'a') + "," + key("a", 'b')} {
		if _, err := NewKeyring(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestKeyFile_IsMadeOnce(t *testing.T) {
	path := t.TempDir() + "/c.db.key"
	first, err := KeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := first.Seal(ForTask, "secret", "1")
	if err != nil {
		t.Fatal(err)
	}
	second, err := KeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := second.Open(ForTask, sealed, "1"); err != nil || got != "secret" {
		t.Errorf("%q, %v", got, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := KeyFile(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
}

// TestArcade_CallsPerHourDoNotDependOnTheAccounts has 1,000 accounts of four
// token providers ask every five seconds for an hour.
func TestArcade_CallsPerHourDoNotDependOnTheAccounts(t *testing.T) {
	for _, c := range []struct {
		name     string
		token    func() string
		lifetime time.Duration
	}{
		{"opaque, used for a minute", func() string { return "opaque" }, time.Minute},
		{"readable, valid for ten minutes", func() string { return jwt(time.Now().Add(10 * time.Minute)) }, 10 * time.Minute},
		{"readable, valid for an hour", func() string { return jwt(time.Now().Add(time.Hour)) }, time.Hour},
	} {
		perHour := func(accounts int) int64 {
			var calls atomic.Int64
			synctest.Test(t, func(t *testing.T) {
				a := NewArcade(config.Arcade{URL: "http://arcade", APIKey: "k", Timeout: time.Second, TokenTTL: time.Minute})
				a.client.Transport = transportFunc(func(*http.Request) (*http.Response, error) {
					calls.Add(1)
					return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(`{"token":"` + c.token() + `"}`))}, nil
				})
				for range int(time.Hour / (5 * time.Second)) {
					for i := range accounts {
						if _, err := a.Token(t.Context(), fmt.Sprint("provider-", i%4), ""); err != nil {
							t.Fatal(err)
						}
					}
					time.Sleep(5 * time.Second)
				}
			})
			return calls.Load()
		}
		few, many := perHour(4), perHour(1000)
		// A token is replaced after seven to nine tenths of its life, at the
		// next of the calls.
		most := int64(4 * (float64(time.Hour)/(.7*float64(c.lifetime)) + 1))
		t.Logf("%s: %d calls per hour for 4 accounts, %d for 1,000 (at most %d)", c.name, few, many, most)
		if few > most || many > most || many < 4 {
			t.Errorf("%s: %d and %d calls, want at most %d", c.name, few, many, most)
		}
	}
}

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
