package artifact

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// dns is a server of names: each has its answers, one after the other, the last
// one for good.
func dns(t *testing.T, names map[string][]string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	asked := map[string]*atomic.Int64{}
	for name := range names {
		asked[name] = &atomic.Int64{}
	}
	go func() {
		for buffer := make([]byte, 1500); ; {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buffer[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			m.Response, m.Additionals = true, nil
			name := strings.TrimSuffix(q.Name.String(), ".")
			answers := names[name]
			if len(answers) == 0 {
				m.RCode = dnsmessage.RCodeNameError
			} else if q.Type == dnsmessage.TypeA {
				at := min(asked[name].Add(1), int64(len(answers))) - 1
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
					Body:   &dnsmessage.AResource{A: netip.MustParseAddr(answers[at]).As4()},
				}}
			}
			if packed, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(packed, from) // the test ends when it waits in vain
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

var public = map[string][]string{
	"example.com": {"93.184.216.34"}, "under_score.example.com": {"93.184.216.34"}, "a.spinnaker": {"93.184.216.34"}, "db.internal": {"10.0.0.1"}, "printer.local": {"10.0.0.2"},
	"metadata.example.com": {"169.254.169.254"}, "loop.example.com": {"127.0.0.1"}, "private.example.com": {"10.1.2.3"}, "gate": {"10.0.0.3"}, "x.corp": {"10.0.0.4"},
}

func rules(t *testing.T, c config.URLRestrictions) *restrictions {
	t.Helper()
	r, err := newRestrictions("acct", "artifacts.http.accounts[].urlRestrictions", c)
	if err != nil {
		t.Fatal(err)
	}
	r.names = dns(t, public)
	return r
}

func ptr[T any](v T) *T { return &v }

// TestRestrictions_Defaults iterates what artifacts.md 7.2 refuses without any
// setting (8.5, row 6), and the forms in which an address can be written.
func TestRestrictions_Defaults(t *testing.T) {
	r := rules(t, config.URLRestrictions{})
	for reference, want := range map[string]string{
		"https://example.com/a?b=c":                            "",
		"http://under_score.example.com/x":                     "",
		"http://private.example.com/x":                         "", // as Java: private networks are where installations are
		"http://gone.example.com/x":                            "", // the connection says that there is no such name
		"http://gate/x":                                        "Host not allowed: gate",
		"http://gate:8084/x":                                   "Host not allowed: gate",
		"http://printer.local/x":                               "Host not allowed: printer.local",
		"http://db.internal/x":                                 "Host not allowed: db.internal",
		"http://db.internal./x":                                "Host not allowed: db.internal",
		"http://a.spinnaker/x":                                 "Host not allowed: a.spinnaker",
		"http://localhost/x":                                   "Host not allowed: localhost",
		"http://loop.example.com/x":                            "Host not allowed: loop.example.com",
		"http://metadata.example.com/latest":                   "Host not allowed: metadata.example.com",
		"http://169.254.169.254/latest":                        "Verbatim IP addresses are not allowed",
		"http://2852039166/latest":                             "Verbatim IP addresses are not allowed",
		"http://0251.0376.0251.0376/latest":                    "Verbatim IP addresses are not allowed",
		"http://0xa9fea9fe/latest":                             "Verbatim IP addresses are not allowed",
		"http://169.254.43518/latest":                          "Verbatim IP addresses are not allowed",
		"http://[::ffff:169.254.169.254]/":                     "Verbatim IP addresses are not allowed",
		"http://[fe80::1%25eth0]/":                             "Verbatim IP addresses are not allowed",
		"http://[fd00:ec2::254]/":                              "Verbatim IP addresses are not allowed",
		"http://127.1/x":                                       "Verbatim IP addresses are not allowed",
		"http://clouddriver.spinnaker.svc.cluster。local:7002/": "Host not allowed: clouddriver.spinnaker.svc.cluster。local",
		"http://a.svc.cluster%E3%80%82local/":                  "Host not allowed: a.svc.cluster。local",
		"http://１０.0.0.5/":                                     "Host not allowed: １０.0.0.5",
		"http://user:secret@127.0.0.1/x":                       "Verbatim IP addresses are not allowed",
		"ftp://example.com/x":                                  "unsupported URI scheme ftp://example.com/x",
		"file:///etc/passwd":                                   "unsupported URI scheme file:///etc/passwd",
		"gopher://example.com/x":                               "unsupported URI scheme gopher://example.com/x",
		"/etc/passwd":                                          "non absolute URI /etc/passwd",
		"example.com/x":                                        "non absolute URI example.com/x",
		"//example.com/x":                                      "non absolute URI //example.com/x",
		"http:///x":                                            "Unable to determine host for the url provided http:///x",
		"http:opaque":                                          "Unable to determine host for the url provided http:opaque",
		"http://exa mple.com/":                                 "Malformed URL (check artifact references): http://exa mple.com/",
		"http://a.b:port/x?token=never-to-show":                "Malformed URL (check artifact references): http://a.b:port/x",
	} {
		_, err := r.check(t.Context(), reference)
		expectRefusal(t, reference, err, want)
	}
}

func expectRefusal(t *testing.T, what string, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case want == "":
	case err == nil || !errors.Is(err, ErrRefused) || !strings.HasPrefix(err.Error(), want):
		t.Errorf("%s: got %v, want %s", what, err, want)
	case !strings.Contains(err.Error(), "acct") || !strings.Contains(err.Error(), "urlRestrictions"):
		t.Errorf("%s: %v names neither the account nor the key", what, err)
	}
}

// TestRestrictions_EachKeyAlone sets one key, the others keep their defaults (8.5,
// row 7).
func TestRestrictions_EachKeyAlone(t *testing.T) {
	t.Setenv("INTERNAL_DOMAIN", "corp")
	for name, c := range map[string]struct {
		of             config.URLRestrictions
		pass, refuse   string
		because        string
		alsoByDefaults string
	}{
		"schemes":              {of: config.URLRestrictions{AllowedSchemes: []string{"https"}}, pass: "https://example.com", refuse: "http://example.com", because: "unsupported URI scheme", alsoByDefaults: "https://gate/x"},
		"hostnames":            {of: config.URLRestrictions{AllowedHostnamesRegex: ptr(".*")}, pass: "http://gate/x", refuse: "http://db.internal", because: "Host not allowed", alsoByDefaults: "http://127.0.0.1"},
		"blank hostnames":      {of: config.URLRestrictions{AllowedHostnamesRegex: ptr(" ")}, refuse: "http://example.com", because: "Allowed Hostnames are not set, external HTTP requests are not enabled"},
		"domains, exact":       {of: config.URLRestrictions{AllowedDomains: []string{"gate"}}, pass: "http://gate/x", refuse: "http://example.com", because: "Host not allowed"},
		"domains, pattern":     {of: config.URLRestrictions{AllowedDomains: []string{`(.*\.)?example\.com`}}, pass: "http://private.example.com", refuse: "http://x.corp", because: "Host not allowed", alsoByDefaults: "http://loop.example.com"},
		"excluded domains":     {of: config.URLRestrictions{ExcludedDomains: []string{"com"}}, pass: "http://db.internal", refuse: "http://example.com", because: "Host not allowed"},
		"from the environment": {of: config.URLRestrictions{ExcludedDomainsFromEnvironment: []string{"INTERNAL_DOMAIN", "NOT_SET"}}, pass: "http://example.com", refuse: "http://x.corp", because: "Host not allowed", alsoByDefaults: "http://db.internal"},
		"extra patterns":       {of: config.URLRestrictions{ExtraExcludedPatterns: []string{`private\..*`}}, pass: "http://example.com", refuse: "http://private.example.com", because: "Host not allowed", alsoByDefaults: "http://db.internal"},
		"addresses":            {of: config.URLRestrictions{RejectedIPs: []string{"10.0.0.0/8"}}, pass: "http://example.com", refuse: "http://private.example.com", because: "Address not allowed: private.example.com", alsoByDefaults: "http://loop.example.com"},
		"addresses, no name":   {of: config.URLRestrictions{RejectedIPs: []string{"10.1.2.3"}}, refuse: "http://gone.example.com", because: "Address not allowed: gone.example.com"},
		"verbatim":             {of: config.URLRestrictions{RejectVerbatimIPs: ptr(false)}, pass: "http://93.184.216.34", refuse: "http://127.0.0.1", because: "Host not allowed", alsoByDefaults: "http://169.254.169.254"},
		"localhost":            {of: config.URLRestrictions{RejectLocalhost: ptr(false)}, pass: "http://loop.example.com", refuse: "http://metadata.example.com", because: "Host not allowed"},
		"link-local":           {of: config.URLRestrictions{RejectLinkLocal: ptr(false)}, pass: "http://metadata.example.com", refuse: "http://loop.example.com", because: "Host not allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			r := rules(t, c.of)
			if c.pass != "" {
				_, err := r.check(t.Context(), c.pass)
				expectRefusal(t, c.pass, err, "")
			}
			_, err := r.check(t.Context(), c.refuse)
			expectRefusal(t, c.refuse, err, c.because)
			if c.alsoByDefaults != "" {
				if _, err := r.check(t.Context(), c.alsoByDefaults); !errors.Is(err, ErrRefused) {
					t.Errorf("%s: %v, want the default to hold still", c.alsoByDefaults, err)
				}
			}
		})
	}
}

