package outgoing

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// mostHops bounds redirects.
const mostHops = 10

// Redirecting makes a client that follows redirects, for servers that keep content
// elsewhere. Whoever uses it must take away what it shows of itself when the origin
// changes. A redirect never leads from https to http.
func Redirecting(transport http.RoundTripper, within time.Duration) *http.Client {
	c := Client(transport, within)
	c.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		switch {
		case len(via) > mostHops:
			return &RefusedError{fmt.Sprintf("more than %d redirects", mostHops)}
		case via[0].URL.Scheme == "https" && req.URL.Scheme != "https":
			return &RefusedError{fmt.Sprintf("%s redirects to %s, which is not https", via[0].URL.Host, req.URL.Host)}
		}
		return nil
	}
	return c
}

// RefusedError is a redirect that is not followed: something has answered.
type RefusedError struct{ text string }

func (e *RefusedError) Error() string { return e.text }

// IsProxy says whether an address, host:port, is one of the environment's proxies.
func IsProxy(address string) bool {
	for _, scheme := range []string{"http", "https"} {
		asked := &http.Request{URL: &url.URL{Scheme: scheme, Host: "outgoing.example"}}
		if proxy, err := http.ProxyFromEnvironment(asked); err == nil && proxy != nil && SameHost(address, proxy.Host) {
			return true
		}
	}
	return false
}

// SameHost compares host:port with a host that may lack its port.
func SameHost(address, host string) bool {
	if strings.EqualFold(address, host) {
		return true
	}
	name, _, err := net.SplitHostPort(address)
	return err == nil && strings.EqualFold(name, strings.Trim(host, "[]"))
}
