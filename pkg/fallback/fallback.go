// Package fallback asks another Clouddriver, usually Java's, which has the
// accounts and providers that this one has not.
package fallback

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/budget"
	"github.com/datapunchorg/go-clouddriver/pkg/outgoing"
)

// Options say how patient a Fallback is.
type Options struct {
	// Timeout is the deadline of a request that is handed over, ListTimeout
	// that of a part of a list that both serve.
	Timeout, ListTimeout time.Duration
	// MaxInFlight is how many requests are handed over at once, and how many
	// parts of lists are asked for at once.
	MaxInFlight int
	// Memory is what answers take while they are joined, beside what requests take.
	Memory *budget.Budget
	Log    *slog.Logger
}

// Fallback is one other Clouddriver.
type Fallback struct {
	Options
	base        *url.URL
	proxy       *httputil.ReverseProxy
	http        *http.Client
	over, lists chan struct{}

	mu     sync.Mutex
	routes map[string]*route
	parts  map[string]keptPart // of lists that are kept
}

// route is how the other was when it was last asked for a list.
type route struct {
	// down lists go without it until rested, when one asks again. generation
	// tells answers to that one from those to questions of before.
	down       bool
	rested     time.Time
	generation int
	// failing also says that it answers with failures.
	failing bool
}

// rest is how long a list goes without the other after a failure, so that one
// that does not answer delays one request and not each.
const rest = 5 * time.Second

// most bounds an answer that is merged with ours.
const most = 64 << 20

// via marks what we have handed over, so that two that point at each other do
// not pass a request on for ever.
const via = "1.1 go-clouddriver"

// Errors of requests that were not sent.
var (
	ErrResting = errors.New("the fallback failed a moment ago")
	ErrBusy    = errors.New("too many requests wait for the fallback")
	ErrMethod  = errors.New("requests of this method are not handed over")
)

// handedOver are the methods of the API.
var handedOver = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

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
		MaxConnsPerHost: 2 * o.MaxInFlight, MaxIdleConns: 100, MaxIdleConnsPerHost: 100, IdleConnTimeout: time.Minute,
	}
	f := &Fallback{
		Options: o, base: to, over: make(chan struct{}, o.MaxInFlight), lists: make(chan struct{}, o.MaxInFlight), routes: map[string]*route{}, parts: map[string]keptPart{},
		http: outgoing.Client(transport, 0),
	}
	f.proxy = &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL = f.target(p.In)
			p.Out.Host = ""
			p.Out.Header.Add("Via", via)
			// A connection that becomes something else would be one past everything
			// that is decided here.
			p.Out.Header.Del("Connection")
			p.Out.Header.Del("Upgrade")
			// Who stands in front of us is no secret to the other.
			for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
				if values := p.In.Header.Values(name); len(values) > 0 {
					p.Out.Header[name] = values
				}
			}
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
	select {
	case f.over <- struct{}{}:
		defer func() { <-f.over }()
	default:
		fail(ErrBusy)
		return
	}
	if !slices.Contains(handedOver, r.Method) {
		fail(fmt.Errorf("%w: %s", ErrMethod, r.Method))
		return
	}
	ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), failKey{}, fail), f.Timeout)
	defer cancel()
	// The service's own deadline of an answer may be shorter.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(f.Timeout + 10*time.Second))
	f.proxy.ServeHTTP(w, r.WithContext(ctx))
}

// Answer is the other's part of a list.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte

	free func()
}

// Release gives back the memory that the answer takes.
func (a Answer) Release() {
	if a.free != nil {
		a.free()
	}
}

