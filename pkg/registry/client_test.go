package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// tokens is a token service beside a registry, which takes what it gives.
type tokens struct {
	*httptest.Server
	member   string
	user     string // "" lets everybody have one
	given    atomic.Int64
	last     atomic.Pointer[url.Values]
	shown    atomic.Pointer[string]
	accepted atomic.Pointer[string]
}

func newTokens(t *testing.T, member, user string) *tokens {
	s := &tokens{member: member, user: user}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		header := r.Header.Get("Authorization")
		s.last.Store(&query)
		s.shown.Store(&header)
		if user, _, _ := r.BasicAuth(); s.user != "" && user != s.user {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		token := fmt.Sprintf("token%d", s.given.Add(1))
		s.accepted.Store(&token)
		_ = json.NewEncoder(w).Encode(map[string]string{s.member: token})
	}))
	t.Cleanup(s.Close)
	return s
}

// guards has a registry ask for its tokens.
func (s *tokens) guards(status int, headers ...string) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if token := s.accepted.Load(); token != nil && r.Header.Get("Authorization") == "Bearer "+*token {
			return false
		}
		for _, header := range headers {
			w.Header().Add("WWW-Authenticate", strings.ReplaceAll(header, "REALM", s.URL+"/token"))
		}
		w.WriteHeader(status)
		return true
	}
}

func TestClient_FollowsChallenges(t *testing.T) { // row 4
	const scoped = `Bearer realm="REALM",service="reg",scope="repository:a:pull"`
	for what, c := range map[string]struct {
		member, user string
		status       int
		headers      []string
		asks         string // of the token service's query
	}{
		"token":              {"token", "u", 401, []string{scoped}, "reg"},
		"access_token":       {"access_token", "u", 401, []string{scoped}, "reg"},
		"bearer_token":       {"bearer_token", "u", 401, []string{scoped}, "reg"},
		"anonymous":          {"token", "", 401, []string{scoped}, "reg"},
		"400":                {"token", "u", 400, []string{scoped}, "reg"},
		"blanks":             {"token", "u", 401, []string{`Bearer   realm="REALM" ,  service="reg" , scope="repository:a:pull"`}, "reg"},
		"Basic before it":    {"token", "u", 401, []string{`Basic realm="Basic, really", Bearer realm="REALM",service="reg"`}, "reg"},
		"Basic after it":     {"token", "u", 401, []string{`Bearer realm="REALM",service="reg", Basic realm="x"`}, "reg"},
		"two headers":        {"token", "u", 401, []string{`Basic realm="x"`, `Bearer realm="REALM",service="reg"`}, "reg"},
		"a realm with query": {"token", "u", 401, []string{`Bearer realm="REALM?account=me",service="reg"`}, "reg"},
		"without service":    {"token", "u", 401, []string{`Bearer realm="REALM"`}, ""},
	} {
		s, service := newScript(t), newTokens(t, c.member, c.user)
		s.tags["a"] = []string{"1"}
		s.does(service.guards(c.status, c.headers...))
		a := s.account(t, func(c *config.RegistryAccount) { c.Username, c.Password = "u", "p" })
		if c.user == "" {
			a = s.account(t, nil)
		}
		got, err := a.client.tags(t.Context(), "a")
		if err != nil || len(got) != 1 {
			t.Errorf("%s: %v %v", what, got, err)
			continue
		}
		if q := *service.last.Load(); q.Get("service") != c.asks || q.Get("scope") != "repository:a:pull" || strings.Contains(c.headers[0], "account=") && q.Get("account") != "me" {
			t.Errorf("%s: the token service is asked %v", what, q)
		}
		if shown := *service.shown.Load(); (shown != "") != (c.user != "") {
			t.Errorf("%s: the token service is shown %q", what, shown)
		}
		if n := len(s.asked()); n != 2 {
			t.Errorf("%s: %d requests", what, n)
		}
		expired := "another"
		service.accepted.Store(&expired) // a token that is over is asked for anew, once
		if _, err := a.client.tags(t.Context(), "a"); err != nil || service.given.Load() != 2 {
			t.Errorf("%s, expired: %d tokens, %v", what, service.given.Load(), err)
		}
	}
}

