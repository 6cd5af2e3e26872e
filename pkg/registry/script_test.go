package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// script is a registry that does what a test says.
type script struct {
	*httptest.Server
	prefix string

	mu       sync.Mutex
	tags     map[string][]string
	content  map[string][]byte // manifests and blobs, by digest
	types    map[string]string // media types of manifests, by digest
	pointers map[string]string // digests, by repository:tag
	requests []string
	// first answers before everything else; true when it has.
	first func(w http.ResponseWriter, r *http.Request) bool
}

func newScript(t *testing.T) *script {
	s := &script{tags: map[string][]string{}, content: map[string][]byte{}, types: map[string]string{}, pointers: map[string]string{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r.Method+" "+r.URL.RequestURI())
	if s.first != nil && s.first(w, r) {
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, s.prefix+"/v2/")
	parts := strings.Split(path, "/")
	switch {
	case !ok:
		http.NotFound(w, r)
	case path == "":
		_, _ = w.Write([]byte("{}"))
	case path == "_catalog":
		names := []string{}
		for name := range s.tags {
			names = append(names, name)
		}
		slices.Sort(names)
		s.page(w, r, "repositories", names)
	case strings.HasSuffix(path, "/tags/list"):
		all, ok := s.tags[strings.TrimSuffix(path, "/tags/list")]
		if !ok {
			http.Error(w, `{"errors":[{"code":"NAME_UNKNOWN"}]}`, http.StatusNotFound)
			return
		}
		s.page(w, r, "tags", all)
	case len(parts) > 2 && (parts[len(parts)-2] == "manifests" || parts[len(parts)-2] == "blobs"):
		name, reference := strings.Join(parts[:len(parts)-2], "/"), parts[len(parts)-1]
		if digest, ok := s.pointers[name+":"+reference]; ok {
			reference = digest
		}
		body, ok := s.content[reference]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", s.types[reference])
		w.Header().Set("Docker-Content-Digest", reference)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		if r.Method != http.MethodHead {
			_, _ = w.Write(body)
		}
	default:
		http.NotFound(w, r)
	}
}

// page answers with a part of a list, and a link to the next one.
func (s *script) page(w http.ResponseWriter, r *http.Request, member string, all []string) {
	n, _ := strconv.Atoi(r.URL.Query().Get("n"))
	from, _ := slices.BinarySearch(all, r.URL.Query().Get("last"))
	if r.URL.Query().Has("last") {
		from++
	}
	to := len(all)
	if n > 0 && from+n < len(all) {
		to = from + n
		w.Header().Set("Link", fmt.Sprintf(`<%s?n=%d&last=%s>; rel="next"`, r.URL.Path, n, all[to-1]))
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"name": "x", member: all[min(from, to):to]})
}

// keep has content under its digest.
func (s *script) keep(mediaType string, of any) (digest string, size int) {
	body, ok := of.([]byte)
	if !ok {
		body, _ = json.Marshal(of)
	}
	sum := sha256.Sum256(body)
	digest = "sha256:" + hex.EncodeToString(sum[:])
	s.content[digest], s.types[digest] = body, mediaType
	return digest, len(body)
}

const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	ociManifest    = "application/vnd.oci.image.manifest.v1+json"
	ociIndex       = "application/vnd.oci.image.index.v1+json"
)

// image pushes one with labels and a date under tags.
func (s *script) image(repository, mediaType string, labels map[string]string, created string, tags ...string) (digest string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	configured := map[string]any{"config": map[string]any{"Labels": labels}}
	if created != "" {
		configured["created"] = created
	}
	config, size := s.keep("application/octet-stream", configured)
	digest, _ = s.keep(mediaType, map[string]any{"schemaVersion": 2, "mediaType": mediaType, "config": map[string]any{"digest": config, "size": size, "mediaType": "application/vnd.oci.image.config.v1+json"}, "layers": []any{}})
	s.point(repository, digest, tags...)
	return digest
}

// index pushes a list of one image.
func (s *script) index(repository, mediaType, image string, tags ...string) (digest string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	digest, _ = s.keep(mediaType, map[string]any{"schemaVersion": 2, "mediaType": mediaType, "manifests": []any{map[string]any{"digest": image, "size": len(s.content[image]), "mediaType": s.types[image]}}})
	s.point(repository, digest, tags...)
	return digest
}

func (s *script) point(repository, digest string, tags ...string) {
	for _, tag := range tags {
		s.pointers[repository+":"+tag] = digest
		if !slices.Contains(s.tags[repository], tag) {
			s.tags[repository] = append(s.tags[repository], tag)
			slices.Sort(s.tags[repository])
		}
	}
}

// asked are the requests since it was asked last.
func (s *script) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.requests
	s.requests = nil
	return out
}

func (s *script) does(first func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.first = first
}

// account is one of the registry.
func (s *script) account(t *testing.T, change func(*config.RegistryAccount)) *Account {
	t.Helper()
	c := config.RegistryAccount{Name: "hub", Address: s.URL + s.prefix, ClientTimeoutMillis: 60_000}
	if change != nil {
		change(&c)
	}
	a, err := NewAccount(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func openStore(t *testing.T) *store.Store {
	t.Helper()
	db, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "db"), Timeout: 10 * time.Second, MigrationTimeout: time.Minute, MaxOpen: 4, MaxIdle: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

// polled is a poller that holds the lease, for cycles by hand.
func polled(t *testing.T, a *Account) *poller {
	t.Helper()
	accounts := NewAccounts(slog.New(slog.DiscardHandler))
	accounts.Replace(FromSettings, []*Account{a})
	r := New(accounts, openStore(t), "test", slog.New(slog.DiscardHandler))
	lease, err := r.db.Acquire(t.Context(), leaseName(a.Name), r.owner, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return &poller{r: r, a: a, lease: lease, missed: map[store.RegistryKey]int{}}
}

// shown are repository:tag of a family, in their order.
func (p *poller) shown(family Family) []string {
	out := []string{}
	for _, repository := range p.r.Repositories(p.a.Name, family) {
		for _, tag := range repository.Tags {
			out = append(out, repository.Name+":"+tag.Name)
		}
	}
	return out
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}
