package cluster

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
	"k8s.io/client-go/util/connrotation"

	"github.com/datapunchorg/go-clouddriver/pkg/outgoing"
)

const (
	dialTimeout = 5 * time.Second
	tlsTimeout  = 5 * time.Second
	// idleTimeout is short since net/http remembers a closed HTTP/2 connection
	// for as long, and between two discoveries there is nothing to reuse.
	idleTimeout = 10 * time.Second
)

// connections are those to one server with one set of credentials.
type connections struct {
	requests, watches *link
}

func newConnections(c *rest.Config, o Options) (*connections, error) {
	requests, err := newLink(c, o, &oneDial{})
	if err != nil {
		return nil, err
	}
	watches, err := newLink(c, o, &oneDial{alike: true})
	if err != nil {
		requests.close()
		return nil, err
	}
	return &connections{requests, watches}, nil
}

func (c *connections) close() {
	c.requests.close()
	c.watches.close()
}

// link is a client with connections of its own.
type link struct {
	*http.Client
	dial  *oneDial
	close func()
}

// PingTimeout is how long the answer to a ping may take.
func (o Options) PingTimeout() time.Duration { return max(o.PingAfter/2, time.Second) }

func newLink(c *rest.Config, o Options, one *oneDial) (*link, error) {
	settings, err := c.TransportConfig()
	if err != nil {
		return nil, &Error{Reason: Invalid, Err: fmt.Errorf("credentials: %w", err)}
	}
	tlsConfig, err := transport.TLSConfigFor(settings)
	if err != nil {
		return nil, &Error{Reason: Invalid, Err: fmt.Errorf("certificates: %w", err)}
	}
	dial := (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext
	if settings.DialHolder != nil && settings.DialHolder.Dial != nil {
		dial = settings.DialHolder.Dial // an exec plugin's, which closes connections when its certificate turns
	}
	rotation := connrotation.NewDialer(dial)
	proxy := http.ProxyFromEnvironment
	if settings.Proxy != nil {
		proxy = settings.Proxy
	}
	base := &http.Transport{
		Proxy: proxy,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := rotation.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			one.opened()
			return &connection{Conn: conn, closed: sync.OnceFunc(one.closed)}, nil
		},
		TLSClientConfig:       tlsConfig,
		TLSHandshakeTimeout:   tlsTimeout,
		ResponseHeaderTimeout: o.RequestTimeout,
		IdleConnTimeout:       idleTimeout,
		MaxIdleConnsPerHost:   25,
		ForceAttemptHTTP2:     true,
		// The server would spend more time on compressing a list than a local
		// network on carrying it.
		DisableCompression: true,
		HTTP2:              &http.HTTP2Config{SendPingTimeout: o.PingAfter, PingTimeout: o.PingTimeout()},
	}
	one.next = base
	wrapped, err := transport.HTTPWrappersForConfig(settings, one)
	if err != nil {
		return nil, &Error{Reason: Invalid, Err: fmt.Errorf("credentials: %w", err)}
	}
	if c.ExecProvider != nil {
		wrapped = abandoning{wrapped, make(chan struct{}, mostHanging)}
	}
	wrapped = guarded{wrapped}
	if o.WrapTransport != nil {
		wrapped = o.WrapTransport(wrapped)
	}
	// Closing only the idle ones would leave those whose last stream is just
	// being cancelled, each with its goroutines.
	return &link{outgoing.Client(wrapped, 0), one, func() { base.CloseIdleConnections(); rotation.CloseAll() }}, nil
}

type guardKey struct{}

// Guarded are the requests of somebody who may lose the right to make them: the
// guard is asked once more before one is sent, since a process may have been
// stopped for a while after it was asked last.
func Guarded(ctx context.Context, guard func() error) context.Context {
	return context.WithValue(ctx, guardKey{}, guard)
}

type guarded struct{ next http.RoundTripper }

func (g guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	if guard, ok := r.Context().Value(guardKey{}).(func() error); ok && r.Method != http.MethodGet {
		if err := guard(); err != nil {
			return nil, err
		}
	}
	return g.next.RoundTrip(r)
}

// abandoning leaves a request when its context is over: a credential plugin that
// hangs does not look at it.
type abandoning struct {
	next http.RoundTripper
	// hanging are the requests under way, which nobody may wait for any more.
	hanging chan struct{}
}

// mostHanging bounds what is left behind while a plugin hangs.
const mostHanging = 64

func (a abandoning) RoundTrip(r *http.Request) (*http.Response, error) {
	type answer struct {
		res *http.Response
		err error
	}
	select {
	case a.hanging <- struct{}{}:
	default:
		return nil, fmt.Errorf("%d requests wait for the credential plugin", mostHanging)
	}
	answered := make(chan answer, 1)
	go func() {
		defer func() { <-a.hanging }()
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

// connection remembers when it last brought anything.
type connection struct {
	net.Conn
	heard  moment
	closed func()
}

// Close implements net.Conn.
func (c *connection) Close() error {
	c.closed()
	return c.Conn.Close()
}

func (c *connection) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.heard.now()
	}
	return n, err
}

// connectionOf finds ours beneath TLS; nil when it is not there.
func connectionOf(conn net.Conn) *connection {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	ours, _ := conn.(*connection)
	return ours
}

// moment is a time that many set and read. It keeps the monotonic clock, so
// that a jump of the other one means nothing.
type moment struct{ since atomic.Int64 }

var process = time.Now()

func (m *moment) now() { m.since.Store(int64(time.Since(process)) + 1) }

func (m *moment) at() time.Time {
	since := m.since.Load()
	if since == 0 {
		return time.Time{}
	}
	return process.Add(time.Duration(since))
}
