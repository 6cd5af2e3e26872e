package auth

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
)

// Door lets those in who may change accounts: whoever is on this machine, who
// has the token, and who shows a certificate with one of the names.
type Door struct {
	// Token opens from everywhere; TokenFile has one, which is read each time.
	Token, TokenFile string
	// Clients are the names of certificates, their common or DNS names, that are
	// let in over mutual TLS.
	Clients []string
}

var sameOrigin = http.NewCrossOriginProtection()

// errDoor says what to do instead.
var errDoor = errors.New("accounts are changed from this machine only (through kubectl port-forward, for example), with the token of admin.token as Authorization: Bearer, or with a client certificate that admin.clients names")

// Admit is nil for a request that may go on.
func (d *Door) Admit(r *http.Request) error {
	if err := sameOrigin.Check(r); err != nil {
		return fmt.Errorf("a page of another site must not change accounts: %w", err)
	}
	if said, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return d.token(said)
	}
	if d.certificate(r) != "" || local(r) {
		return nil
	}
	return errDoor
}

// Who is the name that an audit log has for somebody who was let in.
func (d *Door) Who(r *http.Request) string {
	switch {
	case strings.HasPrefix(r.Header.Get("Authorization"), "Bearer "):
		return "token"
	case d.certificate(r) != "":
		return "certificate " + d.certificate(r)
	}
	return "local"
}

func (d *Door) token(said string) error {
	tokens := [][]byte{[]byte(d.Token)}
	if d.TokenFile != "" {
		read, err := os.ReadFile(d.TokenFile)
		if err != nil {
			return fmt.Errorf("admin.tokenFile cannot be read: %w", err)
		}
		tokens = append(tokens, bytes.TrimSpace(read))
	}
	got := sha256.Sum256([]byte(said)) // so that not even the length is told
	for _, token := range tokens {
		want := sha256.Sum256(token)
		if len(token) > 0 && subtle.ConstantTimeCompare(got[:], want[:]) == 1 {
			return nil
		}
	}
	return errors.New("the token is not the one of admin.token")
}

// certificate is the name of a checked certificate that is let in, "" for none.
func (d *Door) certificate(r *http.Request) string {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return ""
	}
	leaf := r.TLS.VerifiedChains[0][0]
	for _, name := range append([]string{leaf.Subject.CommonName}, leaf.DNSNames...) {
		if name != "" && slices.Contains(d.Clients, name) {
			return name
		}
	}
	return ""
}

// local says whether a request comes from this machine, and was not passed on
// by something that runs here. The name that it was sent to is looked at, too: a
// page of another site may have its own name lead here.
func local(r *http.Request) bool {
	for name := range r.Header {
		if slices.Contains([]string{"Forwarded", "X-Real-Ip", "Via"}, name) || strings.HasPrefix(name, "X-Forwarded-") || strings.HasPrefix(name, "X-Envoy-") || strings.HasPrefix(name, "L5d-") {
			return false
		}
	}
	return loopback(r.RemoteAddr) && loopback(r.Host)
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = strings.Trim(address, "[]")
	}
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
