package registry

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

func TestCycle_ReadsTheRepositoriesThatAreWanted(t *testing.T) { // row 6
	s := newScript(t)
	for _, name := range []string{"shop/web", "shop/db", "other", "charts/web"} {
		s.tags[name] = []string{"1", "2"}
	}
	file := filepath.Join(t.TempDir(), "catalog")
	if err := os.WriteFile(file, []byte(`{"repositories":["other","other"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		change         func(*config.RegistryAccount)
		images, charts []string
	}{
		"the catalog":               {func(c *config.RegistryAccount) { c.PaginateSize = 1 }, []string{"charts/web:1", "charts/web:2", "other:1", "other:2", "shop/db:1", "shop/db:2", "shop/web:1", "shop/web:2"}, []string{}},
		"a list":                    {func(c *config.RegistryAccount) { c.Repositories = []string{"shop/web"} }, []string{"shop/web:1", "shop/web:2"}, []string{}},
		"a file":                    {func(c *config.RegistryAccount) { c.CatalogFile = file }, []string{"other:1", "other:2"}, []string{}},
		"an expression, as a whole": {func(c *config.RegistryAccount) { c.RepositoriesRegex = "shop/.|other" }, []string{"other:1", "other:2"}, []string{}},
		"with skips":                {func(c *config.RegistryAccount) { c.RepositoriesRegex, c.Skip = "shop/.*", []string{"shop/db"} }, []string{"shop/web:1", "shop/web:2"}, []string{}},
		"charts": {func(c *config.RegistryAccount) {
			c.Repositories, c.HelmOciRepositories, c.Skip = []string{"other"}, []string{"charts/web", "shop/db"}, []string{"shop/db"}
		}, []string{"other:1", "other:2"}, []string{"charts/web:1", "charts/web:2"}},
	} {
		p := polled(t, s.account(t, c.change))
		p.cycle(t.Context())
		same(t, what, p.shown(Images), c.images)
		same(t, what+", charts", p.shown(Charts), c.charts)
		if state := p.r.State("hub"); state.Problem != "" || state.Polled.IsZero() {
			t.Errorf("%s: %+v", what, state)
		}
		before, _ := p.r.db.RegistriesVersion(t.Context())
		p.cycle(t.Context())
		if after, _ := p.r.db.RegistriesVersion(t.Context()); after != before {
			t.Errorf("%s: a cycle without changes has written", what)
		}
	}
}

// cycles runs one, and says what is shown then.
func cycled(t *testing.T, p *poller, what string, want ...string) {
	t.Helper()
	p.cycle(t.Context())
	same(t, what, p.shown(Images), want)
}

func TestCycle_WhatIsGoneIsDroppedAndNothingElse(t *testing.T) {
	s := newScript(t)
	s.tags["a"], s.tags["b"] = []string{"1"}, []string{"1"}
	p := polled(t, s.account(t, nil))
	cycled(t, p, "at first", "a:1", "b:1")
	s.mu.Lock()
	s.tags["c"] = []string{"1", "2"}
	delete(s.tags, "b")
	s.mu.Unlock()
	cycled(t, p, "the catalog has changed", "a:1", "c:1", "c:2")
	s.mu.Lock()
	s.tags["c"] = []string{"2"}
	s.mu.Unlock()
	cycled(t, p, "a tag is gone", "a:1", "c:2")

	listed := polled(t, s.account(t, func(c *config.RegistryAccount) { c.Repositories = []string{"a", "c"} }))
	cycled(t, listed, "a list", "a:1", "c:2")
	s.mu.Lock()
	delete(s.tags, "c")
	s.mu.Unlock()
	cycled(t, listed, "missed once", "a:1", "c:2")
	cycled(t, listed, "missed twice", "a:1")
	s.mu.Lock()
	s.tags["c"] = []string{"3"}
	s.mu.Unlock()
	cycled(t, listed, "back again", "a:1", "c:3")
}

func TestCycle_AFailureTakesNothingAway(t *testing.T) { // row 13
	status := func(part string, code int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.RequestURI(), part) {
				w.WriteHeader(code)
				return true
			}
			return false
		}
	}
	broken := func(part string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.RequestURI(), part) {
				panic(http.ErrAbortHandler)
			}
			return false
		}
	}
	all := []string{"a:1", "a:2", "b:1"}
	for what, c := range map[string]struct {
		first   func(http.ResponseWriter, *http.Request) bool
		problem string
	}{
		"the catalog":            {status("_catalog", 500), "the catalog"},
		"a page of the catalog":  {status("_catalog?last=a", 500), "the catalog"},
		"the catalog is nowhere": {status("_catalog", 404), "the catalog"},
		"the tags of one":        {status("a/tags", 500), "a: "},
		"the tags are broken":    {broken("a/tags"), "a: "},
		"not for us":             {status("b/tags", 403), "b: the registry does not accept"},
		"all manifests":          {status("manifests", 500), "the digest of a:1"},
		"one manifest":           {status("manifests/2", 404), "the digest of a:2"},
		"down":                   {broken(""), "the catalog"},
		"limited":                {status("a/tags", 429), "the registry limits requests"},
	} {
		s := newScript(t)
		s.image("a", ociManifest, map[string]string{"branch": "main"}, "2026-01-01T00:00:00Z", "1", "2")
		s.image("b", ociManifest, nil, "", "1")
		p := polled(t, s.account(t, func(c *config.RegistryAccount) { c.PaginateSize, c.InspectDigests, c.TrackDigests = 1, true, true }))
		cycled(t, p, what+", before", all...)
		digest := p.r.Repository("hub", Images, "a").Tags[0].Digest
		s.does(c.first)
		cycled(t, p, what, all...)
		if state := p.r.State("hub"); !strings.Contains(state.Problem, c.problem) {
			t.Errorf("%s: %+v", what, state)
		}
		if tag := p.r.Repository("hub", Images, "a").Tags[0]; tag.Digest != digest || tag.Image == nil {
			t.Errorf("%s: %+v", what, tag)
		}
		if what == "limited" {
			if wait := p.next(); wait < 50*time.Second {
				t.Errorf("%s: it is asked again after %s", what, wait)
			}
			continue
		}
		s.does(nil)
		cycled(t, p, what+", after", all...)
		if state := p.r.State("hub"); state.Problem != "" {
			t.Errorf("%s, after: %+v", what, state)
		}
	}
}

func TestCycle_TagsStayWhereTheirLabelsCannotBeRead(t *testing.T) {
	s := newScript(t)
	s.image("a", ociManifest, map[string]string{"branch": "main"}, "", "1")
	s.does(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/blobs/") {
			w.WriteHeader(http.StatusInternalServerError)
			return true
		}
		return false
	})
	p := polled(t, s.account(t, func(c *config.RegistryAccount) { c.InspectDigests = true }))
	cycled(t, p, "without labels", "a:1")
	if tag := p.r.Repository("hub", Images, "a").Tags[0]; tag.Digest == "" || tag.Image != nil {
		t.Errorf("%+v", tag)
	}
	s.does(nil)
	cycled(t, p, "with labels", "a:1")
	if tag := p.r.Repository("hub", Images, "a").Tags[0]; tag.Image == nil || tag.Image.Labels["branch"] != "main" {
		t.Errorf("%+v", tag)
	}
}

func TestCycle_WhatWasReadBeforeALimitIsKept(t *testing.T) {
	s := newScript(t)
	s.image("a", ociManifest, map[string]string{"n": "1"}, "", "1")
	s.image("a", ociManifest, map[string]string{"n": "2"}, "", "2", "3")
	left := 4 // requests for the first tag's image
	s.does(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/manifests/") && !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		if left--; left >= 0 {
			return false
		}
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	})
	p := polled(t, s.account(t, func(c *config.RegistryAccount) { c.InspectDigests = true }))
	cycled(t, p, "limited", "a:1", "a:2", "a:3")
	tags := p.r.Repository("hub", Images, "a").Tags
	if tags[0].Image == nil || tags[2].Image != nil || !strings.Contains(p.r.State("hub").Problem, "limits requests") {
		t.Errorf("%+v, %+v", tags, p.r.State("hub"))
	}
}

func TestCycle_ATagThatIsNotForUsHidesNoOther(t *testing.T) {
	s := newScript(t)
	s.image("a", ociManifest, nil, "", "1", "2")
	s.does(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/manifests/1") {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	})
	p := polled(t, s.account(t, func(c *config.RegistryAccount) { c.TrackDigests = true }))
	cycled(t, p, "one is blocked", "a:1", "a:2")
	if tags := p.r.Repository("hub", Images, "a").Tags; tags[0].Digest != "" || tags[1].Digest == "" {
		t.Errorf("%+v", tags)
	}
	for range 5 {
		p.cycle(t.Context())
	}
	if wait := p.next(); wait > 40*time.Second {
		t.Errorf("the account is left alone for %s", wait)
	}
}

func TestCycle_AWrongPasswordIsNotTriedForEachRepository(t *testing.T) {
	s := newScript(t)
	s.does(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	names := []string{}
	for _, c := range "abcdefghijklmnopqrstuvwxyz" {
		names = append(names, string(c))
	}
	p := polled(t, s.account(t, func(c *config.RegistryAccount) { c.Username, c.Password, c.Repositories = "u", "p\n", names }))
	p.cycle(t.Context())
	if n := len(s.asked()); n > 6 {
		t.Errorf("%d requests", n)
	}
	if problem := p.r.State("hub").Problem; !strings.Contains(problem, "does not accept the credentials") || !strings.Contains(problem, "white space") {
		t.Error(problem)
	}
	first := p.next()
	for range 5 {
		p.cycle(t.Context())
	}
	if later := p.next(); first < 30*time.Second || later < 4*first {
		t.Errorf("it is asked again after %s, and after more failures after %s", first, later)
	}
}

func TestCycle_ARegistryThatIsSilentIsGivenUp(t *testing.T) {
	s := newScript(t)
	free := make(chan struct{})
	defer close(free)
	s.first = func(_ http.ResponseWriter, r *http.Request) bool {
		s.mu.Unlock()
		defer s.mu.Lock()
		select {
		case <-free:
		case <-r.Context().Done():
		}
		return true
	}
	p := polled(t, s.account(t, func(c *config.RegistryAccount) {
		c.ClientTimeoutMillis, c.Repositories = 50, []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	}))
	p.cycle(t.Context())
	if n := len(s.asked()); n != mostSilent {
		t.Errorf("%d requests", n)
	}
	if p.r.State("hub").Problem == "" {
		t.Error("nothing is said of it")
	}
}

func TestCycle_LooksIntoEachDigestOnce(t *testing.T) { // row 12
	s := newScript(t)
	old := s.image("a", ociManifest, map[string]string{"commitId": "1"}, "2026-01-01T00:00:00Z", "old", "same")
	s.image("a", dockerManifest, map[string]string{"commitId": "2"}, "2026-03-01T00:00:00Z", "new")
	s.image("a", ociManifest, nil, "", "unknown")
	s.index("a", ociIndex, old, "index")
	p := polled(t, s.account(t, func(c *config.RegistryAccount) { c.SortTagsByDate, c.Repositories = true, []string{"a"} }))
	p.cycle(t.Context())
	blobs := func() (n int) {
		for _, request := range s.asked() {
			if strings.Contains(request, "/blobs/") {
				n++
			}
		}
		return n
	}
	if n := blobs(); n != 4 { // of five tags
		t.Errorf("%d blobs were read", n)
	}
	if problem := p.r.State("hub").Problem; problem != "" {
		t.Error(problem)
	}
	same(t, "by date", p.r.TagNames(p.a, Images, "a"), []string{"new", "index", "old", "same", "unknown"})
	p.cycle(t.Context())
	if n := blobs(); n != 0 {
		t.Errorf("%d blobs were read again", n)
	}
	byName := *p.a
	byName.SortTagsByDate = false
	same(t, "by name", p.r.TagNames(&byName, Images, "a"), []string{"index", "new", "old", "same", "unknown"})
	same(t, "another repository", p.r.TagNames(p.a, Images, "b"), []string{})
	same(t, "charts", p.r.TagNames(p.a, Charts, "a"), []string{})
}

func TestCycle_WhatCannotBeReadOfAnImageIsToldOnceAndNotReadAgain(t *testing.T) {
	s := newScript(t)
	s.image("a", ociManifest, map[string]string{"commitId": "1"}, "yesterday", "odd")
	s.image("a", ociManifest, map[string]string{"long": strings.Repeat("x", mostLabels)}, "2026-01-01T00:00:00Z", "long")
	p := polled(t, s.account(t, func(c *config.RegistryAccount) { c.SortTagsByDate, c.Repositories = true, []string{"a"} }))
	p.cycle(t.Context())
	if problem := p.r.State("hub").Problem; !strings.Contains(problem, "the labels and date of a:") || !strings.Contains(problem, "1 more") {
		t.Error(problem)
	}
	s.asked()
	p.cycle(t.Context())
	for _, request := range s.asked() {
		if strings.Contains(request, "/blobs/") {
			t.Error(request)
		}
	}
	if problem := p.r.State("hub").Problem; problem != "" {
		t.Error(problem)
	}
}

func TestCycle_GoesOnWhereALimitHasEndedIt(t *testing.T) {
	s := newScript(t)
	names := []string{"a", "b", "c", "d", "e"}
	for _, name := range names {
		s.tags[name] = []string{"1"}
	}
	p := polled(t, s.account(t, func(c *config.RegistryAccount) { c.Repositories = names }))
	for range 3 {
		answers := 0
		s.does(func(w http.ResponseWriter, _ *http.Request) bool {
			if answers++; answers > 2 {
				w.WriteHeader(http.StatusTooManyRequests)
				return true
			}
			return false
		})
		p.cycle(t.Context())
		p.a.client.wire.rest = rest{}
	}
	same(t, "in three cycles of two", p.shown(Images), []string{"a:1", "b:1", "c:1", "d:1", "e:1"})
}

func TestCycle_ARedirectThatIsRefusedEndsNoCycle(t *testing.T) {
	s := newScript(t)
	names := []string{"a", "b", "c", "d", "e", "f"}
	s.tags["f"] = []string{"1"}
	s.does(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/f/") {
			return false
		}
		http.Redirect(w, r, r.URL.Path, http.StatusFound)
		return true
	})
	p := polled(t, s.account(t, func(c *config.RegistryAccount) { c.Repositories = names }))
	cycled(t, p, "the last one", "f:1")
}

func TestReplicas_AnAccountThatComesBackHasWhatTheDatabaseHas(t *testing.T) {
	s := newScript(t)
	s.tags["a"] = []string{"1"}
	db := openStore(t)
	with := s.account(t, func(c *config.RegistryAccount) { c.Repositories = []string{"a"} })
	r, _ := replica(t, db, "one", s, with)
	has := func() bool { return r.Repository("hub", Images, "a") != nil }
	until(t, "it is polled", has)
	r.Replace(FromSettings, nil)
	until(t, "it is forgotten", func() bool { return !has() })
	s.Close()
	r.Replace(FromSettings, []*Account{with})
	until(t, "it is read from the database", has)
}

func TestCycle_AnotherImageUnderATagIsSeen(t *testing.T) {
	s := newScript(t)
	first := s.image("a", ociManifest, map[string]string{"n": "1"}, "", "1")
	p := polled(t, s.account(t, func(c *config.RegistryAccount) { c.TrackDigests = true }))
	p.cycle(t.Context())
	second := s.image("a", ociManifest, map[string]string{"n": "2"}, "", "1")
	if got := p.r.Repository("hub", Images, "a").Tags[0].Digest; got != first {
		t.Error(got)
	}
	p.cycle(t.Context())
	if got := p.r.Repository("hub", Images, "a").Tags[0].Digest; got != second {
		t.Error(got)
	}
}

// replica is one of several on a database.
func replica(t *testing.T, db *store.Store, name string, s *script, a *Account) (r *Registries, stop func()) {
	t.Helper()
	accounts := NewAccounts(slog.New(slog.DiscardHandler))
	accounts.Replace(FromSettings, []*Account{a})
	r = New(accounts, db, name, slog.New(slog.DiscardHandler))
	r.timing = timing{follow: 10 * time.Millisecond, lease: 400 * time.Millisecond, look: 20 * time.Millisecond}
	if err := r.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = r.Run(ctx)
	}()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return r, stop
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestReplicas_OnePollsAndAllKnow(t *testing.T) { // row 14
	s := newScript(t)
	s.tags["a"] = []string{"1"}
	db := openStore(t)
	every := func(c *config.RegistryAccount) { c.CacheIntervalSeconds, c.Repositories = 1, []string{"a"} }
	var all []*Registries
	var stops []func()
	for _, name := range []string{"one", "two", "three"} {
		r, stop := replica(t, db, name, s, s.account(t, every))
		all, stops = append(all, r), append(stops, stop)
	}
	know := func(tags ...string) func() bool {
		return func() bool {
			return !slices.ContainsFunc(all, func(r *Registries) bool {
				repository := r.Repository("hub", Images, "a")
				return repository == nil || len(repository.Tags) != len(tags)
			})
		}
	}
	until(t, "all know the tag", know("1"))
	s.asked()
	until(t, "it is polled again", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.requests) >= 3 })
	s.mu.Lock()
	n := len(s.requests)
	s.mu.Unlock()
	if n > 4 {
		t.Errorf("%d requests in the time of three", n)
	}
	for i := range 2 { // whoever polls ends, and another goes on
		stops[i]()
		s.mu.Lock()
		s.tags["a"] = append(s.tags["a"], string(rune('2'+i)))
		s.mu.Unlock()
		all = all[1:]
		until(t, "the others know the new tag", know(s.tags["a"]...))
	}
	stops[2]()
	s.Close() // the registry is down
	again, _ := replica(t, db, "again", s, s.account(t, every))
	if repository := again.Repository("hub", Images, "a"); repository == nil || len(repository.Tags) != 3 {
		t.Errorf("after a restart: %+v", repository)
	}
	until(t, "the registry is said to be down", func() bool { return again.State("hub").Problem != "" })
	if repository := again.Repository("hub", Images, "a"); repository == nil || len(repository.Tags) != 3 {
		t.Errorf("after a failure: %+v", repository)
	}
}

func TestReplicas_FollowAccountsThatComeChangeAndGo(t *testing.T) {
	s, other := newScript(t), newScript(t)
	s.tags["a"], other.tags["b"] = []string{"1"}, []string{"1"}
	r, _ := replica(t, openStore(t), "one", s, s.account(t, nil))
	knows := func(name string) func() bool {
		return func() bool { return r.Repository("hub", Images, name) != nil }
	}
	until(t, "the first registry is read", knows("a"))
	r.Replace(FromSettings, []*Account{other.account(t, nil)})
	until(t, "the other registry is read", knows("b"))
	until(t, "what the first one had is gone", func() bool { return !knows("a")() })
	r.Replace(FromSettings, nil)
	other.asked()
	if all, _ := r.List(); len(all) != 0 {
		t.Error(all)
	}
}

func TestReplicas_WhoHasLostTheLeaseWritesNothing(t *testing.T) {
	s := newScript(t)
	s.tags["a"] = []string{"1"}
	p := polled(t, s.account(t, nil))
	if _, err := p.r.db.Acquire(t.Context(), leaseName("hub"), "test", time.Hour); err != nil { // its fence is another
		t.Fatal(err)
	}
	p.cycle(t.Context())
	if got := p.shown(Images); len(got) != 0 {
		t.Error(got)
	}
}

func TestFind(t *testing.T) { // row 7
	s := newScript(t)
	s.tags["shop/web"], s.tags["shop/db"], s.tags["x"] = []string{"1.0", "2.0-RC"}, []string{"1.0"}, []string{"a*b"}
	p := polled(t, s.account(t, nil))
	p.cycle(t.Context())
	for _, c := range []struct {
		q    Query
		want string
	}{
		{Query{}, "shop/db:1.0 shop/web:1.0 shop/web:2.0-RC x:a*b"},
		{Query{Text: "WEB:2.0-rc"}, "shop/web:2.0-RC"},
		{Query{Text: "*"}, "x:a*b"},
		{Query{Text: "?"}, ""},
		{Query{Text: p.a.Registry + "/x"}, "x:a*b"},
		{Query{Repository: "shop/web"}, "shop/web:1.0 shop/web:2.0-RC"},
		{Query{Repository: "web"}, ""},
		{Query{Tag: "1.0"}, "shop/db:1.0 shop/web:1.0"},
		{Query{Repository: "shop/web", Tag: "1.0"}, "shop/web:1.0"},
		{Query{Tag: "1.0", Most: 1}, "shop/db:1.0"},
		{Query{Text: "web", Most: 1}, "shop/web:1.0"},
		{Query{Most: 3}, "shop/db:1.0 shop/web:1.0 shop/web:2.0-RC"},
	} {
		var got []string
		for hit := range p.r.Find([]*Account{p.a}, Images, c.q) {
			got = append(got, hit.Repository+":"+hit.Tag.Name)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v: %q", c.q, got)
		}
	}
	for range p.r.Find(nil, Images, Query{}) {
		t.Error("nothing was asked")
	}
}

func TestRepository_ComesBackFromTheDatabaseAsItWas(t *testing.T) {
	tags := []Tag{}
	shared := &Image{Created: time.Unix(1e9, 0).UTC(), Labels: map[string]string{"a": "b"}}
	for i := range 2*partTags + 1 {
		tag := Tag{Name: "t" + strings.Repeat("x", i%3) + time.Duration(i).String()}
		if i%2 == 0 {
			tag.Digest, tag.Image = "sha256:1", shared
		}
		tags = append(tags, tag)
	}
	for what, r := range map[string]*Repository{"large": newRepository("a", tags), "empty": newRepository("a", nil)} {
		parts, err := encode(r)
		if err != nil {
			t.Fatal(err)
		}
		back, err := decode("a", 7, parts)
		if err != nil || !back.same(r) || back.version != 7 || what == "large" && len(parts) != 3 {
			t.Errorf("%s: %d parts, %v", what, len(parts), err)
		}
	}
	if _, err := decode("a", 1, [][]byte{[]byte("no gzip")}); err == nil {
		t.Error("what is no part is one")
	}
}

func TestState_IsToldInWords(t *testing.T) {
	body, err := json.Marshal(State{Problem: "x"})
	if err != nil || !strings.Contains(string(body), `"problem":"x"`) {
		t.Error(string(body), err)
	}
}