func TestClient_GivesUpOnChallengesThatLeadNowhere(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Error("another machine was asked for a token", r.Header)
	}))
	t.Cleanup(elsewhere.Close)
	near := strings.Replace(elsewhere.URL, "127.0.0.1", "127.0.0.2", 1)
	for what, c := range map[string]struct{ header, want string }{
		"no challenge":    {"", "does not accept the credentials"},
		"Basic again":     {`Basic realm="x"`, "does not accept the credentials"},
		"another scheme":  {`Negotiate abc`, "does not accept the credentials"},
		"a realm near by": {`Bearer realm="` + near + `/token"`, "blocked prefix"},
		"a file":          {`Bearer realm="file:///etc/passwd"`, "unsupported scheme"},
	} {
		s := newScript(t)
		s.does(func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("WWW-Authenticate", c.header)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		})
		a := s.account(t, func(c *config.RegistryAccount) { c.Username, c.Password = "u", " p " })
		_, err := a.client.tags(t.Context(), "a")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", what, err)
		}
		var denied *denial
		if errors.As(err, &denied) && !strings.Contains(err.Error(), "white space") {
			t.Errorf("%s: nothing is said of the password's blanks: %v", what, err)
		}
		if n := len(s.asked()); n > 2 {
			t.Errorf("%s: %d requests", what, n)
		}
	}
}

func TestClient_ShowsNothingToWhereItIsSent(t *testing.T) {
	var shown, asked atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Header.Get("Authorization") != "" {
			shown.Add(1)
		}
		_, _ = w.Write([]byte(`{"tags":["1"]}`))
	}))
	t.Cleanup(other.Close)
	s := newScript(t)
	s.does(func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, other.URL+"/x", http.StatusTemporaryRedirect)
		return true
	})
	a := s.account(t, func(c *config.RegistryAccount) { c.Username, c.Password = "u", "p" })
	if _, err := a.client.tags(t.Context(), "a"); err != nil || asked.Load() != 1 || shown.Load() != 0 {
		t.Error(err, asked.Load(), shown.Load())
	}
	for what, target := range map[string]string{"this machine": "http://localhost:1/x", "the metadata service": "http://169.254.169.254/latest", "in another form": "http://[::ffff:169.254.169.254]/latest"} {
		s.does(func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, target, http.StatusFound)
			return true
		})
		if _, err := a.client.tags(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "is near") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestClient_ReadsAllPages(t *testing.T) { // row 5
	all := []string{}
	for i := range 25 {
		all = append(all, fmt.Sprintf("t%02d", i))
	}
	linked := func(format func(path string) []string) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Has("last") {
				return false
			}
			for _, link := range format(r.URL.Path) {
				w.Header().Add("Link", link)
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"tags": all[:10]})
			return true
		}
	}
	const next = `?n=10&last=t09>; rel="next"`
	for what, c := range map[string]struct {
		prefix string
		link   func(url string) func(path string) []string
		want   string // of the error
	}{
		"relative": {"", func(string) func(string) []string { return func(p string) []string { return []string{"<" + p + next} } }, ""},
		"absolute": {"", func(u string) func(string) []string {
			return func(p string) []string { return []string{"<" + u + p + next} }
		}, ""},
		"without n": {"", func(string) func(string) []string {
			return func(p string) []string { return []string{"<" + p + `?last=t09>; rel="next"`} }
		}, ""},
		"without rel": {"", func(string) func(string) []string {
			return func(p string) []string { return []string{"<" + p + `?last=t09>`} }
		}, ""},
		"two headers": {"", func(string) func(string) []string {
			return func(p string) []string { return []string{"<" + p + `>; rel="prev"`, "<" + p + next} }
		}, ""},
		"two in one": {"", func(string) func(string) []string {
			return func(p string) []string { return []string{"<" + p + `>; rel="first", <` + p + next} }
		}, ""},
		"behind a path": {"/some/path", func(string) func(string) []string { return func(p string) []string { return []string{"<" + p + next} } }, ""},
		"absolute behind a path": {"/some/path", func(u string) func(string) []string {
			return func(p string) []string { return []string{"<" + u + p + next} }
		}, ""},
		"that knows of no path": {"/some/path", func(string) func(string) []string {
			return func(string) []string { return []string{"</v2/a/tags/list" + next} }
		}, ""},
		"another host": {"", func(string) func(string) []string {
			return func(p string) []string { return []string{"<http://evil.example" + p + next} }
		}, "not the same origin"},
		"its own host by another scheme and port": {"", func(string) func(string) []string {
			return func(p string) []string { return []string{"<https://127.0.0.1:8443" + p + next} }
		}, ""},
		"in a circle": {"", func(string) func(string) []string {
			return func(p string) []string { return []string{"<" + p + `?n=10>; rel="next"`} }
		}, "go in a circle"},
		"only what comes before it": {"", func(string) func(string) []string {
			return func(p string) []string { return []string{"<" + p + `>; rel="prev"`} }
		}, "ten"},
	} {
		s := newScript(t)
		s.prefix = c.prefix
		s.tags["a"] = all
		s.does(linked(c.link(s.URL)))
		got, err := s.account(t, func(c *config.RegistryAccount) { c.PaginateSize = 10 }).client.tags(t.Context(), "a")
		switch {
		case c.want == "ten":
			if err != nil || len(got) != 10 {
				t.Errorf("%s: %v %v", what, got, err)
			}
		case c.want != "":
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v", what, err)
			}
		case err != nil || !slices.Equal(got, all):
			t.Errorf("%s: %v %v", what, got, err)
		}
	}
	s := newScript(t)
	s.does(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Link", fmt.Sprintf(`</v2/_catalog?last=%d>; rel="next"`, time.Now().UnixNano()))
		_, _ = w.Write([]byte(`{"repositories":[]}`))
		return true
	})
	a := s.account(t, nil)
	r, err := a.client.registry()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Repositories(withPages(t.Context(), 50), "", func([]string) error { return nil }); err == nil || !strings.Contains(err.Error(), "more than 50 pages") {
		t.Error(err)
	}
}

