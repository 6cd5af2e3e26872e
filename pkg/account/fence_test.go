package account

import (
	"net"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

func TestFence(t *testing.T) {
	f, err := NewFence(config.Accounts{AllowedHosts: []string{"plain.example:8080", "10.1.0.0/16", "near.example"}, TokenHosts: []string{"google=*.googleapis.com", "google=api.example", "rancher=rancher.example"}})
	if err != nil {
		t.Fatal(err)
	}
	f.own = func() ([]net.Addr, error) {
		return []net.Addr{&net.IPNet{IP: net.IPv4(10, 9, 9, 9), Mask: net.CIDRMask(24, 32)}}, nil
	}
	for server, want := range map[string]bool{
		"https://api.example:6443": true, "https://10.2.3.4": true, "https://[2001:db8::1]:6443": true, "http://plain.example:8080": true, "http://10.1.2.3:80": true, "https://near.example": true,
		"http://api.example": false, "api.example": false, "": false, "https://": false, "//x": false, "ftp://x": false, "http://plain.example": false,
		"https://127.0.0.1:6443": false, "https://localhost": false, "https://LOCALHOST:1": false, "https://[::1]": false, "https://169.254.169.254": false, "https://[fe80::1]": false, "https://[fd00:ec2::254]": false,
		"https://0.0.0.0": false, "https://10.9.9.9": false, "https://[::ffff:169.254.169.254]": false, "https://224.0.0.1": false,
	} {
		if err := f.Check(server); (err == nil) != want {
			t.Errorf("%s: %v", server, err)
		}
	}
	if err := f.Check("http://user:hunter2@api.example"); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
	for _, c := range []struct {
		provider, server string
		ok               bool
	}{
		{"google", "https://container.googleapis.com", true}, {"google", "https://api.example:6443", true}, {"google", "https://evil.example", false}, {"google", "https://evilgoogleapis.com", false},
		{"rancher", "https://api.example", false}, {"other", "https://api.example", false},
	} {
		if err := f.Token(c.provider, c.server); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := NewFence(config.Accounts{TokenHosts: []string{"google"}}); err == nil {
		t.Error("an entry without a host is taken")
	}
}

// TestFence_HoldsWhereANameLeads: what a name leads to is known when it is dialled.
func TestFence_HoldsWhereANameLeads(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	f, err := NewFence(config.Accounts{})
	if err != nil {
		t.Fatal(err)
	}
	c := &rest.Config{Host: "https://name.example"}
	f.Guard(c)
	if conn, err := c.Dial(t.Context(), "tcp", listener.Addr().String()); err == nil {
		_ = conn.Close()
		t.Error("a connection to this machine was made")
	}
	allowed, err := NewFence(config.Accounts{AllowedHosts: []string{"127.0.0.0/8"}})
	if err != nil {
		t.Fatal(err)
	}
	allowed.Guard(c)
	conn, err := c.Dial(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}
