package service

import (
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
	out := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: pair.get}
	if c.TrustCertificate != "" {
		text, err := os.ReadFile(c.TrustCertificate)
		if err != nil {
			return nil, fmt.Errorf("server.ssl.trustCertificate: %w", err)
		}
		out.ClientCAs = x509.NewCertPool()
		if !out.ClientCAs.AppendCertsFromPEM(text) {
			return nil, errors.New("server.ssl.trustCertificate: there is no certificate in PEM in it")
		}
	}
	switch c.ClientAuth {
	case config.ClientAuthNeed:
		out.ClientAuth = tls.RequireAndVerifyClientCert
	case config.ClientAuthWant:
		out.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return out, nil
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
