package artifact

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

var oracleSignature = regexp.MustCompile(`^Signature version="1",headers="date \(request-target\) host",keyId="tenancy/user/finger",algorithm="rsa-sha256",signature="([^"]+)"$`)

// TestOracle_SignsWhatItAsksFor has a server that checks signatures as Oracle's
// documents of request signatures have it.
func TestOracle_SignsWhatItAsksFor(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), 0o600); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		found := oracleSignature.FindStringSubmatch(r.Header.Get("Authorization"))
		if found == nil {
			t.Error(r.Header)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		signature, err := base64.StdEncoding.DecodeString(found[1])
		sum := sha256.Sum256([]byte("date: " + r.Header.Get("Date") + "\n(request-target): get " + r.URL.RequestURI() + "\nhost: " + r.Host))
		if err != nil || rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, sum[:], signature) != nil {
			t.Error("the signature is wrong", r.URL.RequestURI())
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if strings.Contains(r.URL.Path, "none") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = io.WriteString(w, r.URL.RequestURI())
	}))
	t.Cleanup(server.Close)
	account := config.ArtifactAccount{Name: "o", Namespace: "space", Region: "us-phoenix-1", UserID: "user", Fingerprint: "finger", TenancyID: "tenancy", SSHPrivateKeyFilePath: path, APIEndpoint: server.URL}
	of := func(a config.ArtifactAccount) (*Accounts, string) {
		all, log := accounts(t, config.Artifacts{Oracle: config.ArtifactAccounts{Enabled: true, Accounts: []config.ArtifactAccount{a}}}, nil)
		return all, log.String()
	}
	all, _ := of(account)
	fetch := func(reference string) (string, error) {
		return fetchedText(t, all, "oracle/object", "o", reference)
	}
	for reference, want := range map[string]string{
		"oci://bucket/a/b.yml":      "/n/space/b/bucket/o/a%2Fb.yml",
		"bucket/a b#v1":             "/n/space/b/bucket/o/a%20b?versionId=v1",
		"oci://bucket/../../secret": "/n/space/b/bucket/o/..%2F..%2Fsecret",
	} {
		if got, err := fetch(reference); err != nil || got != want {
			t.Errorf("%s: %s %v", reference, got, err)
		}
	}
	if _, err := fetch("oci://bucket/none"); err == nil || !strings.Contains(err.Error(), "404") {
		t.Error(err)
	}
	for _, reference := range []string{"oci://bucket", "oci:///a", ""} {
		if _, err := fetch(reference); !errors.Is(err, ErrRefused) {
			t.Errorf("%q: %v", reference, err)
		}
	}
	account.Region = ""
	if all, log := of(account); all.Has("o", "oracle/object") || !strings.Contains(log, "region: must be given") {
		t.Error(log)
	}
	account.Region = "r"
	if err := os.WriteFile(path, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := fetch("oci://bucket/a"); err == nil || !strings.Contains(err.Error(), "sshPrivateKeyFilePath") || strings.Contains(err.Error(), "no key") {
		t.Error(err)
	}
}
