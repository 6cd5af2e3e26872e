package integration

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// registryProgram builds the registry once: it is a module of its own.
var registryProgram = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "registry")
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, "registry")
	build := exec.Command("go", "build", "-o", path, ".")
	build.Dir = "registry"
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

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
	program, err := registryProgram()
	if err != nil {
		t.Fatal(err)
	}
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
	cmd := exec.Command(program, "-realm", service.URL+"/token", "-jwks", keys)
	cmd.Stderr = testWriter{t}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	t.Cleanup(r.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	r.URL = strings.TrimSpace(line)
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

// registrySettings have the registry as the account hub, in Java's spelling.
func registrySettings(r *ociRegistry) config.RegistryAccount {
	return config.RegistryAccount{
		Name: "hub", Address: r.URL, Username: "ci", Password: *r.password.Load(),
		HelmOciRepositories: []string{"charts/web"}, Skip: []string{"charts/web"},
		TrackDigests: true, InspectDigests: true, CacheIntervalSeconds: 1, PaginateSize: 2, CacheThreads: 4, ClientTimeoutMillis: 5000,
	}
}

type foundTag struct {
	Repository, Tag, Account, Registry, Digest, CommitID, BuildNumber, Branch string
	Artifact                                                                  struct {
		Type, Name, Version, Reference string
		Metadata                       struct {
			Registry string
			Labels   map[string]string
		}
	}
}

// igor asks as Igor does at each of its polls: without a user (docker-registry.md 1).
func igor(t testing.TB, s *service, family string) map[string][]foundTag {
	t.Helper()
	var accounts []map[string]any
	s.get(t, "/credentials").into(t, &accounts)
	out := map[string][]foundTag{}
	for _, a := range accounts {
		if a["cloudProvider"] != "dockerRegistry" {
			continue
		}
		name, _ := a["name"].(string)
		var one map[string]any
		s.get(t, "/credentials/"+name).into(t, &one)
		if _, is := one["trackDigests"].(bool); !is || one["name"] != name {
			t.Errorf("the account %s is %v", name, one)
		}
		var found []foundTag
		s.get(t, "/dockerRegistry/"+family+"/find?account="+name+"&includeDetails=true").into(t, &found)
		out[name] = found
	}
	return out
}

func tagNames(found []foundTag) []string {
	out := []string{}
	for _, f := range found {
		out = append(out, f.Repository+":"+f.Tag)
	}
	return out
}

// TestRegistries_StartPipelines is Igor's, Deck's and Rosco's way through a real
// registry with token authentication, on each database (docker-registry.md 11, rows
// 3, 7, 8, 11, 13, 14, 15, 18 and 19; artifacts.md 8.5, row 10).
func TestRegistries_StartPipelines(t *testing.T) {
	onEach(t, "utf8mb4", func(t *testing.T, b backend) {
		r := startRegistry(t)
		first := r.image(t, "shop/web", map[string]string{"commitId": "3f2a1b0", "buildNumber": "118", "branch": "main"}, "2026-01-02T03:04:05Z", "1.4.2", "latest")
		r.image(t, "shop/db", nil, "2026-01-01T03:04:05Z", "1")
		archive, manifest := r.chart(t, "charts/web", "1.0.0", "1.1.0")

		f := startFiat(t, map[string]string{"reader": may("reader", map[string][]string{"hub": {"READ"}}, nil, ""), "other": may("other", nil, nil, "")})
		c := onDatabase(settings(), b.options)
		c.Services.Fiat = f.Fiat
		c.Registries.Enabled = true
		c.Registries.Accounts = []config.RegistryAccount{registrySettings(r), {Name: "broken"}}
		c.Registries.Accounts[0].Skip = nil
		c.Registries.Accounts[0].RepositoriesRegex = "shop/.*"
		s := startWith(t, c, nil)
		other := s
		if b.options.MySQL != nil {
			other = startWith(t, c, nil)
		}
		want := []string{"shop/db:1", "shop/web:1.4.2", "shop/web:latest"}
		for _, replica := range []*service{s, other} {
			eventually(t, 20*time.Second, func() error {
				if got := tagNames(igor(t, replica, "images")["hub"]); !slices.Equal(got, want) {
					return fmt.Errorf("%q", got)
				}
				return nil
			})
		}
		polled := igor(t, s, "images")
		if !reflect.DeepEqual(polled, igor(t, s, "images")) || len(polled) != 1 {
			t.Error("two polls differ though nothing has changed, or have more than the account that can be used")
		}
		web := polled["hub"][1]
		if web.Digest != first || web.Registry != r.host() || web.CommitID != "3f2a1b0" || web.BuildNumber != "118" || web.Branch != "main" ||
			web.Artifact.Type != "docker" || web.Artifact.Reference != r.host()+"/shop/web:1.4.2" || web.Artifact.Metadata.Labels["branch"] != "main" {
			t.Errorf("%+v", web)
		}
		charts := igor(t, s, "charts")["hub"]
		if got := tagNames(charts); !slices.Equal(got, []string{"charts/web:1.0.0", "charts/web:1.1.0"}) || charts[0].Artifact.Type != "helm/image" {
			t.Errorf("%+v", charts)
		}
		s.get(t, "/dockerRegistry/images/tags?account=hub&repository=shop/web").says(t, 403) // Deck has a user
		s.as(t, "reader", "GET", "/dockerRegistry/images/tags?account=hub&repository=shop/web", "").is(t, 200, `["1.4.2","latest"]`)
		s.as(t, "other", "GET", "/dockerRegistry/images/find?account=hub", "").says(t, 403)
		s.as(t, "other", "GET", "/dockerRegistry/images/find", "").is(t, 200, "[]")
		s.as(t, "reader", "GET", "/dockerRegistry/charts/tags?account=hub&repository=charts/web", "").is(t, 200, `["1.0.0","1.1.0"]`)

		fetchesCharts(t, s, r, archive, manifest)

		// A push is seen by all, and another image under a tag.
		second := r.image(t, "shop/web", map[string]string{"commitId": "4"}, "2026-02-02T03:04:05Z", "1.5.0", "latest")
		for _, replica := range []*service{s, other} {
			eventually(t, 20*time.Second, func() error {
				found := igor(t, replica, "images")["hub"]
				if len(found) != 4 || found[2].Digest != second || found[3].Digest != second {
					return fmt.Errorf("%+v", found)
				}
				return nil
			})
		}
		// The registry ends, and so does the service: what was known is there at once.
		r.kill()
		eventually(t, 30*time.Second, func() error {
			if got := s.get(t, "/dockerRegistry/images/find?account=hub").header.Get("X-Clouddriver-Stale-Accounts"); got != "hub" {
				return fmt.Errorf("marked: %q", got)
			}
			if got := s.get(t, "/health").body; !strings.Contains(got, `"hub":"DOWN"`) || !strings.Contains(got, `"status":"UP"`) {
				return errors.New(got)
			}
			return nil
		})
		s.stop()
		if other != s {
			other.stop()
		}
		again := startWith(t, c, nil)
		if got := tagNames(igor(t, again, "images")["hub"]); len(got) != 4 {
			t.Errorf("after a restart without the registry: %q", got)
		}
		again.fetchFails(t, map[string]any{"type": "helm/image", "artifactAccount": "hub", "name": "charts/web", "version": "1.0.0"}, 500, "Unable to download the contents of artifact helm/image charts/web")
	})
}

// fetchFails asks for an artifact that cannot be had.
func (s *service) fetchFails(t testing.TB, artifact map[string]any, status int, text string) {
	t.Helper()
	got, body := s.fetch(t, artifact)
	if got != status || !strings.Contains(string(body), text) {
		t.Errorf("%v: %d %s, want %d %s", artifact, got, body, status, text)
	}
}

// fetchesCharts is artifacts.md 8.5, row 10.
func fetchesCharts(t *testing.T, s *service, r *ociRegistry, archive []byte, manifest string) {
	t.Helper()
	for what, a := range map[string]map[string]any{
		"name and version": {"name": "charts/web", "version": "1.1.0"},
		"as a trigger has": {"name": r.host() + "/charts/web", "version": "1.1.0", "reference": r.host() + "/charts/web:1.1.0"},
		"reference alone":  {"reference": r.host() + "/charts/web:1.0.0"},
		"as helm has it":   {"reference": "oci://" + r.host() + "/charts/web:1.0.0"},
		"a digest":         {"name": "charts/web", "version": manifest},
		"by its digest":    {"reference": r.host() + "/charts/web@" + manifest},
	} {
		a["type"], a["artifactAccount"] = "helm/image", "hub"
		if status, body := s.fetch(t, a); status != http.StatusOK || !bytes.Equal(body, archive) {
			t.Errorf("%s: %d, %d bytes of %d", what, status, len(body), len(archive))
		}
	}
	s.fetchFails(t, map[string]any{"type": "helm/image", "artifactAccount": "hub", "name": "charts/web", "version": "9"}, 404, "has no charts/web:9")
	s.fetchFails(t, map[string]any{"type": "helm/image", "artifactAccount": "hub", "name": "charts/web"}, 400, "must say the chart and its version")
	s.fetchFails(t, map[string]any{"type": "helm/image", "artifactAccount": "hub", "name": "Charts/../web", "version": "1"}, 400, "not the name of a repository")
	s.fetchFails(t, map[string]any{"type": "helm/image", "artifactAccount": "hub", "name": "charts/web", "version": "1/../2"}, 400, "neither a tag nor a digest")
	s.get(t, "/artifacts/account/hub/names?type=helm/image").is(t, 200, `["charts/web"]`)
	s.get(t, "/artifacts/account/hub/versions?type=helm/image&artifactName=charts/web").is(t, 200, `["1.0.0","1.1.0"]`)
	s.get(t, "/artifacts/account/hub/versions?type=helm/image&artifactName=charts/none").says(t, 400, "Could not find correct entry with artifact name charts/none")
	if got := s.get(t, "/artifacts/credentials").body; !strings.Contains(got, `{"name":"hub","types":["helm/image"],"type":"artifacts-helm-oci"}`) {
		t.Error(got)
	}
}

// TestRegistries_AreManagedAtRunTime is docker-registry.md 11, row 19.
func TestRegistries_AreManagedAtRunTime(t *testing.T) {
	r := startRegistry(t)
	r.image(t, "shop/web", nil, "", "1")
	c := settings()
	c.Registries.Enabled = true
	c.Definitions.Storage.Open = true
	s := startWith(t, c, nil)
	s.get(t, "/dockerRegistry/images/find").is(t, 200, "[]")
	definition := func(password, more string) string {
		return fmt.Sprintf(`{"type":"dockerRegistry","name":"hub","address":%q,"username":"ci","password":%q,"cacheIntervalSeconds":1%s}`, r.URL, password, more)
	}
	s.send(t, "POST", "/credentials", definition("secret", "")).says(t, 200)
	shows := func(want ...string) {
		t.Helper()
		eventually(t, 20*time.Second, func() error {
			if got := tagNames(igor(t, s, "images")["hub"]); !slices.Equal(got, want) {
				return fmt.Errorf("%q", got)
			}
			return nil
		})
	}
	shows("shop/web:1")
	s.get(t, "/dockerRegistry/images/tags?account=hub&repository=shop/none").is(t, 200, "[]")
	// The password changes at the registry first.
	r.setPassword("other")
	s.send(t, "PUT", "/credentials", definition("other", `,"repositories":["shop/web"]`)).says(t, 200)
	r.image(t, "shop/web", nil, "", "2")
	shows("shop/web:1", "shop/web:2")
	for field, body := range map[string]string{
		"passwordFile":  definition("", `,"passwordFile":"/etc/passwd"`),
		"catalogFile":   definition("x", `,"catalogFile":"/etc/passwd"`),
		"address":       `{"type":"dockerRegistry","name":"b","address":"http://169.254.169.254"}`,
		"repositories,": definition("x", `,"repositories":["a"],"repositoriesRegex":"b"`),
	} {
		if got := s.send(t, "PUT", "/credentials", body); got.status != http.StatusBadRequest || !strings.Contains(got.body, field) {
			t.Errorf("%s: %d %s", field, got.status, got.body)
		}
	}
	if got := s.get(t, "/credentials/type/dockerRegistry").body; !strings.Contains(got, `"name":"hub"`) {
		t.Error(got)
	}
	s.send(t, "DELETE", "/credentials/hub", "").says(t, 200)
	eventually(t, 10*time.Second, func() error {
		if got := igor(t, s, "images"); len(got) != 0 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	s.get(t, "/dockerRegistry/images/find?account=hub").is(t, 200, "[]")
	s.get(t, "/artifacts/account/hub/names?type=helm/image").is(t, 404, "")
}

// slowRegistry takes its time for each answer, and counts the requests.
func slowRegistry(t testing.TB, repositories, tags int, each time.Duration) (address string, requests *atomic.Int64) {
	t.Helper()
	requests = &atomic.Int64{}
	list := func(member, prefix string, n int, w http.ResponseWriter, req *http.Request) {
		from, page := 0, 0
		_, _ = fmt.Sscanf(req.URL.Query().Get("n"), "%d", &page)
		_, _ = fmt.Sscanf(req.URL.Query().Get("last"), prefix+"%d", &from)
		all := []string{}
		for i := from + 1; i <= n && len(all) < page; i++ {
			all = append(all, fmt.Sprintf("%s%06d", prefix, i))
		}
		if len(all) == page && from+page < n {
			w.Header().Set("Link", fmt.Sprintf(`<%s?last=%s&n=%d>; rel="next"`, req.URL.Path, all[page-1], page))
		}
		_ = json.NewEncoder(w).Encode(map[string]any{member: all})
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		requests.Add(1)
		select {
		case <-time.After(each):
		case <-req.Context().Done():
		}
		if req.URL.Path == "/v2/_catalog" {
			list("repositories", "r", repositories, w, req)
			return
		}
		list("tags", "t", tags, w, req)
	}))
	t.Cleanup(server.Close)
	return server.URL, requests
}

// BenchmarkIgorPoll is a poll of Igor over 200 repositories of 1,000 tags: cold, when
// the registry is read for the first time, and warm, from memory.
func BenchmarkIgorPoll(b *testing.B) {
	t := &table{}
	const most = 200 * 1000
	address, requests := slowRegistry(b, 200, 1000, 2*time.Millisecond)
	c := settings()
	c.Registries.Enabled = true
	c.Registries.Accounts = []config.RegistryAccount{{Name: "hub", Address: address, CacheThreads: 8, CacheIntervalSeconds: 3600, PaginateSize: 1000}}
	begin := time.Now()
	s := startWith(b, c, nil)
	count := func() int {
		res, err := http.Get(s.URL + "/dockerRegistry/images/find?account=hub&includeDetails=true")
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		content, err := io.ReadAll(res.Body)
		if err != nil {
			b.Fatal(err)
		}
		return bytes.Count(content, []byte(`"artifact":`))
	}
	eventually(b, time.Minute, func() error {
		if n := count(); n != most {
			return fmt.Errorf("%d tags", n)
		}
		return nil
	})
	cold, read := time.Since(begin), requests.Load()
	t.add("cold: until all tags are shown", round(cold).String(), "", true)
	t.add("cold: requests to the registry", fmt.Sprint(read), "at most 201: a page of the catalog and one of each repository", read <= 201)
	begin = time.Now()
	if n := count(); n != most {
		b.Errorf("%d tags", n)
	}
	t.add("warm: a poll, 200,000 tags with details", round(time.Since(begin)).String(), "at most a tenth of the cold one, or 2s", time.Since(begin) <= max(cold/10, 2*time.Second))
	t.add("warm: requests to the registry", fmt.Sprint(requests.Load()-read), "none", requests.Load() == read)
	fmt.Print(t)
	for b.Loop() {
	}
}