func TestClient_RefusesWhatNoRegistryAnswers(t *testing.T) {
	for what, body := range map[string]string{"html": "<html><body>sign in</body></html>", "nothing": "", "a list": "[1]"} {
		s := newScript(t)
		s.does(func(w http.ResponseWriter, _ *http.Request) bool { _, _ = w.Write([]byte(body)); return true })
		a := s.account(t, nil)
		if _, err := a.client.tags(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "failed to decode") {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := a.client.catalog(t.Context()); err == nil {
			t.Errorf("%s: a catalog", what)
		}
	}
	for what, body := range map[string]string{"no tags": `{"name":"a","tags":null}`, "another name": `{"name":"other","tags":["1",""]}`} {
		s := newScript(t)
		s.does(func(w http.ResponseWriter, _ *http.Request) bool { _, _ = w.Write([]byte(body)); return true })
		if got, err := s.account(t, nil).client.tags(t.Context(), "a"); err != nil || len(got) != strings.Count(body, "1") {
			t.Errorf("%s: %q %v", what, got, err)
		}
	}
	s := newScript(t)
	for _, body := range []string{`{}`, `{"repositories":null}`} { // docker-registry.md 8
		s.does(func(w http.ResponseWriter, _ *http.Request) bool { _, _ = w.Write([]byte(body)); return true })
		if got, err := s.account(t, nil).client.catalog(t.Context()); err != nil || len(got) != 0 {
			t.Errorf("%s: %q %v", body, got, err)
		}
	}
}

func TestClient_ARepositoryOfAMillionTagsInOneAnswer(t *testing.T) {
	s := newScript(t)
	s.does(func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = io.WriteString(w, `{"tags":["first"`)
		for i := range 1_000_000 {
			_, _ = fmt.Fprintf(w, `,"v%d"`, i)
		}
		_, _ = io.WriteString(w, `]}`)
		return true
	})
	if _, err := s.account(t, nil).client.tags(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "more than 1000000 tags") {
		t.Error(err)
	}
}

