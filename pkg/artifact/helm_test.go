package artifact

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

const blockIndex = `apiVersion: v1
# made by a program
entries:
  zeta:
  - apiVersion: v2
    description: |
      text:
        of several lines
    urls:
    - charts/zeta-1.10.0.tgz
    version: 1.10.0
  - urls:
    - charts/zeta-1.2.0.tgz
    version: 1.2.0
  - urls:
    - charts/zeta-2.0.0-rc.1.tgz
    version: 2.0.0-rc.1
  "alpha:beta":
    - version: "0.1"
      urls: [https://elsewhere.invalid/a.tgz]
  odd:
  - version: not-a-version
    urls: ["::", charts/odd.tgz]
generated: "2026-01-01T00:00:00Z"
`

const jsonIndex = `{"apiVersion":"v1","more":[{"a":[1]}],"entries":{"zeta":[{"version":"1.10.0","urls":["charts/zeta-1.10.0.tgz"]},{"version":"1.2.0","urls":["x"]}],"alpha":[]}}`

func repositoryWith(t *testing.T, index string) (helm, *[]string) {
	t.Helper()
	seen := &[]string{}
	s := server(t, func(w http.ResponseWriter, r *http.Request) {
		*seen = append(*seen, r.URL.Path+" "+r.Header.Get(authorization))
		switch {
		case r.URL.Path == "/base/index.yaml" && index != "":
			_, _ = io.WriteString(w, index)
		case strings.HasPrefix(r.URL.Path, "/base/charts/"):
			_, _ = fmt.Fprint(w, "chart "+r.URL.Path)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	of, err := (&builder{}).helm(config.ArtifactAccount{Name: "charts", Repository: s.URL + "/base/", Username: "u", Password: "p"})
	if err != nil {
		t.Fatal(err)
	}
	return of.(helm), seen
}

func TestHelm_FetchesAChart(t *testing.T) {
	h, seen := repositoryWith(t, blockIndex)
	for version, want := range map[string]string{"1.2.0": "chart /base/charts/zeta-1.2.0.tgz", "": "chart /base/charts/zeta-1.10.0.tgz", "2.0.0-rc.1": "chart /base/charts/zeta-2.0.0-rc.1.tgz"} {
		got, err := h.fetch(t.Context(), spinnaker.Artifact{Type: helmChart, Name: "zeta", Version: version})
		if text := content(t, got, err); text != want {
			t.Errorf("%q: %s", version, text)
		}
	}
	for _, call := range *seen {
		if !strings.HasSuffix(call, " Basic dTpw") {
			t.Error(call)
		}
	}
	got, err := h.fetch(t.Context(), spinnaker.Artifact{Type: helmIndex})
	if content(t, got, err) != blockIndex {
		t.Error("the index is another one")
	}
	got, err = h.fetch(t.Context(), spinnaker.Artifact{Type: helmChart, Name: "odd"})
	if text := content(t, got, err); text != "chart /base/charts/odd.tgz" {
		t.Error(text)
	}
	for _, c := range []struct{ name, version, want string }{
		{"zeta", "9.9.9", "Could not find correct entry with artifact version 9.9.9"},
		{"Zeta", "1.2.0", "Could not find correct entry with artifact name Zeta"},
	} {
		if _, err := h.fetch(t.Context(), spinnaker.Artifact{Type: helmChart, Name: c.name, Version: c.version}); !errors.Is(err, ErrRefused) || err.Error() != c.want {
			t.Error(err)
		}
	}
}

func TestHelm_NamesAndVersionsAreInTheOrderOfTheIndex(t *testing.T) {
	for index, want := range map[string][]string{blockIndex: {"zeta", "alpha:beta", "odd"}, jsonIndex: {"zeta", "alpha"}} {
		h, _ := repositoryWith(t, index)
		names, err := h.names(t.Context())
		if err != nil || !slices.Equal(names, want) {
			t.Error(names, err)
		}
		versions, err := h.versions(t.Context(), "zeta")
		if err != nil || !slices.Equal(versions[:2], []string{"1.10.0", "1.2.0"}) {
			t.Error(versions, err)
		}
		if _, err := h.versions(t.Context(), "unknown"); !errors.Is(err, ErrRefused) || err.Error() != "Could not find correct entry with artifact name unknown" {
			t.Error(err)
		}
	}
	h, _ := repositoryWith(t, "")
	if _, err := h.names(t.Context()); !errors.Is(err, ErrMissing) || !strings.HasPrefix(err.Error(), "Failed to download chart names for 'charts' account") {
		t.Error(err)
	}
}

func TestIndex_WhatIsNoneIsRefused(t *testing.T) {
	bomb := "a: &a [x,x]\nb: &b [*a,*a]\nentries:\n  zeta: &c\n  - version: 1\n    urls: [*b,*b]\n"
	for name, c := range map[string]struct{ index, want string }{
		"empty":          {"", "empty"},
		"html":           {"<html>\n<body>login</body></html>", "no entries"},
		"json of others": {`{"a":1}`, "no entries"},
		"a json list":    {`{"entries":[]}`, "no object"},
		"flow":           {"entries: {zeta: []}\n", "neither a block nor JSON"},
		"a bomb":         {bomb, "no chart with a list of versions"},
		"an alias":       {"x: &x 1\nentries:\n  zeta:\n  - version: *x\n", "unknown anchor"},
	} {
		t.Run(name, func(t *testing.T) {
			err := readIndex(strings.NewReader(c.index), func(_ string, versions func() ([]chartEntry, error)) (bool, error) {
				_, err := versions()
				return true, err
			})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Error(err)
			}
		})
	}
	if err := readIndex(strings.NewReader("entries: {}\n"), nil); err != nil {
		t.Error(err)
	}
}

// TestIndex_OfAHundredMegabytesIsNotHeld reads one while the heap stays small.
func TestIndex_OfAHundredMegabytesIsNotHeld(t *testing.T) {
	const charts, size = 1000, 100 << 10
	read, write := io.Pipe()
	go func() {
		_, _ = io.WriteString(write, "entries:\n") // the reader says what is wrong
		filler := strings.Repeat("    x: "+strings.Repeat("y", 1000)+"\n", size/1008)
		for i := range charts {
			_, _ = fmt.Fprintf(write, "  chart-%d:\n  - version: 1.0.%d\n%s", i, i, strings.ReplaceAll(filler, "    x", "    description"+fmt.Sprint(i)))
		}
		_ = write.Close()
	}()
	var before, during runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	seen, most := 0, uint64(0)
	err := readIndex(read, func(string, func() ([]chartEntry, error)) (bool, error) {
		if seen++; seen%100 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&during)
			most = max(most, during.HeapAlloc)
		}
		return true, nil
	})
	if err != nil || seen != charts {
		t.Fatal(seen, err)
	}
	const limit = 16 << 20
	if grown := int64(most) - int64(before.HeapAlloc); grown > limit {
		t.Errorf("the heap grew by %d bytes, more than %d", grown, limit)
	}
}

func TestHelm_AsksWhetherTheIndexHasChanged(t *testing.T) {
	sent, asked := 0, 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		w.Header().Set("Etag", `"1"`)
		if r.Header.Get("If-None-Match") == `"1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		sent++
		_, _ = w.Write([]byte("entries:\n  web:\n  - {version: 1.0.0, urls: [web.tgz]}\n"))
	}))
	t.Cleanup(server.Close)
	all, _ := accounts(t, config.Artifacts{CacheBytes: 1 << 30, Helm: config.ArtifactAccounts{Enabled: true, Accounts: []config.ArtifactAccount{{Name: "a", Repository: server.URL}}}}, nil)
	t.Cleanup(all.Close)
	for range 3 {
		if names, err := all.Names(t.Context(), "a", helmChart); err != nil || len(names) != 1 {
			t.Fatal(names, err)
		}
	}
	if asked != 3 || sent != 1 {
		t.Errorf("asked %d times, sent %d times", asked, sent)
	}
}
