package artifact

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// TestSSH_IsDialledWhereTheRulesLetIt has an account without allowedHosts, and one
// whose configuration names the host.
func TestSSH_IsDialledWhereTheRulesLetIt(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	rules, err := newRestrictions("", "k", config.URLRestrictions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (sshDialer{rules}).DialContext(t.Context(), "tcp", listener.Addr().String()); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
	conn, err := (sshDialer{}).DialContext(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	for _, c := range []struct {
		hosts   []string
		address string
		want    string
	}{{nil, "ssh://git@example.com/x", dialFenced}, {nil, "git@example.com:x", dialFenced}, {[]string{"example.com"}, "git@example.com:x", dialOpen}, {nil, "https://example.com/x", ""}} {
		r := &repository{account: config.ArtifactAccount{AllowedHosts: c.hosts}}
		if got := r.through(c.address).URL; !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s: %s", c.address, got)
		}
	}
}
