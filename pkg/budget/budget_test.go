package budget

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
)

func TestTake_NeverMoreThanThereIs(t *testing.T) {
	const total = 1000
	b := New(total)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			for range 200 {
				free, err := b.Take(rand.Int64N(300))
				if used := b.Used(); used > total || used < 0 {
					t.Errorf("%d are used", used)
				}
				free()
				free()
				if err != nil && !errors.Is(err, ErrFull) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if b.Used() != 0 {
		t.Errorf("%d are used at the end", b.Used())
	}
	if _, err := b.Take(total + 1); !errors.Is(err, ErrNever) {
		t.Error(err)
	}
}

func TestReadAll(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 50_000)
	for name, c := range map[string]struct {
		total, most int64
		from        io.Reader
		want        error
	}{
		"whole":          {1 << 21, 1 << 20, bytes.NewReader(content), nil},
		"byte by byte":   {1 << 21, 1 << 20, iotest.OneByteReader(bytes.NewReader(content)), nil},
		"too long":       {1 << 21, 1000, bytes.NewReader(content), ErrTooLong},
		"no room":        {1 << 17, 1 << 20, bytes.NewReader(content), ErrFull},
		"endless":        {1 << 22, 1 << 20, endless{}, ErrTooLong},
		"breaks":         {1 << 21, 1 << 20, io.MultiReader(strings.NewReader("x"), iotest.ErrReader(io.ErrUnexpectedEOF)), io.ErrUnexpectedEOF},
		"as long as may": {1 << 21, int64(len(content)), bytes.NewReader(content), nil},
	} {
		b := New(c.total)
		got, free, err := b.ReadAll(c.from, c.most, nil)
		if !errors.Is(err, c.want) || c.want == nil && !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if err == nil && b.Used() < int64(len(got)) {
			t.Errorf("%s: %d are taken for %d", name, b.Used(), len(got))
		}
		free()
		if b.Used() != 0 {
			t.Errorf("%s: %d stay taken", name, b.Used())
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
