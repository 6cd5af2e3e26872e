package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/outgoing"
)

const (
	connectWithin = 10 * time.Second
	// answerWithin is how long a server may take to begin its answer, and
	// silentFor how long it may pause in it.
	answerWithin = 30 * time.Second
	silentFor    = 30 * time.Second
	mostHops     = 10
)

// statusError is an answer that is none.
type statusError struct {
	code int
	host string
}

// Error is Java's text.
func (e *statusError) Error() string {
	return fmt.Sprintf("Received %d status code from %s", e.code, e.host)
}

// web asks web servers. It follows redirects itself: each hop is checked like the
// first one, and what an account shows of itself is for the first host only.
type web struct {
	rules *restrictions
	// own is the host that the configuration names, "" where references do.
	own, scheme string
	http        *http.Client
}

// newWeb makes one. own is the address of the configuration, which may be anywhere.
func newWeb(rules *restrictions, own string) *web {
	w := &web{rules: rules}
	if u, err := url.Parse(own); err == nil {
		w.own, w.scheme = u.Host, u.Scheme
	}
	w.http = outgoing.Client(&http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: w.dial, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: connectWithin, ResponseHeaderTimeout: answerWithin, IdleConnTimeout: time.Minute,
		MaxIdleConnsPerHost: 4, DisableCompression: true,
	}, 0)
	return w
}

// rulesKey is where a request has its rules when its client is everybody's.
type rulesKey struct{}

// dial connects where the rules let it, by the address that it really is. The
// host of the configuration, and a proxy of the environment, may be anywhere.
func (w *web) dial(ctx context.Context, network, address string) (net.Conn, error) {
	rules := w.rules
	if of, ok := ctx.Value(rulesKey{}).(*restrictions); ok {
		rules = of
	}
	if rules == nil || w.trusted(address) {
		return outgoing.Dialer(connectWithin, nil).DialContext(ctx, network, address)
	}
	dialer := outgoing.Dialer(connectWithin, rules.connects)
	dialer.Resolver = rules.names
	return dialer.DialContext(ctx, network, address)
}

func (w *web) trusted(address string) bool {
	return w.own != "" && outgoing.SameHost(address, w.own) || outgoing.IsProxy(address)
}

// answer is what a server has sent.
type answer struct {
	Content
	header http.Header
	// same says that it is still the version that was asked about.
	same bool
}

const ifNoneMatch = "If-None-Match"

// fresh is a reference for the cache: asked about, where its version is known.
func (w *web) fresh(reference string, show http.Header) func(ctx context.Context, etag string) (fetched, error) {
	return func(ctx context.Context, etag string) (fetched, error) {
		header := show.Clone()
		if etag != "" {
			header.Set(ifNoneMatch, etag)
		}
		got, err := w.get(ctx, reference, header)
		if err != nil {
			return fetched{}, err
		}
		return fetched{got.Content, got.header.Get("Etag"), got.same}, nil
	}
}

// get asks for a reference with what the account shows of itself.
func (w *web) get(ctx context.Context, reference string, show http.Header) (*answer, error) {
	u, err := w.allowed(ctx, reference)
	if err != nil {
		return nil, err
	}
	first := u
	for range mostHops + 1 {
		header := show.Clone()
		if !strings.EqualFold(u.Host, first.Host) || first.Scheme == "https" && u.Scheme != "https" {
			header = http.Header{}
		}
		res, stalled, err := w.once(ctx, u, header) //nolint:bodyclose // stalled closes it
		if err != nil {
			return nil, err
		}
		if res.StatusCode < http.StatusMultipleChoices {
			return &answer{Content: Content{stalled, res.ContentLength}, header: res.Header}, nil
		}
		_ = stalled.Close()
		if res.StatusCode == http.StatusNotModified && header.Get(ifNoneMatch) != "" {
			return &answer{header: res.Header, same: true}, nil
		}
		if res.StatusCode >= http.StatusBadRequest || res.StatusCode == http.StatusNotModified {
			return nil, &statusError{res.StatusCode, u.Host}
		}
		location := res.Header.Get("Location")
		if location == "" {
			return nil, fmt.Errorf("%s redirects nowhere: status code %d without a Location", u.Host, res.StatusCode)
		}
		next, err := u.Parse(location)
		if err != nil {
			return nil, fmt.Errorf("%s redirects to what is no address", u.Host)
		}
		if u, err = w.allowed(ctx, next.String()); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("more than %d redirects from %s", mostHops, first.Host)
}

// allowed checks where a request goes. The host of the configuration is not asked
// about.
func (w *web) allowed(ctx context.Context, reference string) (*url.URL, error) {
	if w.ownAddress(reference) {
		return url.Parse(reference)
	}
	return w.rules.check(ctx, reference)
}

// ownAddress says whether an address is on the host of the configuration.
func (w *web) ownAddress(reference string) bool {
	u, err := url.Parse(reference)
	return err == nil && w.own != "" && strings.EqualFold(u.Host, w.own) && u.Scheme == w.scheme
}

// once sends one request. The body ends with an error when nothing comes for too
// long, and gives the connection up when it is closed.
func (w *web) once(ctx context.Context, u *url.URL, header http.Header) (*http.Response, io.ReadCloser, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		cancel(nil)
		return nil, nil, refused("Malformed URL (check artifact references): %s", withoutSecrets(u.String()))
	}
	for name, values := range header {
		req.Header[name] = values
	}
	res, err := w.http.Do(req)
	if err != nil {
		cancel(nil)
		return nil, nil, plain(err)
	}
	return res, newGuard(res.Body, cancel), nil
}

// plain takes the address, which may hold a secret, out of an error; a refusal of
// the rules is what it is.
func plain(err error) error {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	var of *url.Error
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}

var errSilent = errors.New("the server sends nothing any more")

// guard ends an answer that has stopped coming.
type guard struct {
	io.ReadCloser
	end   context.CancelCauseFunc
	timer *time.Timer
}

func newGuard(body io.ReadCloser, end context.CancelCauseFunc) *guard {
	g := &guard{body, end, time.AfterFunc(silentFor, func() { end(errSilent) })}
	g.timer.Stop() // it runs while something is waited for
	return g
}

func (g *guard) Read(into []byte) (int, error) {
	g.timer.Reset(silentFor)
	n, err := g.ReadCloser.Read(into)
	g.timer.Stop() // whoever reads slowly is not the server's fault
	return n, err
}

func (g *guard) Close() error {
	g.timer.Stop()
	g.end(nil)
	return g.ReadCloser.Close()
}
