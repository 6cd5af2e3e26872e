package artifact

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func cacheOf(t *testing.T, most int64) *cache {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	c, err := newCache(most)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

// origin is where content comes from.
type origin struct {
	content string
	etag    string
	size    int64 // as it is said; -1 for unknown, 0 for what is right
	asked   atomic.Int64
	sent    atomic.Int64  // answers with content
	gate    chan struct{} // content comes when it is closed, at once for nil
	ended   atomic.Bool
}

func (o *origin) ask(ctx context.Context, etag string) (fetched, error) {
	o.asked.Add(1)
	if etag != "" && etag == o.etag {
		return fetched{same: true}, nil
	}
	o.sent.Add(1)
	size := int64(len(o.content))
	if o.size != 0 {
		size = o.size
	}
	return fetched{Content: Content{readCloser{&gated{strings.NewReader(o.content), o, ctx}, closing(func() { o.ended.Store(true) })}, size}, etag: o.etag}, nil
}

type closing func()

func (c closing) Close() error { c(); return nil }

type gated struct {
	from io.Reader
	of   *origin
	ctx  context.Context
}

func (g *gated) Read(into []byte) (int, error) {
	if g.of.gate != nil {
		select {
		case <-g.of.gate:
		case <-g.ctx.Done():
			return 0, g.ctx.Err()
		}
	}
	return g.from.Read(into)
}

func readWhole(t *testing.T, c *cache, w wanted) (string, error) {
	t.Helper()
	got, err := c.get(t.Context(), w)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(bufferedReader(got))
	return string(body), errors.Join(err, got.Close())
}

// bufferedReader reads as much at once as a fetch does.
func bufferedReader(r io.Reader) io.Reader {
	var out bytes.Buffer
	_, err := io.CopyBuffer(struct{ io.Writer }{&out}, struct{ io.Reader }{r}, make([]byte, 1000))
	if err != nil {
		return io.MultiReader(&out, failing{err})
	}
	return &out
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func sumOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func TestCache_WhatNeverChangesIsFetchedOnce(t *testing.T) {
	c := cacheOf(t, 1<<20)
	o := &origin{content: strings.Repeat("chart ", 5000)}
	w := wanted{key: "a", digest: sumOf(o.content), ask: o.ask}
	for range 3 {
		if got, err := readWhole(t, c, w); err != nil || got != o.content {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	if o.asked.Load() != 1 {
		t.Errorf("%d requests", o.asked.Load())
	}
}

func TestCache_OtherContentIsAskedAbout(t *testing.T) {
	c := cacheOf(t, 1<<20)
	o := &origin{content: "one", etag: `"1"`, size: -1}
	w := wanted{key: "a", bound: 1000, ask: o.ask}
	for range 3 {
		if got, err := readWhole(t, c, w); err != nil || got != "one" {
			t.Fatal(got, err)
		}
	}
	if o.asked.Load() != 3 || o.sent.Load() != 1 {
		t.Errorf("asked %d times, sent %d times", o.asked.Load(), o.sent.Load())
	}
	o.content, o.etag = "two", `"2"`
	if got, err := readWhole(t, c, w); err != nil || got != "two" {
		t.Error(got, err)
	}
	nameless := &origin{content: "no version"}
	for range 2 {
		if got, err := readWhole(t, c, wanted{key: "b", ask: nameless.ask}); err != nil || got != "no version" {
			t.Error(got, err)
		}
	}
	if nameless.sent.Load() != 2 {
		t.Error("content without a version is kept")
	}
}

func TestCache_ThoseWhoAskTogetherShareOneFetch(t *testing.T) {
	c := cacheOf(t, 1<<20)
	o := &origin{content: strings.Repeat("x", 200_000), gate: make(chan struct{})}
	w := wanted{key: "a", digest: sumOf(o.content), ask: o.ask}
	var all sync.WaitGroup
	for range 20 {
		got, err := c.get(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			body, err := io.ReadAll(bufferedReader(got))
			if err != nil || string(body) != o.content {
				t.Errorf("%d bytes, %v", len(body), err)
			}
			_ = got.Close()
		})
	}
	close(o.gate)
	all.Wait()
	if o.asked.Load() != 1 {
		t.Errorf("%d requests", o.asked.Load())
	}
}

func TestCache_TheLastOneWhoGoesEndsTheFetch(t *testing.T) {
	c := cacheOf(t, 1<<20)
	o := &origin{content: "never", gate: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	w := wanted{key: "a", digest: sumOf(o.content), ask: o.ask}
	one, err := c.get(ctx, w)
	if err != nil {
		t.Fatal(err)
	}
	other, err := c.get(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := one.Read(make([]byte, 10)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	_ = one.Close()
	if o.ended.Load() {
		t.Error("somebody reads it still")
	}
	_ = other.Close()
	deadline := time.Now().Add(10 * time.Second)
	for !o.ended.Load() {
		if time.Now().After(deadline) {
			t.Fatal("it is fetched for nobody")
		}
		time.Sleep(time.Millisecond)
	}
	close(o.gate)
	if got, err := readWhole(t, c, w); err != nil || got != "never" {
		t.Error(got, err)
	}
}

func TestCache_WhatIsNotItsDigestIsNeverWhole(t *testing.T) {
	c := cacheOf(t, 1<<20)
	o := &origin{content: "something else"}
	got, err := c.get(t.Context(), wanted{key: "a", digest: sumOf("what was wanted"), ask: o.ask})
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(bufferedReader(got))
	_ = got.Close()
	if err == nil || len(body) >= len(o.content) {
		t.Errorf("%q %v", body, err)
	}
	if len(c.held) != 0 {
		t.Error("it is kept")
	}
	o = &origin{content: "kept"}
	w := wanted{key: "b", digest: sumOf("kept"), ask: o.ask}
	if got, err := readWhole(t, c, w); err != nil || got != "kept" {
		t.Fatal(got, err)
	}
	files, err := filepath.Glob(filepath.Join(c.folder, "*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := os.WriteFile(files[0], []byte("kepT"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := readWhole(t, c, w); !errors.Is(err, errSpoiled) || len(got) >= 4 {
		t.Errorf("%q %v", got, err)
	}
	if got, err := readWhole(t, c, w); err != nil || got != "kept" {
		t.Error("it is not fetched anew:", got, err)
	}
}

func TestCache_KeepsWithinItsBytes(t *testing.T) {
	c := cacheOf(t, 1000)
	content := func(i int) *origin { return &origin{content: strings.Repeat(string(rune('a'+i)), 200)} }
	for i := range 10 {
		o := content(i)
		if _, err := readWhole(t, c, wanted{key: o.content, digest: sumOf(o.content), ask: o.ask}); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(c.folder, "*"))
	if err != nil || len(files) != 5 || c.used != 1000 {
		t.Errorf("%d files, %d bytes, %v", len(files), c.used, err)
	}
	large := &origin{content: strings.Repeat("x", 300)}
	for range 2 {
		if got, err := readWhole(t, c, wanted{key: "large", digest: sumOf(large.content), ask: large.ask}); err != nil || len(got) != 300 {
			t.Error(len(got), err)
		}
	}
	if c.held["large"] != nil {
		t.Error("one content takes more than its share")
	}
	if large.asked.Load() != 2 {
		t.Errorf("what does not fit is fetched %d times by two", large.asked.Load())
	}
	unsaid := &origin{content: strings.Repeat("x", 300), size: -1, etag: `"1"`}
	if _, err := readWhole(t, c, wanted{key: "unsaid", bound: 200, ask: unsaid.ask}); err == nil || !strings.Contains(err.Error(), "more than 200 bytes") {
		t.Error(err)
	}
	short := &origin{content: "short", size: 100, etag: `"1"`}
	if _, err := readWhole(t, c, wanted{key: "short", ask: short.ask}); err == nil || !strings.Contains(err.Error(), "5 bytes came, and 100 were said") {
		t.Error(err)
	}
	broken := errors.New("no")
	if _, err := readWhole(t, c, wanted{key: "broken", ask: func(context.Context, string) (fetched, error) { return fetched{}, broken }}); !errors.Is(err, broken) {
		t.Error(err)
	}
	if len(c.flights) != 0 {
		t.Errorf("%d fetches are under way", len(c.flights))
	}
}

func TestCache_AnIndexIsReadWholeThoughNobodyReadsOn(t *testing.T) {
	c := cacheOf(t, 1<<20)
	o := &origin{content: strings.Repeat("index ", 1000), etag: `"1"`, size: -1}
	w := wanted{key: "a", bound: 1 << 19, whole: true, ask: o.ask}
	got, err := c.get(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	_ = got.Close()
	deadline := time.Now().Add(10 * time.Second)
	for {
		c.mu.Lock()
		kept := len(c.held)
		c.mu.Unlock()
		if kept == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it is not kept")
		}
		time.Sleep(time.Millisecond)
	}
	if got, err := readWhole(t, c, w); err != nil || got != o.content || o.sent.Load() != 1 {
		t.Error(len(got), err, o.sent.Load())
	}
}

func TestCache_SwitchedOffKeepsNothing(t *testing.T) {
	c := cacheOf(t, 0)
	o := &origin{content: "x"}
	for range 2 {
		if got, err := readWhole(t, c, wanted{key: "a", digest: sumOf("x"), ask: o.ask}); err != nil || got != "x" {
			t.Error(got, err)
		}
	}
	if o.asked.Load() != 2 || c.folder != "" {
		t.Error(o.asked.Load(), c.folder)
	}
}