func TestConnection_AnAddressWithinAnAddressIsWhatItMeans(t *testing.T) {
	r := rules(t, config.URLRestrictions{RejectVerbatimIPs: ptr(false), RejectedIPs: []string{"10.0.0.0/8"}})
	for _, address := range []string{"169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "fe80::1%lo", "127.0.0.1", "::1", "64:ff9b::7f00:1", "0.0.0.0", "::", "10.1.1.1", "64:ff9b::a01:101", "fd00:ec2::254"} {
		if err := r.connects(netip.MustParseAddr(address)); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", address, err)
		}
	}
	if err := r.connects(netip.MustParseAddr("64:ff9b::5db8:d822")); err != nil {
		t.Error(err)
	}
}

func TestRestrictions_AMistakeNamesItsKey(t *testing.T) {
	for key, c := range map[string]config.URLRestrictions{
		"allowedHostnamesRegex": {AllowedHostnamesRegex: ptr("(")}, "extraExcludedPatterns": {ExtraExcludedPatterns: []string{"("}},
		"allowedDomains": {AllowedDomains: []string{"("}}, "rejectedIps": {RejectedIPs: []string{"10.0.0.0/40"}},
	} {
		if _, err := newRestrictions("a", "k", c); err == nil || !strings.HasPrefix(err.Error(), key) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// TestRebinding_IsRefusedAtTheConnection has a name lead to a public address when
// it is checked and to this machine when it is connected to (8.5, row 9).
func TestRebinding_IsRefusedAtTheConnection(t *testing.T) {
	for _, second := range []string{"127.0.0.1", "169.254.169.254", "10.9.9.9"} {
		r := rules(t, config.URLRestrictions{RejectedIPs: []string{"10.0.0.0/8"}})
		r.names = dns(t, map[string][]string{"moves.example.com": {"93.184.216.34", second}})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err := newWeb(r, "").get(ctx, "http://moves.example.com:1/x", nil)
		cancel()
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), second) {
			t.Errorf("%s: %v", second, err)
		}
	}
}
