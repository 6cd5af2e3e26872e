package fleet

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"log"
	"math/big"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Options are what a fleet is like.
type Options struct {
	Clusters int
	// Applications are those of a cluster, with 33 objects each; 20 by default.
	Applications int
	// Names are how many names of applications the clusters share; 300 by default.
	Names int
	// Delay is how late a slow cluster answers; a second by default.
	Delay time.Duration
}

// Objects is how many each cluster has.
func (o Options) Objects() (n int) {
	for _, k := range kinds {
		n += k.each*o.Applications + k.alone
	}
	return n
}

// Fleet is all clusters.
type Fleet struct {
	options  Options
	clusters []*Cluster
	server   *http.Server
	address  *net.TCPAddr
	over     chan struct{}
	ended    sync.Once
	pem      []byte

	requests, lists, watching, bytes, sent, accepted atomic.Int64
	// crowd is the most lists that one cluster has answered at once.
	crowd atomic.Int64

	mu          sync.Mutex
	connections map[*net.TCPConn]*Cluster
}

// Stats are what all clusters have done since they were started.
type Stats struct {
	Requests, Lists, Bytes, Events, Accepted int64
	// Watches and Connections are those that are open.
	Watches     int64
	Connections int
	// Crowd is the most first lists and lists that one cluster had under way at
	// once.
	Crowd int64
}

// Start starts one on this machine.
func Start(o Options) (*Fleet, error) {
	if o.Applications == 0 {
		o.Applications = 20
	}
	if o.Names == 0 {
		o.Names = 300
	}
	if o.Delay == 0 {
		o.Delay = time.Second
	}
	f := &Fleet{options: o, over: make(chan struct{}), connections: map[*net.TCPConn]*Cluster{}}
	for number := range o.Clusters {
		f.clusters = append(f.clusters, newCluster(f, number))
	}
	certificate, err := f.certificate()
	if err != nil {
		return nil, err
	}
	// Each cluster has an address of its own, so that its connections are its own.
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp4", "0.0.0.0:0")
	if err != nil {
		return nil, err
	}
	f.address = listener.Addr().(*net.TCPAddr)
	f.server = &http.Server{
		Handler: f, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(nothing{}, "", 0),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}},
	}
	go func() { _ = f.server.ServeTLS(gate{listener.(*net.TCPListener), f}, "", "") }()
	return f, nil
}

type nothing struct{}

func (nothing) Write(p []byte) (int, error) { return len(p), nil }

// Close ends it; it may be called again.
func (f *Fleet) Close() error {
	f.ended.Do(func() { close(f.over) })
	return f.server.Close()
}

// Options are those that it was started with, and the defaults.
func (f *Fleet) Options() Options { return f.options }

// Clusters are all of them.
func (f *Fleet) Clusters() []*Cluster { return f.clusters }

// Stats are those of now.
func (f *Fleet) Stats() Stats {
	f.mu.Lock()
	connections := len(f.connections)
	f.mu.Unlock()
	return Stats{
		Requests: f.requests.Load(), Lists: f.lists.Load(), Bytes: f.bytes.Load(), Events: f.sent.Load(), Accepted: f.accepted.Load(),
		Watches: f.watching.Load(), Connections: connections, Crowd: f.crowd.Load(),
	}
}

// ip is the address of a cluster on this machine.
func ip(number int) net.IP {
	const perByte = 250
	return net.IPv4(127, 10, byte(number/perByte), byte(number%perByte)+1)
}

// Name is the account of a cluster.
func (c *Cluster) Name() string { return fmt.Sprintf("c%04d", c.Number) }

// Server is the address of its API.
func (c *Cluster) Server() string {
	return fmt.Sprintf("https://%s:%d/c/%d", ip(c.Number), c.fleet.address.Port, c.Number)
}

// Kubeconfig has a context for each cluster.
func (f *Fleet) Kubeconfig() []byte { return f.KubeconfigOf(f.clusters) }

