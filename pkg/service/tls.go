package service

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// certificateLooks is how often the files of the certificate are looked at for
// newer ones, at most.
const certificateLooks = 10 * time.Second

// newTLS makes the configuration of the API's listener, nil without TLS. Files
// that are replaced are used from the next connections on.
func newTLS(c config.SSL, log *slog.Logger) (*tls.Config, error) {
	if !c.Enabled {
		return nil, nil
	}
	pair := &keyPair{settings: c, fresh: fresh{what: "the certificate", log: log}}
	if err := pair.load(); err != nil {
		return nil, err
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, GetCertificate: pair.get}
	switch c.ClientAuth {
	case config.ClientAuthNeed:
		out.ClientAuth = tls.RequireAndVerifyClientCert
	case config.ClientAuthWant:
		out.ClientAuth = tls.VerifyClientCertIfGiven
	}
	if c.TrustCertificate == "" {
		return out, nil
	}
	trust := &authorities{path: c.TrustCertificate, base: out.Clone(), fresh: fresh{what: "the authorities of callers", log: log}}
	if err := trust.load(); err != nil {
		return nil, err
	}
	out.ClientCAs = trust.held.ClientCAs
	out.GetConfigForClient = trust.get
	return out, nil
}

// fresh keeps what a file says, and looks at it now and then.
type fresh struct {
	what string // for the log
	log  *slog.Logger

	mu     sync.Mutex
	looked time.Time
}

// look takes the lock, which the caller gives back, and loads anew when it is time.
func (f *fresh) look(load func() error) (unlock func()) {
	f.mu.Lock()
	if time.Since(f.looked) > certificateLooks {
		f.looked = time.Now()
		if err := load(); err != nil {
			f.log.Warn(f.what+" could not be read anew and stay as they were", "error", err)
		}
	}
	return f.mu.Unlock
}

// authorities are those of callers' certificates, as the file has them.
type authorities struct {
	path string
	base *tls.Config

	fresh
	text []byte
	held *tls.Config
}

func (a *authorities) load() error {
	text, err := os.ReadFile(a.path)
	if err != nil {
		return fmt.Errorf("server.ssl.trustCertificate: %w", err)
	}
	if a.held != nil && bytes.Equal(text, a.text) {
		return nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return errors.New("server.ssl.trustCertificate: there is no certificate in PEM in it")
	}
	held := a.base.Clone()
	held.ClientCAs = pool
	a.held, a.text = held, text
	return nil
}

// get is the configuration with the authorities of now; those that were stay when
// newer ones cannot be read.
func (a *authorities) get(*tls.ClientHelloInfo) (*tls.Config, error) {
	defer a.look(a.load)()
	return a.held, nil
}

// keyPair is the certificate, as the files have it.
type keyPair struct {
	settings config.SSL

	fresh
	of   time.Time // when the file was written
	held *tls.Certificate
}

func (p *keyPair) load() error {
	info, err := os.Stat(p.settings.Certificate)
	if err != nil {
		return fmt.Errorf("server.ssl.certificate: %w", err)
	}
	if p.held != nil && info.ModTime().Equal(p.of) {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(p.settings.Certificate, p.settings.PrivateKey)
	if err != nil {
		return fmt.Errorf("server.ssl.certificate and certificatePrivateKey: %w", err)
	}
	p.held, p.of = &pair, info.ModTime()
	return nil
}

// get keeps the certificate that was, when a newer one cannot be read: files are
// replaced one after the other.
func (p *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	defer p.look(p.load)()
	return p.held, nil
}
