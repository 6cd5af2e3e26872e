// Package cluster is one account's Kubernetes client: how to connect, which
// kinds there are, lists and watches as streams of bytes, and errors that say
// what went wrong.
package cluster

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"

	"github.com/datapunchorg/go-clouddriver/pkg/flight"
)

// Options bound what a client does.
type Options struct {
	// RequestTimeout is the deadline of discovery and of one page of a list.
	RequestTimeout time.Duration
	// PingAfter is the silence after which an HTTP/2 connection is pinged; it
	// is dropped when the answer takes more than half as long.
	PingAfter time.Duration
	// WrapTransport, when set, sees every request; for tests and metrics.
	WrapTransport func(http.RoundTripper) http.RoundTripper
	// CacheDir, when set, keeps what clusters serve across restarts, one file
	// per Identity.
	CacheDir string
	// Identity tells apart who is asking which server.
	Identity string
}

// Client talks to one cluster. Watches, and the lists that they begin with, have
// connections of their own, so that nothing else waits behind them: an API server takes
// about 100 streams on one HTTP/2 connection.
type Client struct {
	base      *url.URL
	transport Options
	timeout   time.Duration
	catalog   atomic.Pointer[Catalog]
	disk      *diskCache
	schemas   atomic.Pointer[schemaIndex]
	indexing  flight.Group[struct{}, *schemaIndex]
	discovery flight.Group[struct{}, *Catalog]
	answered  moment // when the server last answered as Kubernetes does
	succeeded moment // and did what it was asked for

	current atomic.Pointer[connections]
	mu      sync.Mutex
	retired []*connections
	closed  bool
}

// userAgent is what audit logs of the cluster show.
const userAgent = "go-clouddriver"

// discoverAtMost is how often a cluster is asked what it serves for callers who
// look for a kind.
const discoverAtMost = time.Second

// New makes a client; nothing is sent yet.
func New(c *rest.Config, o Options) (*Client, error) {
	base, _, err := rest.DefaultServerUrlFor(c)
	if err != nil {
		return nil, &Error{Reason: Invalid, Err: fmt.Errorf("server address %q: %w", c.Host, err)}
	}
	first, err := newConnections(c, o)
	if err != nil {
		return nil, err
	}
	out := &Client{base: base, transport: o, timeout: o.RequestTimeout, discovery: flight.Group[struct{}, *Catalog]{Every: discoverAtMost}}
	out.current.Store(first)
	if o.CacheDir != "" && o.Identity != "" {
		out.disk = newDiskCache(o.CacheDir, o.Identity)
	}
	return out, nil
}

// Rotate uses other credentials for the same server from now on. Watches that
// are open go on with the old ones until they end by themselves.
func (c *Client) Rotate(to *rest.Config) error {
	next, err := newConnections(to, c.transport)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		next.close()
		return nil
	}
	old := c.current.Swap(next)
	c.retired = append(c.retired, old)
	time.AfterFunc(retireAfter, func() { c.retire(old) })
	return nil
}

// retireAfter is longer than a watch lasts.
const retireAfter = 15 * time.Minute

func (c *Client) retire(old *connections) {
	old.close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retired = slices.DeleteFunc(c.retired, func(r *connections) bool { return r == old })
}

// Close ends every connection, those of running requests too.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.current.Load().close()
	for _, old := range c.retired {
		old.close()
	}
	c.retired = nil
}

// Answered is when the server last answered as Kubernetes does, be it a refusal;
// the zero time for never. A load balancer without its backend, and an API server
// without its database, do not count.
func (c *Client) Answered() time.Time { return c.answered.at() }

// Succeeded is when it last did what it was asked for.
func (c *Client) Succeeded() time.Time { return c.succeeded.at() }

// took takes note of an answer, by the error that was made of it.
func (c *Client) took(err error) error {
	if err == nil {
		c.succeeded.now()
	}
	if err == nil || ReasonOf(err) != Unavailable {
		c.answered.now()
	}
	return err
}

type onWatches struct{}

// OnWatchConnection has small requests sent where the watches are.
func OnWatchConnection(ctx context.Context) context.Context {
	return context.WithValue(ctx, onWatches{}, true)
}

func (c *Client) do(req *http.Request, watching bool) (*http.Response, error) {
	at := c.current.Load()
	client := at.requests
	if watching || req.Context().Value(onWatches{}) != nil {
		client = at.watches
	}
	res, err := client.Do(req) //nolint:gosec // to the account's own server, by a path that is checked
	if err != nil {
		return nil, &Error{Reason: Unavailable, Err: err}
	}
	return res, nil
}

// Open sends a GET and returns the body once the server has said yes. The
// body lasts as long as the context. watching chooses the connections.
func (c *Client) Open(ctx context.Context, path string, query url.Values, watching bool) (io.ReadCloser, error) {
	return c.open(ctx, path, query, watching, "application/json")
}

// Metadata is a client that gets only the metadata of objects.
type Metadata struct{ *Client }

// Open is like Client's.
func (m Metadata) Open(ctx context.Context, path string, query url.Values, watching bool) (io.ReadCloser, error) {
	as := "PartialObjectMetadataList"
	if query.Get("watch") != "" { // whatever connection it goes on
		as = "PartialObjectMetadata"
	}
	return m.open(ctx, path, query, watching, metadataOf(as))
}

func (c *Client) open(ctx context.Context, path string, query url.Values, watching bool, accept string) (io.ReadCloser, error) {
	u := *c.base
	u.Path = strings.TrimSuffix(u.Path, "/") + path
	u.RawQuery = query.Encode()
	// The body lasts longer than the answer may be waited for.
	ctx, cancel := context.WithCancelCause(ctx)
	late := time.AfterFunc(c.timeout, func() {
		cancel(fmt.Errorf("the server has not answered within %s", c.timeout))
	})
	defer late.Stop()
	var line atomic.Pointer[connection]
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { line.Store(connectionOf(info.Conn)) },
	}), http.MethodGet, u.String(), nil)
	if err != nil {
		cancel(nil)
		return nil, &Error{Reason: Invalid, Err: err}
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", userAgent)
	res, err := c.do(req, watching)
	if err == nil {
		err = c.took(answered(res))
	}
	if err == nil && !late.Stop() {
		err = &Error{Reason: Unavailable, Err: context.Cause(ctx)}
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && Is(err, Unavailable) {
			err = &Error{Reason: Unavailable, Err: cause}
		}
		if res != nil {
			_ = res.Body.Close()
		}
		cancel(nil)
		return nil, err
	}
	return &Body{ReadCloser: res.Body, end: func() { cancel(nil) }, line: line.Load(), pinged: res.ProtoMajor > 1, client: c}, nil
}

// Body is what a server sends for as long as it is read.
type Body struct {
	io.ReadCloser
	end    func()
	line   *connection
	pinged bool
	client *Client
}

func (b *Body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.client.answered.now()
	}
	return n, err
}

// Close ends the request.
func (b *Body) Close() error {
	err := b.ReadCloser.Close()
	b.end()
	return err
}

// Heard is when its connection last brought anything, answers to pings
// included; ok is false where nobody pings, so that silence means nothing.
func (b *Body) Heard() (at time.Time, ok bool) {
	if b.line == nil || !b.pinged {
		return time.Time{}, false
	}
	return b.line.heard.at(), true
}
