package integration

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// ociRegistry is a real registry, and the service that gives tokens for it.
type ociRegistry struct {
	URL      string
	password atomic.Pointer[string] // of the user ci
	tokens   atomic.Int64
	kill     func()
}

// startRegistry starts one that whoever has the password may read and write, and
// everybody else may read nothing of.
func startRegistry(t testing.TB) *ociRegistry {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	r := &ociRegistry{}
	r.setPassword("secret")
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		user, password, _ := req.BasicAuth()
		if user != "ci" || password != *r.password.Load() {
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
			return
		}
		r.tokens.Add(1)
		_ = json.NewEncoder(w).Encode(map[string]string{"token": signed(key, req.URL.Query()["scope"])})
	}))
	t.Cleanup(service.Close)
	keys := filepath.Join(t.TempDir(), "jwks")
	exponent := big.NewInt(int64(key.E)).Bytes()
	encoded, err := json.Marshal(map[string]any{"keys": []any{map[string]any{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "test",
		"n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(exponent),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keys, encoded, 0o600); err != nil {
		t.Fatal(err)
	}
	r.URL, r.kill = startProgram(t, &registryServer, "-realm", service.URL+"/token", "-jwks", keys)
	return r
}

func (r *ociRegistry) setPassword(text string) { r.password.Store(&text) }

func (r *ociRegistry) host() string { return strings.TrimPrefix(r.URL, "http://") }

// signed is a token for scopes like repository:a/b:pull,push.
func signed(key *rsa.PrivateKey, scopes []string) string {
	access := []map[string]any{}
	for _, scope := range scopes {
		parts := strings.Split(scope, ":")
		if len(parts) == 3 {
			access = append(access, map[string]any{"type": parts[0], "name": parts[1], "actions": strings.Split(parts[2], ",")})
		}
	}
	now := time.Now()
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss": "tests", "sub": "ci", "aud": "registry", "iat": now.Unix(), "nbf": now.Add(-time.Minute).Unix(), "exp": now.Add(5 * time.Minute).Unix(), "jti": fmt.Sprint(now.UnixNano()), "access": access,
	})
	token.Header["kid"] = "test"
	text, err := token.SignedString(key)
	if err != nil {
		panic(err) // the key is of its kind
	}
	return text
}

func (r *ociRegistry) repository(t testing.TB, name string) *remote.Repository {
	t.Helper()
	repository, err := remote.NewRepository(r.host() + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	repository.PlainHTTP = true
	repository.Client = &auth.Client{Credential: auth.StaticCredential(r.host(), auth.Credential{Username: "ci", Password: *r.password.Load()})}
	return repository
}

// blob is content with its description.
type blob struct {
	ocispec.Descriptor
	content []byte
}

func newBlob(mediaType string, content []byte) blob {
	return blob{ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(content), Size: int64(len(content))}, content}
}

// push puts a manifest under tags, with its config and layers, and returns its
// digest.
func (r *ociRegistry) push(t testing.TB, name string, configured blob, layers []blob, tags ...string) string {
	t.Helper()
	repository := r.repository(t, name)
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: configured.Descriptor, Layers: []ocispec.Descriptor{}}
	for _, b := range append([]blob{configured}, layers...) {
		if err := repository.Blobs().Push(t.Context(), b.Descriptor, bytes.NewReader(b.content)); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range layers {
		m.Layers = append(m.Layers, l.Descriptor)
	}
	encoded, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	of := newBlob(ocispec.MediaTypeImageManifest, encoded)
	for _, tag := range tags {
		if err := repository.PushReference(t.Context(), of.Descriptor, bytes.NewReader(encoded), tag); err != nil {
			t.Fatal(err)
		}
	}
	return of.Digest.String()
}

// image pushes one with labels.
func (r *ociRegistry) image(t testing.TB, name string, labels map[string]string, created string, tags ...string) string {
	t.Helper()
	configured, err := json.Marshal(map[string]any{"created": created, "architecture": "amd64", "os": "linux", "config": map[string]any{"Labels": labels}, "rootfs": map[string]any{"type": "layers", "diff_ids": []string{}}})
	if err != nil {
		t.Fatal(err)
	}
	return r.push(t, name, newBlob(ocispec.MediaTypeImageConfig, configured), nil, tags...)
}

const (
	chartConfig     = "application/vnd.cncf.helm.config.v1+json"
	chartContent    = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	chartProvenance = "application/vnd.cncf.helm.chart.provenance.v1.prov"
)

// chart pushes one as helm does, its provenance first, and returns its archive.
func (r *ociRegistry) chart(t testing.TB, name string, tags ...string) (archive []byte, manifest string) {
	t.Helper()
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	files := tar.NewWriter(zipped)
	text := []byte("name: web\nversion: " + tags[0] + "\n")
	if err := files.WriteHeader(&tar.Header{Name: "web/Chart.yaml", Mode: 0o644, Size: int64(len(text))}); err != nil {
		t.Fatal(err)
	}
	_, _ = files.Write(text)
	if err := errors.Join(files.Close(), zipped.Close()); err != nil {
		t.Fatal(err)
	}
	manifest = r.push(t, name, newBlob(chartConfig, []byte(`{"name":"web"}`)), []blob{newBlob(chartProvenance, []byte("signed")), newBlob(chartContent, out.Bytes())}, tags...)
	return out.Bytes(), manifest
}
