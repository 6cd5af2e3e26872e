package artifact

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/outgoing"
)

// restrictions say where references of an account may lead (artifacts.md 7.2;
// spinnaker/kork, HttpUrlRestrictions). What they say of addresses holds once more
// for the one that is connected to, so that a name that leads elsewhere by then
// leads nowhere.
type restrictions struct {
	account string
	// key is the setting that a refusal names.
	key       string
	schemes   []string
	hostnames *regexp.Regexp // nil for none
	excluded  []string
	patterns  []*regexp.Regexp
	// domains are expressions for whole names, and exact those entries as texts.
	domains []*regexp.Regexp
	exact   []string

	noVerbatim, noLocalhost, noLinkLocal bool
	rejected                             []netip.Prefix

	names *net.Resolver
	own   func() ([]net.Addr, error)
}

// Java's defaults.
var (
	defaultSchemes  = []string{"http", "https"}
	defaultExcluded = []string{"spinnaker", "local", "localdomain", "internal"}
)

const defaultHostnames = `.*\..+`

// newRestrictions reads an account's settings; a key that is not there has Java's
// default. The error names the key that is wrong.
func newRestrictions(account, key string, c config.URLRestrictions) (*restrictions, error) {
	r := &restrictions{
		account: account, key: key, schemes: defaultSchemes, excluded: defaultExcluded,
		noVerbatim: orTrue(c.RejectVerbatimIPs), noLocalhost: orTrue(c.RejectLocalhost), noLinkLocal: orTrue(c.RejectLinkLocal),
		names: net.DefaultResolver, own: net.InterfaceAddrs,
	}
	if c.AllowedSchemes != nil {
		r.schemes = c.AllowedSchemes
	}
	if c.ExcludedDomains != nil {
		r.excluded = c.ExcludedDomains
	}
	for _, variable := range c.ExcludedDomainsFromEnvironment {
		if value := os.Getenv(variable); value != "" {
			r.excluded = append(slices.Clone(r.excluded), value)
		}
	}
	hostnames := defaultHostnames
	if c.AllowedHostnamesRegex != nil {
		hostnames = *c.AllowedHostnamesRegex
	}
	var err error
	if strings.TrimSpace(hostnames) != "" {
		if r.hostnames, err = whole(hostnames); err != nil {
			return nil, fmt.Errorf("allowedHostnamesRegex: %w", err)
		}
	}
	for _, pattern := range c.ExtraExcludedPatterns {
		compiled, err := whole(pattern)
		if err != nil {
			return nil, fmt.Errorf("extraExcludedPatterns: %w", err)
		}
		r.patterns = append(r.patterns, compiled)
	}
	for _, domain := range c.AllowedDomains {
		compiled, err := whole(domain)
		if err != nil {
			return nil, fmt.Errorf("allowedDomains: %w", err)
		}
		r.domains, r.exact = append(r.domains, compiled), append(r.exact, domain)
	}
	for _, entry := range c.RejectedIPs {
		prefix, err := network(entry)
		if err != nil {
			return nil, fmt.Errorf("rejectedIps: %w", err)
		}
		r.rejected = append(r.rejected, prefix)
	}
	return r, nil
}

func orTrue(b *bool) bool { return b == nil || *b }

// whole is an expression for a whole name, whatever its case.
func whole(expression string) (*regexp.Regexp, error) {
	return regexp.Compile(`(?i)^(?:` + expression + `)$`)
}

// network reads an address or a network.
func network(entry string) (netip.Prefix, error) {
	if prefix, err := netip.ParsePrefix(entry); err == nil {
		return prefix, nil
	}
	ip, err := netip.ParseAddr(entry)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a network like 10.0.0.0/8", entry)
	}
	return netip.PrefixFrom(ip, ip.BitLen()), nil
}

// check says why a reference may not be followed, in Java's order and words.
func (r *restrictions) check(ctx context.Context, reference string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(reference))
	switch {
	case err != nil:
		return nil, r.refused("Malformed URL (check artifact references): %s", withoutSecrets(reference))
	case u.Scheme == "":
		return nil, r.refused("non absolute URI %s", withoutSecrets(reference))
	case !slices.ContainsFunc(r.schemes, func(s string) bool { return strings.EqualFold(s, u.Scheme) }):
		return nil, r.refused("unsupported URI scheme %s", withoutSecrets(reference))
	case u.Hostname() == "":
		return nil, r.refused("Unable to determine host for the url provided %s", withoutSecrets(reference))
	case strings.ContainsFunc(u.Hostname(), func(c rune) bool { return c > unicode.MaxASCII }): // what it is mapped to is another name
		return nil, r.refused("Host not allowed: %s, which has to be written in ASCII (xn--)", u.Hostname())
	case r.hostnames == nil && len(r.domains) == 0:
		return nil, r.refused("Allowed Hostnames are not set, external HTTP requests are not enabled")
	}
	return u, r.host(ctx, strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")))
}

