package artifact

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// appKey is a key of an app in a file, in either of the two forms.
func appKey(t *testing.T, pkcs8 bool) (path string, key *rsa.PrivateKey) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	if pkcs8 {
		block.Type = "PRIVATE KEY"
		if block.Bytes, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
			t.Fatal(err)
		}
	}
	path = filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(path, []byte(strings.TrimSpace(string(pem.EncodeToMemory(block)))), 0o600); err != nil { // without a line end
		t.Fatal(err)
	}
	return path, key
}

// playGitHub plays the parts of GitHub's REST API that an app asks, by its public
// documents, and records the calls.
func playGitHub(t *testing.T, key *rsa.PrivateKey, lasts time.Duration) (*httptest.Server, *[]string) {
	t.Helper()
	calls := &[]string{}
	n := 0
	return server(t, func(w http.ResponseWriter, r *http.Request) {
		*calls = append(*calls, r.Method+" "+r.URL.Path)
		switch {
		case strings.HasSuffix(r.URL.Path, "/installation"), strings.HasSuffix(r.URL.Path, "/access_tokens"):
			proof := strings.TrimPrefix(r.Header.Get(authorization), "Bearer ")
			claims := jwt.RegisteredClaims{}
			_, err := jwt.ParseWithClaims(proof, &claims, func(*jwt.Token) (any, error) { return &key.PublicKey, nil }, jwt.WithValidMethods([]string{"RS256"}))
			if err != nil || claims.Issuer != "7" || claims.ExpiresAt.Sub(claims.IssuedAt.Time) > 10*time.Minute {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			if r.Method == http.MethodGet {
				_, _ = fmt.Fprint(w, `{"id":42}`)
				return
			}
			n++
			_ = json.NewEncoder(w).Encode(map[string]any{"token": fmt.Sprint("tok", n), "expires_at": time.Now().Add(lasts)})
		default:
			_, _ = fmt.Fprint(w, r.Header.Get(authorization))
		}
	}), calls
}

// TestApp iterates 8.5, row 2.
func TestApp(t *testing.T) {
	for _, pkcs8 := range []bool{false, true} {
		path, key := appKey(t, pkcs8)
		s, calls := playGitHub(t, key, time.Hour)
		made := func(c config.GitHubApp) github {
			c.AppID, c.PrivateKeyPath, c.APIBaseURL = "7", path, s.URL
			a, err := newApp(c)
			if err != nil {
				t.Fatal(err)
			}
			return github{web: nearby(t), account: config.ArtifactAccount{UseContentAPI: true, Token: "loses"}, app: a}
		}
		fetch := func(g github, path string) (string, error) {
			got, err := g.fetch(t.Context(), spinnaker.Artifact{Reference: s.URL + path})
			if err != nil {
				return "", err
			}
			return content(t, got, nil), nil
		}
		t.Run("pinned", func(t *testing.T) {
			*calls = nil
			g := made(config.GitHubApp{InstallationID: "9", AllowedOrganizations: []string{"ignored"}})
			got, err := fetch(g, "/repos/o/r/contents/f")
			if err != nil || !strings.HasPrefix(got, "token tok") || (*calls)[0] != "POST /app/installations/9/access_tokens" {
				t.Error(got, err, *calls)
			}
		})
		t.Run("derived, kept", func(t *testing.T) {
			*calls = nil
			g := made(config.GitHubApp{AllowedOrganizations: []string{"ORG"}})
			for _, path := range []string{"/repos/Org/r/contents/f", "/repos/org/other/contents/f"} {
				if got, err := fetch(g, path); err != nil || !strings.HasPrefix(got, "token tok") {
					t.Error(got, err)
				}
			}
			if got := strings.Join(*calls, ","); got != "GET /repos/Org/r/installation,POST /app/installations/42/access_tokens,GET /repos/Org/r/contents/f,GET /repos/org/other/contents/f" {
				t.Error(got)
			}
			*calls = nil
			if _, err := fetch(g, "/repos/others/r/contents/f"); !errors.Is(err, ErrRefused) || len(*calls) != 0 {
				t.Error(err, *calls)
			}
			if got, err := fetch(g, "/raw/a/b/c"); err != nil || got != "" {
				t.Error("no owner, and a token:", got, err)
			}
		})
		t.Run("about to end", func(t *testing.T) {
			short, calls := playGitHub(t, key, 4*time.Minute)
			g := made(config.GitHubApp{InstallationID: "9"})
			g.app.base = short.URL
			for range 2 {
				if _, err := g.app.token(t.Context(), "/o/r"); err != nil {
					t.Fatal(err)
				}
			}
			if len(*calls) != 2 {
				t.Error(*calls)
			}
		})
		t.Run("down", func(t *testing.T) {
			g := made(config.GitHubApp{InstallationID: "9"})
			g.app.base = "http://127.0.0.1:1"
			if _, err := fetch(g, "/repos/o/r/contents/f"); err == nil || errors.Is(err, ErrRefused) {
				t.Error(err)
			}
		})
	}
	path, _ := appKey(t, false)
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]config.GitHubApp{
		"githubApp.appId":             {PrivateKeyPath: path},
		"appPrivateKeyPath is":        {AppID: "7"},
		"cannot be read":              {AppID: "7", PrivateKeyPath: "/not/there"},
		"is empty":                    {AppID: "7", PrivateKeyPath: empty},
		"is no file":                  {AppID: "7", PrivateKeyPath: t.TempDir()},
		"githubApp.appInstallationId": {AppID: "7", PrivateKeyPath: path, InstallationID: "x"},
		"githubApp.apiBaseUrl":        {AppID: "7", PrivateKeyPath: path, APIBaseURL: "nowhere"},
	} {
		if _, err := newApp(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
