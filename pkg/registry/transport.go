package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

const api = "/v2/"

// transport mends what registries do that the library does not expect: a path
// before the API, challenges with other codes and in other company, several links,
// and tokens under Java's name for them.
type transport struct {
	base *url.URL // the address
	next http.RoundTripper
	// refused is told when the registry, or its token service, did not take the
	// credentials.
	refused func()
	rest    rest
}

// errResting is returned while a registry wants to be left alone.
type errResting struct{ until time.Time }

func (e *errResting) Error() string {
	return fmt.Sprintf("the registry limits requests: it is asked again at %s", e.until.UTC().Format(time.RFC3339))
}

// RoundTrip sends one request.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := t.rest.err(); err != nil {
		return nil, err
	}
	token := t.token(req)
	ours := !token && t.ours(req.URL)
	sent := req.Clone(req.Context())
	if ours {
		sent.URL = t.prefixed(req.URL)
	}
	pages, _ := req.Context().Value(pagesKey{}).(*pages)
	if ours && pages != nil {
		if err := pages.begin(sent.URL); err != nil {
			return nil, err
		}
	}
	res, err := t.next.RoundTrip(sent)
	if err != nil {
		return nil, err
	}
	switch {
	case ours:
		t.mend(res)
		if pages != nil && res.StatusCode == http.StatusOK {
			pages.end(sent.URL)
		}
	case token:
		if err := mendToken(res); err != nil {
			return nil, err
		}
	}
	if (res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden) && (token || sent.Header.Get("Authorization") != "") {
		t.refused()
	}
	t.rest.heed(res)
	return res, nil
}

// token says whether a request is one for a token: nobody was redirected to it, and
// it is not of the API, or asks for what only token services know.
func (t *transport) token(req *http.Request) bool {
	query := req.URL.Query()
	return req.Response == nil && (!t.ours(req.URL) || query.Has("scope") || query.Has("service"))
}

// ours says whether a URL is one of the registry's API.
func (t *transport) ours(u *url.URL) bool {
	return u.Scheme == t.base.Scheme && strings.EqualFold(u.Host, t.base.Host) && (strings.HasPrefix(u.Path, api) || strings.HasPrefix(u.Path, t.base.Path+api))
}

// prefixed is the URL with the path of the address before it. A link or redirect of
// the registry may have it already.
func (t *transport) prefixed(u *url.URL) *url.URL {
	out := *u
	out.Host = t.base.Host
	if t.base.Path != "" && !strings.HasPrefix(u.Path, t.base.Path+api) {
		out.Path, out.RawPath = t.base.Path+u.Path, ""
	}
	return &out
}

// mend makes an answer one that the library understands.
func (t *transport) mend(res *http.Response) {
	challenges := res.Header.Values("WWW-Authenticate")
	if res.StatusCode == http.StatusBadRequest && len(challenges) > 0 {
		res.StatusCode = http.StatusUnauthorized
	}
	if len(challenges) > 0 {
		res.Header.Set("WWW-Authenticate", challenge(challenges))
	}
	if links := res.Header.Values("Link"); len(links) > 0 {
		if next := nextLink(links); next != "" {
			res.Header.Set("Link", "<"+t.here(next)+`>; rel="next"`)
		} else {
			res.Header.Del("Link")
		}
	}
}

// here is a link without its scheme and host where they are the registry's: one
// behind a proxy writes http where it is reached by https.
func (t *transport) here(link string) string {
	u, err := url.Parse(link)
	if err != nil || !strings.EqualFold(u.Hostname(), t.base.Hostname()) {
		return link
	}
	u.Scheme, u.Host, u.User = "", "", nil
	return u.String()
}

// challenge is the one of several that is answered: Bearer before Basic.
func challenge(all []string) string {
	joined := strings.Join(all, ", ")
	for _, scheme := range []string{"bearer", "basic"} {
		if at := schemeIn(joined, scheme); at >= 0 {
			return joined[at:]
		}
	}
	return joined
}