// List asks the same as a GET request. What is asked for goes on when the
// caller goes, and tells how the other is. After a failure of a route, by the
// name that the caller gives it, List returns ErrResting for some seconds.
func (f *Fallback) List(r *http.Request, name string) (Answer, error) {
	select {
	case f.lists <- struct{}{}:
	default:
		return Answer{}, ErrBusy
	}
	free := func() { <-f.lists }
	generation, err := f.begin(name)
	if err != nil {
		free()
		return Answer{}, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), f.ListTimeout)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.target(r).String(), nil)
	if err != nil {
		cancel()
		free()
		return Answer{}, err
	}
	req.Header = passedOn(r.Header)
	type result struct {
		answer Answer
		err    error
	}
	done := make(chan result, 1)
	go func() {
		defer free()
		defer cancel()
		a, err := f.ask(req)
		f.end(name, generation, a.Status, err)
		done <- result{a, err}
	}()
	select {
	case r := <-done:
		return r.answer, r.err
	case <-r.Context().Done():
		go func() { (<-done).answer.Release() }() // it comes within its deadline
		return Answer{}, r.Context().Err()
	}
}

// passedOn are a request's headers without those that are between two hosts
// only, and without conditions: the whole answer is needed.
func passedOn(header http.Header) http.Header {
	out := header.Clone()
	for _, named := range header.Values("Connection") {
		for name := range strings.SplitSeq(named, ",") {
			out.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range []string{
		"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
		"Accept-Encoding", "Content-Length", "Content-Type", "Expect", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since", "Range",
	} {
		out.Del(name)
	}
	out.Add("Via", via)
	return out
}

func (f *Fallback) ask(req *http.Request) (Answer, error) {
	res, err := f.http.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	body, free, err := f.Memory.ReadAll(res.Body, most, nil)
	if err != nil {
		err = fmt.Errorf("its answer: %w", err)
	}
	return Answer{Status: res.StatusCode, Header: res.Header, Body: body, free: free}, err
}

func (f *Fallback) begin(name string) (generation int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.routes[name]
	if r == nil {
		r = &route{}
		f.routes[name] = r
	}
	if r.down {
		now := time.Now()
		if now.Before(r.rested) {
			return 0, ErrResting
		}
		r.rested = now.Add(f.ListTimeout + rest) // one asks, the others wait for what it finds
	}
	return r.generation, nil
}

func (f *Fallback) end(name string, generation, status int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.routes[name]
	switch {
	case err != nil:
		if !r.down {
			f.Log.Warn("the fallback does not answer; a list goes without it", "fallback", f.base.Redacted(), "list", name, "error", err)
		}
		r.down, r.failing, r.rested = true, true, time.Now().Add(rest)
		r.generation++
	case generation == r.generation:
		if r.down {
			f.Log.Info("the fallback answers again", "fallback", f.base.Redacted(), "list", name)
		}
		r.down, r.failing = false, status >= http.StatusInternalServerError
	}
}

// Down says whether a list went without the other when it was last asked for.
func (f *Fallback) Down() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.routes {
		if r.failing {
			return true
		}
	}
	return false
}

// keptFor is how long parts of lists are shown while the other does not answer.
const keptFor = time.Hour

type keptPart struct {
	body []byte
	at   time.Time
}

// Combine makes one body of ours, nil for none, and the other's part, which may
// be an error; nil where nobody has anything. With an error it is what we have
// ourselves, or have known of the other.
func (f *Fallback) Combine(j *Join, q Question, mine []byte, part Answer, err error) (body []byte, failed error) {
	if err == nil && part.Status == http.StatusOK {
		var theirs []byte
		if theirs, err = q.visible(j, part.Body); err == nil {
			body, err = j.Merge(q, mine, theirs)
		}
		if err == nil {
			f.keep(j, q, part.Body)
			return body, nil
		}
	}
	if err == nil && part.Status == http.StatusNotFound {
		return mine, nil
	}
	if err == nil {
		err = fmt.Errorf("it answers with status %d", part.Status)
	}
	if kept := f.kept(j, q); kept != nil {
		theirs, merging := q.visible(j, kept)
		if merging == nil {
			body, merging = j.Merge(q, mine, theirs)
		}
		if merging == nil {
			return body, err
		}
	}
	return mine, err
}

func (f *Fallback) keep(j *Join, q Question, body []byte) {
	if j.Keep == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.parts[j.Keep(q)] = keptPart{body, time.Now()}
}

func (f *Fallback) kept(j *Join, q Question) []byte {
	if j.Keep == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if part, ok := f.parts[j.Keep(q)]; ok && time.Since(part.at) < keptFor {
		return part.body
	}
	return nil
}
