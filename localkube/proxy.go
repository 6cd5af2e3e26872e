package localkube

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Proxy forwards TCP connections to one address. A test puts it in front of
// an API server and makes it swallow everything, as a broken network does:
// connections stay open, new ones are accepted, nothing comes back.
type Proxy struct {
	listener net.Listener
	target   string

	mu      sync.Mutex
	hole    bool
	refuse  bool
	delay   time.Duration
	changed chan struct{}
	conns   map[net.Conn]struct{}
	frozen  map[net.Conn]struct{}
}

// NewProxy listens on a free loopback port and forwards to target.
func NewProxy(target string) (*Proxy, error) { return NewProxyOn("127.0.0.1", target) }

// NewProxyOn listens on a free port of an address of this machine, for clients
// that do not reach its loopback.
func NewProxyOn(host, target string) (*Proxy, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, fmt.Errorf("listen for the proxy: %w", err)
	}
	p := &Proxy{listener: l, target: target, changed: make(chan struct{}), conns: map[net.Conn]struct{}{}, frozen: map[net.Conn]struct{}{}}
	go p.serve()
	return p, nil
}

// Addr is the host and port that the proxy listens on.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// BlackHole starts or ends the swallowing of all bytes in both directions.
func (p *Proxy) BlackHole(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hole = on
	close(p.changed)
	p.changed = make(chan struct{})
}

// Freeze swallows what comes on the connections that are open now, as when the
// other side is gone without a word. New ones work.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		p.frozen[c] = struct{}{}
	}
}

// Delay makes everything take so much longer, each way.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

func (p *Proxy) slowness() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.delay
}

// Refuse starts or ends the refusal of connections, those that are open
// included.
func (p *Proxy) Refuse(on bool) {
	p.mu.Lock()
	p.refuse = on
	p.mu.Unlock()
	if on {
		p.Cut()
	}
}

// Cut ends every connection that is open now.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.frozen)
	close(p.changed)
	p.changed = make(chan struct{})
}

// Close ends the proxy and every connection through it.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.BlackHole(false)
	p.Cut()
}

func (p *Proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.forward(client)
	}
}

func (p *Proxy) forward(client net.Conn) {
	defer p.forget(client)
	p.remember(client)
	p.waitOpen(client)
	if p.refuses() {
		return
	}
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer p.forget(server)
	p.remember(server)
	go p.pump(server, client)
	p.pump(client, server)
}

func (p *Proxy) pump(dst, src net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		p.waitOpen(src)
		time.Sleep(p.slowness())
		if n > 0 {
			if _, werr := dst.Write(buf[:n]); werr != nil {
				err = werr
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				_ = src.Close()
			}
			_ = dst.Close()
			return
		}
	}
}

func (p *Proxy) refuses() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refuse
}

func (p *Proxy) waitOpen(c net.Conn) {
	for {
		p.mu.Lock()
		_, frozen := p.frozen[c]
		hole, changed := p.hole || frozen, p.changed
		p.mu.Unlock()
		if !hole {
			return
		}
		<-changed
	}
}

func (p *Proxy) remember(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = struct{}{}
}

func (p *Proxy) forget(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	delete(p.frozen, c)
}
