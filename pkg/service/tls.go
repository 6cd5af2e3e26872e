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
	pair := &keyPair{settings: c, log: log}
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
	trust := &authorities{path: c.TrustCertificate, log: log, base: out.Clone()}
	if err := trust.load(); err != nil {
		return nil, err
	}
	out.ClientCAs = trust.held.ClientCAs
	out.GetConfigForClient = trust.get
	return out, nil
}

// authorities are those of callers' certificates, as the file has them.
type authorities struct {
	path string
	log  *slog.Logger
	base *tls.Config

	mu     sync.Mutex
	looked time.Time
	text   []byte
	held   *tls.Config
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
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Since(a.looked) > certificateLooks {
		a.looked = time.Now()
		if err := a.load(); err != nil {
			a.log.Warn("the authorities of callers stay as they were", "error", err)
		}
	}
	return a.held, nil
}

// keyPair is the certificate, as the files have it.
type keyPair struct {
	settings config.SSL
	log      *slog.Logger

	mu     sync.Mutex
	looked time.Time
	of     time.Time // when the file was written
	held   *tls.Certificate
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
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.looked) > certificateLooks {
		p.looked = time.Now()
		if err := p.load(); err != nil {
			p.log.Warn("the certificate stays as it was", "error", err)
		}
	}
	return p.held, nil
}
