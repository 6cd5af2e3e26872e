package service

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// writePair writes a certificate of its own for a name, with its key.
func writePair(t *testing.T, dir, name string, at time.Time) config.SSL {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c := config.SSL{Enabled: true, Certificate: filepath.Join(dir, "tls.crt"), PrivateKey: filepath.Join(dir, "tls.key"), ClientAuth: "none"}
	for path, block := range map[string]*pem.Block{c.Certificate: {Type: "CERTIFICATE", Bytes: der}, c.PrivateKey: {Type: "EC PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func nameOf(t *testing.T, c *tls.Certificate) string {
	t.Helper()
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf.Subject.CommonName
}

func TestTLS_UsesANewerCertificateAndKeepsTheOldOneWhileThatIsBroken(t *testing.T) {
	dir, at := t.TempDir(), time.Now().Add(-time.Hour)
	pair := &keyPair{settings: writePair(t, dir, "first", at), fresh: fresh{what: "the certificate", log: slog.New(slog.DiscardHandler)}}
	got := func() string {
		t.Helper()
		pair.looked = time.Time{}
		c, err := pair.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return nameOf(t, c)
	}
	if err := pair.load(); err != nil {
		t.Fatal(err)
	}
	if name := got(); name != "first" {
		t.Error(name)
	}
	if err := os.WriteFile(pair.settings.Certificate, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if name := got(); name != "first" {
		t.Error("a broken file took the place of", name)
	}
	writePair(t, dir, "second", at.Add(time.Minute))
	if name := got(); name != "second" {
		t.Error(name)
	}
}

func TestTLS_AsksForCertificatesOfCallers(t *testing.T) {
	c := writePair(t, t.TempDir(), "server", time.Now())
	if off, err := newTLS(config.SSL{}, slog.New(slog.DiscardHandler)); off != nil || err != nil {
		t.Error(off, err)
	}
	c.TrustCertificate = c.Certificate
	for auth, want := range map[string]tls.ClientAuthType{"none": tls.NoClientCert, "want": tls.VerifyClientCertIfGiven, "need": tls.RequireAndVerifyClientCert} {
		c.ClientAuth = auth
		got, err := newTLS(c, slog.New(slog.DiscardHandler))
		if err != nil || got.ClientAuth != want {
			t.Errorf("%s: %v %v", auth, got, err)
		}
	}
	c.TrustCertificate = c.PrivateKey
	if _, err := newTLS(c, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "trustCertificate") {
		t.Error(err)
	}
	c.Certificate = "/does/not/exist"
	if _, err := newTLS(c, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "server.ssl.certificate") {
		t.Error(err)
	}
}
