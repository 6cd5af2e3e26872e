package auth

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

func TestDoor(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	shown := func(name string, checked bool) *tls.ConnectionState {
		leaf := &x509.Certificate{Subject: pkix.Name{CommonName: name}}
		state := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}
		if checked {
			state.VerifiedChains = [][]*x509.Certificate{{leaf}}
		}
		return state
	}
	door := Door{Token: "secret", TokenFile: file, Clients: []string{"operator"}}
	for name, c := range map[string]struct {
		door         Door
		remote, host string
		header       []string
		tls          *tls.ConnectionState
		open         bool
	}{
		"from here":                        {door, "127.0.0.1:5", "localhost:7002", nil, nil, true},
		"from here, IPv6":                  {door, "[::1]:5", "[::1]:7002", nil, nil, true},
		"from elsewhere":                   {door, "10.1.2.3:5", "clouddriver:7002", nil, nil, false},
		"elsewhere, says it is localhost":  {door, "10.1.2.3:5", "localhost:7002", nil, nil, false},
		"a proxy here passes on":           {door, "127.0.0.1:5", "localhost:7002", []string{"X-Forwarded-For", "10.1.2.3"}, nil, false},
		"a mesh here passes on":            {door, "127.0.0.6:5", "localhost:7002", []string{"X-Envoy-Attempt-Count", "1"}, nil, false},
		"a name of another site":           {door, "127.0.0.1:5", "evil.example:7002", nil, nil, false},
		"a page of another site":           {door, "127.0.0.1:5", "localhost:7002", []string{"Sec-Fetch-Site", "cross-site"}, nil, false},
		"token":                            {door, "10.1.2.3:5", "clouddriver:7002", []string{"Authorization", "Bearer secret"}, nil, true},
		"token of the file":                {door, "10.1.2.3:5", "clouddriver:7002", []string{"Authorization", "Bearer from-file"}, nil, true},
		"wrong token":                      {door, "10.1.2.3:5", "clouddriver:7002", []string{"Authorization", "Bearer secre"}, nil, false},
		"wrong token from here":            {door, "127.0.0.1:5", "localhost:7002", []string{"Authorization", "Bearer x"}, nil, false},
		"no token is set, an empty one":    {Door{}, "10.1.2.3:5", "clouddriver:7002", []string{"Authorization", "Bearer "}, nil, false},
		"certificate":                      {door, "10.1.2.3:5", "clouddriver:7002", nil, shown("operator", true), true},
		"certificate of somebody else":     {door, "10.1.2.3:5", "clouddriver:7002", nil, shown("gate", true), false},
		"certificate that is not checked":  {door, "10.1.2.3:5", "clouddriver:7002", nil, shown("operator", false), false},
		"nameless certificate, none named": {Door{}, "10.1.2.3:5", "clouddriver:7002", nil, shown("", true), false},
	} {
		r := httptest.NewRequest(http.MethodPost, "http://"+c.host+"/v1/kubernetes/providers", nil)
		r.RemoteAddr, r.TLS = c.remote, c.tls
		for i := 0; i+1 < len(c.header); i += 2 {
			r.Header.Set(c.header[i], c.header[i+1])
		}
		if err := c.door.Admit(r); (err == nil) != c.open {
			t.Errorf("%s: %v", name, err)
		}
	}
	missing := Door{TokenFile: file + "x"}
	r := httptest.NewRequest(http.MethodPost, "http://localhost/v1", nil)
	r.Header.Set("Authorization", "Bearer ")
	if missing.Admit(r) == nil {
		t.Error("a token file that is not there lets everybody in")
	}
}
