package api

import (
	"bytes"
	"encoding/json"
	"iter"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/auth"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/registry"
)

func registryAccount(t testing.TB, change func(*config.RegistryAccount)) *registry.Account {
	t.Helper()
	c := config.RegistryAccount{Name: "hub", Address: "https://index.docker.io"}
	if change != nil {
		change(&c)
	}
	a, err := registry.NewAccount(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestTaggedImage_HasTheMembersThatIgorReads is docker-registry.md 11, row 8: the
// three flags with and without details, of an image with labels and of one without.
func TestTaggedImage_HasTheMembersThatIgorReads(t *testing.T) {
	labels := map[string]string{"commitId": "3f2a1b0", "buildNumber": "118", "branch": "main", "other": "x"}
	const head = `{"repository":"shop/web","tag":"1.4.2","account":"hub","registry":"index.docker.io"`
	const artifact = `,"artifact":{"type":"docker","name":"shop/web","version":"1.4.2","reference":"index.docker.io/shop/web:1.4.2","metadata":{"registry":"index.docker.io"`
	for _, c := range []struct {
		digests, inspects, sorts, details bool
		labels                            map[string]string
		want                              string
	}{
		{want: head + artifact + `,"labels":{}}}}`},
		{details: true, labels: labels, want: head + artifact + `}}}`},
		{digests: true, labels: labels, want: head + `,"digest":"sha256:9f1c"` + artifact + `,"labels":{}}}}`},
		{sorts: true, details: true, labels: labels, want: head + artifact + `}}}`},
		{inspects: true, labels: labels, want: head + `,"digest":"sha256:9f1c"` + artifact + `,"labels":{}}}}`},
		{inspects: true, details: true, labels: labels, want: head + `,"digest":"sha256:9f1c","commitId":"3f2a1b0","buildNumber":"118","branch":"main"` + artifact + `,"labels":{"branch":"main","buildNumber":"118","commitId":"3f2a1b0","other":"x"}}}}`},
		{inspects: true, details: true, want: head + `,"digest":"sha256:9f1c"` + artifact + `}}}`},
	} {
		a := registryAccount(t, func(of *config.RegistryAccount) {
			of.TrackDigests, of.InspectDigests, of.SortTagsByDate = c.digests, c.inspects, c.sorts
		})
		hit := registry.Hit{Account: a, Repository: "shop/web", Tag: registry.Tag{Name: "1.4.2", Digest: "sha256:9f1c", Image: &registry.Image{Labels: c.labels}}}
		got, err := json.Marshal(newTaggedImage(hit, registry.Images, c.details))
		if err != nil || string(got) != c.want {
			t.Errorf("%+v:\n%s\n%s", c, got, c.want)
		}
	}
	hit := registry.Hit{Account: registryAccount(t, nil), Repository: "charts/web", Tag: registry.Tag{Name: "1"}}
	if got := newTaggedImage(hit, registry.Charts, true); got.Artifact.Type != "helm/image" || got.Digest != "" {
		t.Errorf("%+v", got)
	}
}

// TestRegistryCredential_TellsNoSecret is row 3.
func TestRegistryCredential_TellsNoSecret(t *testing.T) {
	a := registryAccount(t, func(c *config.RegistryAccount) {
		c.Username, c.PasswordCommand, c.Repositories, c.TrackDigests = "hush", "hush --now", []string{"hush/web"}, true
	})
	s := &Server{}
	want := `{"name":"hub","environment":"hub","accountType":"hub","cloudProvider":"dockerRegistry","requiredGroupMembership":[],"permissions":{},"type":"dockerRegistry","challengeDestructiveActions":false,"primaryAccount":false`
	short, err := json.Marshal(s.newRegistryCredential(a))
	if err != nil || string(short) != want+"}" {
		t.Errorf("%s %v", short, err)
	}
	full, err := json.Marshal(s.newFullRegistryCredential(a))
	want += `,"enabled":true,"address":"https://index.docker.io","registry":"index.docker.io","v2Endpoint":"https://index.docker.io/v2","trackDigests":true,"inspectDigests":false,"sortTagsByDate":false,"insecureRegistry":false,"cacheThreads":1,"cacheIntervalSeconds":30,"clientTimeoutMillis":60000,"paginateSize":100,"skip":[]}`
	if err != nil || string(full) != want {
		t.Errorf("%s\n%s", full, want)
	}
	restricted := registryAccount(t, func(c *config.RegistryAccount) {
		c.Permissions = map[string][]string{"READ": {" Ops "}}
	})
	if got := s.newRegistryCredential(restricted).Permissions; !slices.Equal(got["READ"], []string{"ops"}) {
		t.Error(got)
	}
}

// manyTags are registries with so many tags, which take no memory of their own.
type manyTags struct {
	account            *registry.Account
	repositories, tags int
}

func (m manyTags) List() ([]*registry.Account, <-chan struct{}) {
	return []*registry.Account{m.account}, nil
}

func (m manyTags) Get(name string) (*registry.Account, bool) {
	return m.account, name == m.account.Name
}

func (m manyTags) Revision() uint64 { return 1 }

func (m manyTags) State(string) registry.State { return registry.State{Problem: "down"} }

func (m manyTags) TagNames(*registry.Account, registry.Family, string) []string { return nil }

func (m manyTags) Find(accounts []*registry.Account, _ registry.Family, _ registry.Query) iter.Seq[registry.Hit] {
	return func(yield func(registry.Hit) bool) {
		for _, a := range accounts {
			for i := range m.repositories {
				for j := range m.tags {
					if !yield(registry.Hit{Account: a, Repository: "r" + strconv.Itoa(i), Tag: registry.Tag{Name: strconv.Itoa(j)}}) {
						return
					}
				}
			}
		}
	}
}

// counting counts what it is sent, and the largest heap meanwhile.
type counting struct {
	http.ResponseWriter
	bytes int
	heap  uint64
}

func (c *counting) Write(p []byte) (int, error) {
	const every = 64 << 20
	if c.bytes/every != (c.bytes+len(p))/every {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		c.heap = max(c.heap, m.HeapAlloc)
	}
	c.bytes += len(p)
	return len(p), nil
}

// TestFindTags_AMillionAreStreamed is row 17.
func TestFindTags_AMillionAreStreamed(t *testing.T) {
	s := &Server{Options: Options{Accounts: account.NewRegistry(), Registries: manyTags{registryAccount(t, nil), 2000, 500}}}
	plain := httptest.NewRequest(http.MethodGet, "/dockerRegistry/images/find?account=hub", nil)
	r := &request{Request: plain, caller: auth.Everybody(http.Header{})}
	rep, err := findTags(registry.Images)(s, r)
	if err != nil {
		t.Fatal(err)
	}
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	w := &counting{ResponseWriter: httptest.NewRecorder()}
	rep.open(w)
	if w.bytes < 200<<20 || w.heap > before.HeapAlloc+8<<20 {
		t.Errorf("%d bytes, the heap went from %d to %d", w.bytes, before.HeapAlloc, w.heap)
	}
	if got := w.Header().Get(StaleHeader); got != "hub" {
		t.Errorf("a registry that cannot be read is not marked: %q", got)
	}
}

func TestWriteTags_IsAnArrayAlways(t *testing.T) {
	for n := range 3 {
		var out bytes.Buffer
		m := manyTags{registryAccount(t, nil), 1, n}
		if err := writeTags(&out, m.Find([]*registry.Account{m.account}, registry.Images, registry.Query{}), registry.Images, false); err != nil {
			t.Fatal(err)
		}
		var back []map[string]any
		if err := json.Unmarshal(out.Bytes(), &back); err != nil || len(back) != n || back == nil {
			t.Errorf("%d: %s %v", n, strings.TrimSpace(out.String()), err)
		}
	}
}

// TestFindTags_AreFilteredByAccount asks without an account, as old callers do: each
// user finds what is theirs (docker-registry.md 7).
func TestFindTags_AreFilteredByAccount(t *testing.T) {
	all := registries(t, "prod", "vault")
	handler := guardedWith(t, "right", func(o *Options) {
		o.Accounts, o.Registries = account.NewRegistry(), all
	})
	for user, want := range map[string]int{"reader": 1, "admin": 2, "": 2, "nothing": 0} {
		for _, query := range []string{"", "?account=*", "?account="} {
			rec := ask(handler, http.MethodGet, "/dockerRegistry/images/find"+query, user, "")
			var found []taggedImage
			if err := json.Unmarshal(rec.Body.Bytes(), &found); err != nil || len(found) != want {
				t.Errorf("%q%s: %d %s", user, query, rec.Code, rec.Body)
			}
		}
	}
	for _, path := range []string{"/dockerRegistry/images/find?account=vault", "/dockerRegistry/images/tags?account=vault&repository=r0"} {
		rec := ask(handler, http.MethodGet, path, "reader", "")
		if rec.Code != http.StatusForbidden || !strings.Contains(rec.Body.String(), "Access denied to account vault - required authorization: READ") {
			t.Errorf("%s: %d %s", path, rec.Code, rec.Body)
		}
	}
	if rec := ask(handler, http.MethodGet, "/dockerRegistry/images/tags?account=prod", "reader", ""); rec.Code != http.StatusBadRequest || !strings.Contains(rec.Body.String(), "'repository'") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// registries have one tag each.
func registries(t *testing.T, names ...string) Registries {
	t.Helper()
	out := oneTag{}
	for _, name := range names {
		out = append(out, registryAccount(t, func(c *config.RegistryAccount) { c.Name = name }))
	}
	return out
}

type oneTag []*registry.Account

func (o oneTag) List() ([]*registry.Account, <-chan struct{}) { return o, nil }

func (o oneTag) Revision() uint64 { return 1 }

func (o oneTag) Get(name string) (*registry.Account, bool) {
	for _, a := range o {
		if a.Name == name {
			return a, true
		}
	}
	return nil, false
}

func (o oneTag) State(string) registry.State { return registry.State{} }

func (o oneTag) TagNames(*registry.Account, registry.Family, string) []string { return []string{"0"} }

func (o oneTag) Find(accounts []*registry.Account, f registry.Family, q registry.Query) iter.Seq[registry.Hit] {
	return manyTags{nil, 1, 1}.Find(accounts, f, q)
}