// schemeIn finds where a scheme begins, which is outside of quotes, -1 for nowhere.
func schemeIn(text, scheme string) int {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && quoted:
			i++
		case text[i] == '"':
			quoted = !quoted
		case quoted || !begins(text, i, scheme):
		default:
			return i
		}
	}
	return -1
}

func begins(text string, at int, scheme string) bool {
	end := at + len(scheme)
	if end > len(text) || !strings.EqualFold(text[at:end], scheme) {
		return false
	}
	before := strings.TrimRight(text[:at], " \t")
	return (before == "" || strings.HasSuffix(before, ",")) && (end == len(text) || text[end] == ' ')
}

// nextLink is the target of the next page, "" for none.
func nextLink(headers []string) string {
	for _, header := range headers {
		for header != "" {
			_, rest, ok := strings.Cut(header, "<")
			if !ok {
				break
			}
			target, rest, ok := strings.Cut(rest, ">")
			if !ok {
				break
			}
			parameters, rest, _ := strings.Cut(rest, "<")
			if isNext(parameters) {
				return target
			}
			header = ""
			if rest != "" {
				header = "<" + rest
			}
		}
	}
	return ""
}

// isNext reads what stands behind a link. One that says nothing is the next page,
// too: that is all that registries have links for.
func isNext(parameters string) bool {
	said := false
	for parameter := range strings.FieldsFuncSeq(parameters, func(r rune) bool { return r == ';' || r == ',' }) {
		name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
		if !strings.EqualFold(strings.TrimSpace(name), "rel") {
			continue
		}
		said = true
		if strings.EqualFold(strings.Trim(strings.TrimSpace(value), `"`), "next") {
			return true
		}
	}
	return !said
}

// mostToken bounds the answer of a token service.
const mostToken = 128 << 10

// mendToken lets the library find a token that is called bearer_token.
func mendToken(res *http.Response) error {
	if res.StatusCode != http.StatusOK || res.Request.Method != http.MethodGet {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, mostToken))
	_ = res.Body.Close()
	if err != nil {
		return err
	}
	var answer struct {
		Token string `json:"bearer_token"`
	}
	if json.Unmarshal(body, &answer) == nil && answer.Token != "" {
		body, err = json.Marshal(map[string]string{"token": answer.Token})
		if err != nil {
			return err
		}
	}
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return nil
}

// rest is a time in which nothing is asked.
type rest struct {
	mu    sync.Mutex
	until time.Time
}

// The bounds of what a registry may ask for.
const (
	leastRest = time.Second
	mostRest  = time.Hour
)

func (r *rest) err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Now().Before(r.until) {
		return &errResting{r.until}
	}
	return nil
}

// heed takes note of what an answer says of later.
func (r *rest) heed(res *http.Response) {
	if res.StatusCode != http.StatusTooManyRequests && res.StatusCode != http.StatusServiceUnavailable {
		return
	}
	pause, ok := retryAfter(res.Header.Get("Retry-After"), time.Now())
	if !ok {
		if res.StatusCode != http.StatusTooManyRequests {
			return
		}
		pause = time.Minute
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.until = time.Now().Add(min(max(pause, leastRest), mostRest))
}

func retryAfter(text string, now time.Time) (time.Duration, bool) {
	if seconds, err := strconv.Atoi(text); err == nil && seconds >= 0 {
		return time.Duration(min(seconds, int(mostRest/time.Second))) * time.Second, true
	}
	at, err := http.ParseTime(text)
	return at.Sub(now), err == nil
}

// pages are those of one list. Each is asked for once.
type pages struct {
	most int
	mu   sync.Mutex
	had  map[string]bool
}

type pagesKey struct{}

var errLoop = errors.New("its pages go in a circle")

func withPages(ctx context.Context, most int) context.Context {
	return context.WithValue(ctx, pagesKey{}, &pages{most: most, had: map[string]bool{}})
}

func (p *pages) begin(u *url.URL) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.had[u.String()]:
		return errLoop
	case len(p.had) >= p.most:
		return fmt.Errorf("it has more than %d pages", p.most)
	}
	return nil
}

func (p *pages) end(u *url.URL) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.had[u.String()] = true
}