func TestClient_DigestIsThatOfAPullByTag(t *testing.T) { // row 11
	s := newScript(t)
	want := map[string]string{}
	for tag, mediaType := range map[string]string{"docker": dockerManifest, "oci": ociManifest} {
		want[tag] = s.image("a", mediaType, map[string]string{"commitId": tag}, "2026-01-02T03:04:05Z", tag)
	}
	want["list"] = s.index("a", dockerList, want["docker"], "list")
	want["index"] = s.index("a", ociIndex, want["oci"], "index")
	a := s.account(t, nil)
	for _, refused := range []bool{false, true} {
		if refused {
			s.does(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodHead {
					w.WriteHeader(http.StatusMethodNotAllowed)
				}
				return r.Method == http.MethodHead
			})
		}
		for tag, digest := range want {
			if got, err := a.client.digest(t.Context(), "a", tag); err != nil || got != digest {
				t.Errorf("%s, HEAD refused %v: %s %v", tag, refused, got, err)
			}
		}
	}
	s.does(nil)
	for tag, digest := range want {
		image, err := a.client.image(t.Context(), "a", digest)
		if err != nil || image.Created.Year() != 2026 || image.Labels["commitId"] == "" {
			t.Errorf("%s: %+v %v", tag, image, err)
		}
	}
	if _, err := a.client.digest(t.Context(), "a", "gone"); !errors.Is(err, ErrMissing) {
		t.Error(err)
	}
}

func TestClient_ContentThatIsNotItsDigestIsRefused(t *testing.T) {
	s := newScript(t)
	digest := s.image("a", ociManifest, nil, "", "1")
	s.mu.Lock()
	s.content[digest] = append([]byte(" "), s.content[digest]...)
	s.mu.Unlock()
	a := s.account(t, nil)
	if _, err := a.client.image(t.Context(), "a", digest); err == nil || !strings.Contains(err.Error(), "mismatch") {
		t.Error(err)
	}
}

func TestClient_LeavesARegistryAloneThatAsksForIt(t *testing.T) {
	s := newScript(t)
	s.tags["a"] = []string{"1"}
	s.does(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Retry-After", "100")
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	})
	a := s.account(t, nil)
	if _, err := a.client.tags(t.Context(), "a"); err == nil {
		t.Error("429 is no error")
	}
	s.does(nil)
	s.asked()
	var resting *errResting
	if _, err := a.client.tags(t.Context(), "a"); !errors.As(err, &resting) || time.Until(resting.until) < 90*time.Second {
		t.Error(err)
	}
	if n := len(s.asked()); n != 0 {
		t.Errorf("%d requests", n)
	}
	for text, want := range map[string]time.Duration{"5": 5 * time.Second, "99999": mostRest, "Thu, 01 Jan 1970 00:01:00 GMT": time.Minute} {
		if got, ok := retryAfter(text, time.Unix(0, 0)); !ok || got != want {
			t.Errorf("%s: %s", text, got)
		}
	}
	if _, ok := retryAfter("soon", time.Now()); ok {
		t.Error("soon is no time")
	}
}

func TestClient_ASlowRegistryHasADeadline(t *testing.T) {
	s := newScript(t)
	free := make(chan struct{})
	defer close(free)
	s.does(func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-free:
		case <-r.Context().Done():
		}
		return true
	})
	a := s.account(t, func(c *config.RegistryAccount) { c.ClientTimeoutMillis = 100 })
	if _, err := a.client.tags(t.Context(), "a"); err == nil {
		t.Error("no deadline")
	}
}

func TestClient_APasswordThatIsOverByA403IsReadAgain(t *testing.T) { // as ECR answers
	s := newScript(t)
	s.tags["a"] = []string{"1"}
	s.does(func(w http.ResponseWriter, r *http.Request) bool {
		if _, password, _ := r.BasicAuth(); password == "two" {
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		return true
	})
	path := filepath.Join(t.TempDir(), "p")
	a := s.account(t, func(c *config.RegistryAccount) { c.Username, c.PasswordFile = "AWS", path })
	if err := os.WriteFile(path, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := a.client.tags(t.Context(), "a"); err == nil {
		t.Error("a password that is over is taken")
	}
	if err := os.WriteFile(path, []byte("two"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := a.client.tags(t.Context(), "a"); err != nil {
		t.Error(err)
	}
}

func TestClient_ATokenServiceThatIsNotThereTakesNothingAway(t *testing.T) {
	service := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(service.Close)
	s := newScript(t)
	s.does(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+service.URL+`/token?signed=hush",service="x"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	_, err := s.account(t, nil).client.tags(t.Context(), "a")
	if err == nil || errors.Is(err, ErrMissing) || strings.Contains(err.Error(), "hush") {
		t.Error(err)
	}
}
