package api

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestArray_IsOneMemberOfGzip: OkHttp, which Gate uses, refuses several.
func TestArray_IsOneMemberOfGzip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for n := range 40 {
		var elements []*piece
		var texts []string
		for range n {
			text := fmt.Sprintf(`{"n":%q}`, strings.Repeat(fmt.Sprint(r.IntN(10)), r.IntN(1<<r.IntN(17))))
			texts = append(texts, text)
			elements = append(elements, newPiece([]byte(text)))
		}
		want := "[" + strings.Join(texts, ",") + "]"
		a := array(elements)
		if got := string(a.body()); got != want || a.length != len(want) {
			t.Fatalf("%d elements: %d bytes, length %d, want %d", n, len(got), a.length, len(want))
		}
		from := bytes.NewReader(a.gzip())
		z, err := gzip.NewReader(from)
		if n == 0 {
			continue // too small to be compressed when it is sent
		}
		if err != nil {
			t.Fatal(err)
		}
		z.Multistream(false)
		got, err := io.ReadAll(z)
		if err != nil || string(got) != want || from.Len() != 0 {
			t.Fatalf("%d elements: %v, %d bytes, %d are left", n, err, len(got), from.Len())
		}
	}
}

func TestCheck_IsThatOfTheWhole(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 200 {
		text := make([]byte, r.IntN(5000))
		for i := range text {
			text[i] = byte(r.IntN(256))
		}
		at := r.IntN(len(text) + 1)
		first, second := text[:at], text[at:]
		if got := times(shift(len(second)), crc32.ChecksumIEEE(first)) ^ crc32.ChecksumIEEE(second); got != crc32.ChecksumIEEE(text) {
			t.Fatalf("%d and %d bytes: %x, want %x", len(first), len(second), got, crc32.ChecksumIEEE(text))
		}
	}
}

// A writer of deflate is most of a megabyte: a piece that has changed must not make one.
func TestPiece_TakesLittleMoreThanItKeeps(t *testing.T) {
	text := []byte(strings.Repeat(`{"name":"web"},`, 100))
	newPiece(text)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const times = 50
	for range times {
		newPiece(text)
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / times; each > 50_000 {
		t.Errorf("%d bytes for a piece of %d", each, len(text))
	}
}

func TestArray_IsNamedByItsContent(t *testing.T) {
	one, two := newPiece([]byte("1")), newPiece([]byte("2"))
	names := map[string]bool{}
	for _, elements := range [][]*piece{{}, {one}, {two}, {one, two}, {two, one}, {one, one}} {
		names[array(elements).etag] = true
	}
	if len(names) != 6 {
		t.Errorf("%d names for 6 contents", len(names))
	}
	if array([]*piece{one}).etag != array([]*piece{newPiece([]byte("1"))}).etag {
		t.Error("one content has two names")
	}
}

func TestLatest_AnswersOncePerVersion(t *testing.T) {
	var l latest
	var made atomic.Int64
	ask := func(key, version string) string {
		return string(l.answer(key, version, func() *answer {
			made.Add(1)
			return newAnswer([]byte(key + version))
		}).body())
	}
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if got := ask("a", "1"); got != "a1" {
				t.Error(got)
			}
		})
	}
	group.Wait()
	if made.Load() != 1 {
		t.Errorf("made %d times", made.Load())
	}
	if ask("a", "2") != "a2" || ask("b", "2") != "b2" || ask("a", "2") != "a2" || made.Load() != 3 {
		t.Errorf("made %d times", made.Load())
	}
	for i := range 5 * mostLatest {
		ask(fmt.Sprint("other", i), "1")
		ask("a", "2")
	}
	if len(l.answers) != mostLatest || made.Load() != 3+5*mostLatest {
		t.Errorf("%d are kept, made %d times: what is asked for all the time has to stay", len(l.answers), made.Load())
	}
	func() {
		defer func() { _ = recover() }()
		l.answer("bad", "1", func() *answer { panic("once") })
	}()
	if got := string(l.answer("bad", "1", func() *answer { return newAnswer([]byte("good")) }).body()); got != "good" {
		t.Error(got)
	}
}
