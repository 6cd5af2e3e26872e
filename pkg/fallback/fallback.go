// Package fallback asks another Clouddriver, usually Java's, which has the
// accounts and providers that this one has not.
package fallback

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options say how patient a Fallback is.
type Options struct {
	// Timeout is the deadline of a request that is handed over, ListTimeout
	// that of a part of a list that both serve.
	Timeout, ListTimeout time.Duration
	Log                  *slog.Logger
}

// Fallback is one other Clouddriver.
type Fallback struct {
	Options
	base  *url.URL
	proxy *httputil.ReverseProxy
	http  *http.Client

	mu sync.Mutex
	// rested is when lists may ask again after a failure; zero while it is well.
	rested time.Time
}

// rest is how long lists go without the other after a failure, so that one that
// does not answer delays one request and not each.
const rest = 5 * time.Second

// most bounds an answer that is merged with ours.
const most = 64 << 20

// via marks what we have handed over, so that two that point at each other do
// not pass a request on for ever.
const via = "1.1 go-clouddriver"

// ErrResting is returned while the other is left alone after a failure.
var ErrResting = errors.New("it failed a moment ago")

// New makes a Fallback; base is an http or https address.
func New(base string, o Options) (*Fallback, error) {
	to, err := url.Parse(strings.TrimSuffix(base, "/"))
	if err != nil {
		return nil, err
	}
	const connect = 3 * time.Second
	transport := &http.Transport{
		Proxy:       http.ProxyFromEnvironment,
		DialContext: (&net.Dialer{Timeout: connect}).DialContext, TLSHandshakeTimeout: connect,
		MaxIdleConns: 100, MaxIdleConnsPerHost: 100, IdleConnTimeout: time.Minute,
	}
	f := &Fallback{Options: o, base: to, http: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	f.proxy = &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL = f.target(p.In)
			p.Out.Host = ""
			p.Out.Header.Add("Via", via)
		},
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, err error) {
			fail, _ := r.Context().Value(failKey{}).(func(error))
			fail(fmt.Errorf("the fallback %s does not answer: %w", f.base.Redacted(), err))
		},
		ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	return f, nil
}

// Passed says whether a request has come through a Fallback before.
func Passed(r *http.Request) bool {
	for _, v := range r.Header.Values("Via") {
		if strings.Contains(v, via) {
			return true
		}
	}
	return false
}

// target is the request's address at the other, its path as it was sent.
func (f *Fallback) target(r *http.Request) *url.URL {
	to := *f.base
	to.RawPath = f.base.EscapedPath() + r.URL.EscapedPath()
	to.Path = f.base.Path + r.URL.Path
	to.RawQuery = r.URL.RawQuery
	return &to
}

type failKey struct{}

// HandOver hands a request over, and its answer back. fail answers one that
// could not be.
func (f *Fallback) HandOver(w http.ResponseWriter, r *http.Request, fail func(error)) {
	ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), failKey{}, fail), f.Timeout)
	defer cancel()
	// The service's own deadline of an answer may be shorter.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(f.Timeout + 10*time.Second))
	f.proxy.ServeHTTP(w, r.WithContext(ctx))
}

// List asks the same as a GET request and returns the answer's status and body.
// After a failure it returns ErrResting for some seconds.
func (f *Fallback) List(r *http.Request) (status int, body []byte, err error) {
	if err := f.mayAsk(); err != nil {
		return 0, nil, err
	}
	status, body, err = f.ask(r)
	if r.Context().Err() == nil { // else the caller has gone
		f.note(err)
	}
	return status, body, err
}

func (f *Fallback) ask(r *http.Request) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(r.Context(), f.ListTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.target(r).String(), nil) //nolint:gosec // the host is the operator's, whatever the path
	if err != nil {
		return 0, nil, err
	}
	for name, values := range r.Header {
		switch name {
		case "Accept-Encoding", "If-None-Match", "Connection", "Content-Length", "Content-Type":
		default:
			req.Header[name] = slices.Clone(values)
		}
	}
	req.Header.Add("Via", via)
	res, err := f.http.Do(req) //nolint:gosec // as above
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, most+1))
	if err == nil && len(body) > most {
		err = fmt.Errorf("its answer is larger than %d bytes", most)
	}
	return res.StatusCode, body, err
}

func (f *Fallback) mayAsk() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); now.Before(f.rested) {
		return ErrResting
	} else if !f.rested.IsZero() {
		f.rested = now.Add(rest) // one asks, the others wait for what it finds
	}
	return nil
}

func (f *Fallback) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err == nil && !f.rested.IsZero():
		f.rested = time.Time{}
		f.Log.Info("the fallback answers again", "fallback", f.base.Redacted())
	case err != nil:
		if f.rested.IsZero() {
			f.Log.Warn("the fallback does not answer; lists go without it", "fallback", f.base.Redacted(), "error", err)
		}
		f.rested = time.Now().Add(rest)
	}
}

// Down says whether the last list went without the other.
func (f *Fallback) Down() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.rested.IsZero()
}
