package artifact

import (
	"context"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/client"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"golang.org/x/net/proxy"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/outgoing"
)

// The dialers of ssh, which go-git finds by the scheme of a proxy: it connects by
// itself without a deadline, and anywhere.
const (
	dialFenced = "clouddriver-fenced"
	dialOpen   = "clouddriver-open"
)

// gitTransports has go-git call servers as everything here does: within a deadline,
// where the rules let it, and with no redirect that takes a credential along.
var gitTransports = sync.OnceValue(func() error {
	over := githttp.NewClient(newWeb(nil, "").http)
	client.InstallProtocol("http", over)
	client.InstallProtocol("https", over)
	client.InstallProtocol("file", nil) // what is on this machine is nobody's artifact
	client.InstallProtocol("git", nil)  // neither encrypted nor within our rules
	gitssh.DefaultSSHConfig = nil       // the account says where
	rules, err := newRestrictions("", "artifacts.gitRepo.accounts[].allowedHosts", config.URLRestrictions{})
	if err != nil {
		return err
	}
	for scheme, of := range map[string]*restrictions{dialFenced: rules, dialOpen: nil} {
		proxy.RegisterDialerType(scheme, func(*url.URL, proxy.Dialer) (proxy.Dialer, error) { return sshDialer{of}, nil })
	}
	return nil
})

type sshDialer struct{ rules *restrictions }

// Dial implements proxy.Dialer.
func (d sshDialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

// DialContext connects, and lets the connection end with the clone's deadline.
func (d sshDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := outgoing.Dialer(connectWithin, nil)
	if d.rules != nil {
		dialer = outgoing.Dialer(connectWithin, d.rules.connects)
	}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(cloneWithin))
}

// through is the dialer for an address; http has its own.
func (r *repository) through(address string) transport.ProxyOptions {
	switch {
	case strings.HasPrefix(address, "http"):
		return transport.ProxyOptions{}
	case len(r.account.AllowedHosts) > 0:
		return transport.ProxyOptions{URL: dialOpen + "://ssh"}
	}
	return transport.ProxyOptions{URL: dialFenced + "://ssh"}
}
