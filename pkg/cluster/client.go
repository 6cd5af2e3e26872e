// Package cluster is one account's Kubernetes client: how to connect, which
// kinds there are, lists and watches as streams of bytes, and errors that say
// what went wrong.
package cluster

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
	"k8s.io/client-go/util/connrotation"
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

// Client talks to one cluster. Watches have connections of their own, so that
// a long list never waits behind them: an API server takes about 100 streams
// on one HTTP/2 connection.
type Client struct {
	base     *url.URL
	requests *http.Client
	watches  *http.Client
	close    func()
	timeout  time.Duration
	catalog  atomic.Pointer[Catalog]
	disk     *diskCache
}

const (
	dialTimeout = 5 * time.Second
	tlsTimeout  = 5 * time.Second
	// idleTimeout is short since net/http remembers a closed HTTP/2 connection
	// for as long, and between two discoveries there is nothing to reuse.
	idleTimeout = 10 * time.Second
	// userAgent is what audit logs of the cluster show.
	userAgent = "go-clouddriver"
)

// New makes a client; nothing is sent yet.
func New(c *rest.Config, o Options) (*Client, error) {
	base, _, err := rest.DefaultServerUrlFor(c)
	if err != nil {
		return nil, &Error{Reason: Invalid, Err: fmt.Errorf("server address %q: %w", c.Host, err)}
	}
	requests, closeRequests, err := newTransport(c, o)
	if err != nil {
		return nil, err
	}
	watches, closeWatches, err := newTransport(c, o)
	if err != nil {
		return nil, err
	}
	out := &Client{
		base:     base,
		requests: &http.Client{Transport: requests},
		watches:  &http.Client{Transport: watches},
		timeout:  o.RequestTimeout,
		close:    func() { closeRequests(); closeWatches() },
	}
	if o.CacheDir != "" && o.Identity != "" {
		out.disk = newDiskCache(o.CacheDir, o.Identity)
	}
	return out, nil
}

// Close ends every connection, those of running requests too.
func (c *Client) Close() { c.close() }

func newTransport(c *rest.Config, o Options) (http.RoundTripper, func(), error) {
	settings, err := c.TransportConfig()
	if err != nil {
		return nil, nil, &Error{Reason: Invalid, Err: fmt.Errorf("credentials: %w", err)}
	}
	tlsConfig, err := transport.TLSConfigFor(settings)
	if err != nil {
		return nil, nil, &Error{Reason: Invalid, Err: fmt.Errorf("certificates: %w", err)}
	}
	dial := (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext
	if settings.DialHolder != nil && settings.DialHolder.Dial != nil {
		dial = settings.DialHolder.Dial // an exec plugin's, which closes connections when its certificate turns
	}
	connections := connrotation.NewDialer(dial)
	proxy := http.ProxyFromEnvironment
	if settings.Proxy != nil {
		proxy = settings.Proxy
	}
	base := &http.Transport{
		Proxy:                 proxy,
		DialContext:           connections.DialContext,
		TLSClientConfig:       tlsConfig,
		TLSHandshakeTimeout:   tlsTimeout,
		ResponseHeaderTimeout: o.RequestTimeout,
		IdleConnTimeout:       idleTimeout,
		MaxIdleConnsPerHost:   25,
		ForceAttemptHTTP2:     true,
		// The server would spend more time on compressing a list than a local
		// network on carrying it.
		DisableCompression: true,
		HTTP2:              &http.HTTP2Config{SendPingTimeout: o.PingAfter, PingTimeout: max(o.PingAfter/2, time.Second)},
	}
	wrapped, err := transport.HTTPWrappersForConfig(settings, base)
	if err != nil {
		return nil, nil, &Error{Reason: Invalid, Err: fmt.Errorf("credentials: %w", err)}
	}
	if c.ExecProvider != nil {
		wrapped = abandoning{wrapped}
	}
	if o.WrapTransport != nil {
		wrapped = o.WrapTransport(wrapped)
	}
	// Closing only the idle ones would leave those whose last stream is just
	// being cancelled, each with its goroutines.
	return wrapped, func() { base.CloseIdleConnections(); connections.CloseAll() }, nil
}

// abandoning leaves a request when its context is over: a credential plugin that
// hangs does not look at it.
type abandoning struct{ next http.RoundTripper }

func (a abandoning) RoundTrip(r *http.Request) (*http.Response, error) {
	type answer struct {
		res *http.Response
		err error
	}
	answered := make(chan answer, 1)
	go func() {
		res, err := a.next.RoundTrip(r) //nolint:bodyclose // whoever takes the answer closes it
		answered <- answer{res, err}
	}()
	select {
	case got := <-answered:
		return got.res, got.err
	case <-r.Context().Done():
		go func() {
			if late := <-answered; late.err == nil {
				_ = late.res.Body.Close()
			}
		}()
		return nil, r.Context().Err()
	}
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
	if watching {
		as = "PartialObjectMetadata"
	}
	return m.open(ctx, path, query, watching, "application/json;as="+as+";g=meta.k8s.io;v=v1")
}

func (c *Client) open(ctx context.Context, path string, query url.Values, watching bool, accept string) (io.ReadCloser, error) {
	u := *c.base
	u.Path = strings.TrimSuffix(u.Path, "/") + path
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, &Error{Reason: Invalid, Err: err}
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", userAgent)
	client := c.requests
	if watching {
		client = c.watches
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, &Error{Reason: Unavailable, Err: err}
	}
	if err := answered(res); err != nil {
		_ = res.Body.Close()
		return nil, err
	}
	return res.Body, nil
}
