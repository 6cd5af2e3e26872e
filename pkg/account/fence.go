package account

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/outgoing"
)

// Fence keeps accounts that are made at run time from reaching what whoever made
// them could not reach: servers without https, this machine, the metadata service
// of a cloud; and keeps tokens of Arcade with the servers that they are for.
type Fence struct {
	hosts  map[string]bool
	ranges []netip.Prefix
	tokens map[string][]string // hosts by token provider
	own    func() ([]net.Addr, error)
}

// NewFence makes one of the settings. The error names the entry that is none.
func NewFence(c config.Accounts) (*Fence, error) {
	f := &Fence{hosts: map[string]bool{}, tokens: map[string][]string{}, own: net.InterfaceAddrs}
	for _, entry := range c.AllowedHosts {
		if prefix, err := netip.ParsePrefix(entry); err == nil {
			f.ranges = append(f.ranges, prefix)
			continue
		}
		f.hosts[strings.ToLower(entry)] = true
	}
	for _, entry := range c.TokenHosts {
		provider, host, ok := strings.Cut(entry, "=")
		if !ok || provider == "" || host == "" {
			return nil, fmt.Errorf("accounts.tokenHosts: %q is not provider=host", entry)
		}
		f.tokens[provider] = append(f.tokens[provider], strings.ToLower(host))
	}
	return f, nil
}

// Check says why a server cannot be an account's. Nothing is asked.
func (f *Fence) Check(server string) error {
	u, err := url.Parse(server)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return fmt.Errorf("%q is no address like https://host:port", shown(server))
	case f.named(u):
		return nil
	case u.Scheme != "https":
		return fmt.Errorf("%s is not reached over https, and a token would go over the network in the clear: use https, or name the host in accounts.allowedHosts", u.Host)
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		return f.address(ip)
	}
	if strings.EqualFold(u.Hostname(), "localhost") {
		return errOwn(u.Hostname())
	}
	return nil
}

// shown keeps what somebody put before an @ out of an error.
func shown(server string) string {
	if at := strings.LastIndex(server, "@"); at >= 0 {
		server = server[at+1:]
	}
	const most = 100
	return server[:min(len(server), most)]
}

// named says whether the settings allow a server.
func (f *Fence) named(u *url.URL) bool {
	host := strings.ToLower(u.Hostname())
	if f.hosts[host] || f.hosts[strings.ToLower(u.Host)] {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && f.inRange(ip)
}

func (f *Fence) inRange(ip netip.Addr) bool {
	return slices.ContainsFunc(f.ranges, func(p netip.Prefix) bool { return p.Contains(ip.Unmap()) })
}

func errOwn(address string) error {
	return fmt.Errorf("%s is an address of this machine or of the link: accounts must not lead there, unless accounts.allowedHosts names it", address)
}

// address refuses what is near: this machine, and the link, where the metadata
// services of clouds are.
func (f *Fence) address(ip netip.Addr) error {
	ip = ip.Unmap()
	if f.inRange(ip) {
		return nil
	}
	if outgoing.LinkLocal(ip) || ip.IsMulticast() || outgoing.Local(ip, f.own) {
		return errOwn(ip.String())
	}
	return nil
}

// Token says why a token provider's token may not be sent to a server.
func (f *Fence) Token(provider, server string) error {
	if len(f.tokens) == 0 {
		return nil
	}
	u, err := url.Parse(server)
	if err != nil {
		return errors.New("the server is no address")
	}
	for _, host := range f.tokens[provider] {
		suffix, all := strings.CutPrefix(host, "*")
		name := strings.ToLower(u.Hostname())
		if name == host || all && strings.HasSuffix(name, suffix) {
			return nil
		}
	}
	return fmt.Errorf("tokens of %s may not be sent to %s: accounts.tokenHosts does not name it", provider, u.Host)
}

// fenceDial is the time for a connection.
const fenceDial = 5 * time.Second

// Near says which addresses a server must not have, nil for one that the settings
// allow anywhere.
func (f *Fence) Near(server string) func(netip.Addr) error {
	if u, err := url.Parse(server); err == nil && f.named(u) {
		return nil
	}
	return f.address
}

// Guard lets connections of an account go only where Check would let them, also
// when a name leads elsewhere by then.
func (f *Fence) Guard(c *rest.Config) {
	near := f.Near(c.Host)
	if near == nil {
		return
	}
	dialer := outgoing.Dialer(fenceDial, near)
	c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, address)
	}
}