// KubeconfigOf has a context for each of some clusters.
func (f *Fleet) KubeconfigOf(clusters []*Cluster) []byte {
	var b bytes.Buffer
	b.WriteString("apiVersion: v1\nkind: Config\nclusters:\n")
	ca := base64.StdEncoding.EncodeToString(f.pem)
	for _, c := range clusters {
		fmt.Fprintf(&b, "- {name: %s, cluster: {server: %q, tls-server-name: fleet, certificate-authority-data: %s}}\n", c.Name(), c.Server(), ca)
	}
	b.WriteString("users:\n- {name: fleet, user: {token: fleet}}\ncontexts:\n")
	for _, c := range clusters {
		fmt.Fprintf(&b, "- {name: %s, context: {cluster: %s, user: fleet}}\n", c.Name(), c.Name())
	}
	return b.Bytes()
}

// Change changes objects at random, so many a second, until the context is over. Of
// each ten, seven are pods, and three what owns them or is a server group; told is
// told of each before anybody else knows of it.
func (f *Fleet) Change(ctx context.Context, perSecond int, told func(cluster *Cluster, uid, resourceVersion string)) {
	const every = 5 * time.Millisecond
	owners := []int{deployments, replicaSets, statefulSets, daemonSets}
	tick := time.NewTicker(every)
	defer tick.Stop()
	began, made := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for due := int(now.Sub(began).Seconds() * float64(perSecond)); made < due; made++ {
				c := f.clusters[made*7919%len(f.clusters)]
				kind := pods
				if made%10 >= 7 {
					kind = owners[made/10%len(owners)]
				}
				o := c.change(kind, made*104729%c.count(kind))
				if told != nil {
					told(c, o.uid(), fmt.Sprint(o.resourceVersion))
				}
			}
		}
	}
}

// Reset breaks every connection.
func (f *Fleet) Reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for conn := range f.connections {
		_ = conn.SetLinger(0)
		_ = conn.Close()
	}
}

// Break breaks the connections of a cluster.
func (c *Cluster) Break() {
	c.fleet.mu.Lock()
	defer c.fleet.mu.Unlock()
	for conn, of := range c.fleet.connections {
		if of == c {
			_ = conn.SetLinger(0)
			_ = conn.Close()
		}
	}
}

// gate lets connections to clusters through that take any.
type gate struct {
	*net.TCPListener
	fleet *Fleet
}

func (g gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.AcceptTCP()
		if err != nil {
			return nil, err
		}
		c := g.fleet.at(conn)
		switch {
		case c == nil:
		case c.is() == Refused:
			_ = conn.SetLinger(0)
			_ = conn.Close()
			continue
		case c.is() == BlackHoled:
			go func() { // nobody ever reads of it
				<-g.fleet.over
				_ = conn.Close()
			}()
			continue
		}
		g.fleet.accepted.Add(1)
		g.fleet.mu.Lock()
		g.fleet.connections[conn] = c
		g.fleet.mu.Unlock()
		return &counted{conn, g.fleet}, nil
	}
}

func (f *Fleet) at(conn *net.TCPConn) *Cluster {
	to := conn.LocalAddr().(*net.TCPAddr).IP
	four := to.To4()
	const perByte = 250
	if four == nil || four[1] != 10 {
		return nil
	}
	number := int(four[2])*perByte + int(four[3]) - 1
	if number < 0 || number >= len(f.clusters) {
		return nil
	}
	return f.clusters[number]
}

type counted struct {
	*net.TCPConn
	fleet *Fleet
}

func (c *counted) Close() error {
	c.fleet.mu.Lock()
	delete(c.fleet.connections, c.TCPConn)
	c.fleet.mu.Unlock()
	return c.TCPConn.Close()
}

func (f *Fleet) certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "fleet"}, DNSNames: []string{"fleet"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	f.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if f.pem == nil {
		return tls.Certificate{}, errors.New("the certificate cannot be encoded")
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