// host looks at the name and at what it leads to by now.
func (r *restrictions) host(ctx context.Context, host string) error {
	literal, isLiteral := verbatim(host)
	if isLiteral && r.noVerbatim {
		return r.refused("Verbatim IP addresses are not allowed")
	}
	addresses, err := []netip.Addr{literal}, error(nil)
	if !isLiteral {
		addresses, err = r.names.LookupNetIP(ctx, "ip", host)
	}
	if err != nil && len(r.rejected) > 0 {
		return r.refused("Address not allowed: %s", host)
	}
	local := false
	for _, ip := range addresses { // none where the name leads nowhere: the connection says so
		switch {
		case r.rejects(ip):
			return r.refused("Address not allowed: %s", host)
		case r.noLocalhost && r.isLocal(ip), r.noLinkLocal && outgoing.LinkLocal(ip):
			return r.refused("Host not allowed: %s", host)
		case r.isLocal(ip), outgoing.LinkLocal(ip):
			local = true // a flag permits it
		}
	}
	if r.noLocalhost && host == "localhost" {
		return r.refused("Host not allowed: %s", host)
	}
	named := slices.ContainsFunc(r.exact, func(entry string) bool { return strings.EqualFold(entry, host) })
	if !named && !local && !isLiteral && !r.named(host) {
		return r.refused("Host not allowed: %s", host)
	}
	if len(r.domains) > 0 && !slices.ContainsFunc(r.domains, func(d *regexp.Regexp) bool { return d.MatchString(host) }) {
		return r.refused("Host not allowed: %s", host)
	}
	return nil
}

// named says whether the rules of names let a host pass.
func (r *restrictions) named(host string) bool {
	if r.hostnames != nil && !r.hostnames.MatchString(host) {
		return false
	}
	for _, domain := range r.excluded {
		if strings.HasSuffix(host, "."+strings.ToLower(strings.TrimPrefix(domain, "."))) {
			return false
		}
	}
	return !slices.ContainsFunc(r.patterns, func(p *regexp.Regexp) bool { return p.MatchString(host) })
}

// verbatim reads a host that is an address, in any of the forms that resolvers
// take: dotted, with less than four parts, decimal, octal and hexadecimal.
func verbatim(host string) (netip.Addr, bool) {
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return ip.Unmap().WithZone(""), true
	}
	parts := strings.Split(host, ".")
	const most = 4
	if len(parts) > most {
		return netip.Addr{}, false
	}
	var value uint64
	for i, part := range parts {
		n, ok := number(part)
		if !ok {
			return netip.Addr{}, false
		}
		if i < len(parts)-1 {
			if n > 255 {
				return netip.Addr{}, false
			}
			value = value<<8 | n
			continue
		}
		rest := most - i
		if n >= 1<<(8*rest) {
			return netip.Addr{}, false
		}
		value = value<<(8*rest) | n
	}
	return netip.AddrFrom4([4]byte{byte(value >> 24), byte(value >> 16), byte(value >> 8), byte(value)}), true
}

// number reads a part of an address as inet_aton does.
func number(part string) (uint64, bool) {
	base, digits := 10, part
	switch {
	case strings.HasPrefix(part, "0x"), strings.HasPrefix(part, "0X"):
		base, digits = 16, part[2:]
	case len(part) > 1 && part[0] == '0':
		base, digits = 8, part[1:]
	}
	var n uint64
	const most = 1 << 32
	for _, c := range digits {
		d := strings.IndexRune("0123456789abcdef", c|0x20)
		if c >= '0' && c <= '9' {
			d = int(c - '0')
		}
		if d < 0 || d >= base {
			return 0, false
		}
		if n = n*uint64(base) + uint64(d); n >= most {
			return 0, false
		}
	}
	return n, digits != "" || base == 16
}

func (r *restrictions) rejects(ip netip.Addr) bool {
	return slices.ContainsFunc(r.rejected, func(p netip.Prefix) bool { return p.Contains(ip.Unmap()) || p.Contains(outgoing.Meant(ip)) })
}

func (r *restrictions) isLocal(ip netip.Addr) bool { return outgoing.Local(ip, r.own) }

// connects says why an address may not be connected to, whatever name has led
// there.
func (r *restrictions) connects(ip netip.Addr) error {
	switch {
	case r.rejects(ip):
		return r.refused("Address not allowed: %s", ip)
	case r.noLocalhost && r.isLocal(ip), r.noLinkLocal && outgoing.LinkLocal(ip):
		return r.refused("Host not allowed: %s", ip)
	}
	return nil
}

// refused is a refusal that says where the rule is.
func (r *restrictions) refused(format string, args ...any) error {
	return refused("%s (account %s: %s)", fmt.Sprintf(format, args...), r.account, r.key)
}

// withoutSecrets shows a reference without user information and query.
func withoutSecrets(reference string) string {
	u, err := url.Parse(reference)
	if err != nil {
		before, _, _ := strings.Cut(reference, "?")
		if !strings.Contains(before, "://") {
			return before // git@host:path has no secret
		}
		if at := strings.LastIndex(before, "@"); at >= 0 {
			before = before[at+1:]
		}
		return before
	}
	u.User, u.RawQuery = nil, ""
	return u.String()
}

// configured are the rules of a host that the configuration names: it may be
// anywhere, but what it redirects to must not be this machine or the link.
func configured(account, address string) (*restrictions, error) {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("is no http or https address")
	}
	everything, no := ".*", false
	return newRestrictions(account, "the account's address names another host", config.URLRestrictions{AllowedHostnamesRegex: &everything, ExcludedDomains: []string{}, RejectVerbatimIPs: &no})
}
