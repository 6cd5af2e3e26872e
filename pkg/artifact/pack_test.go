package artifact

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	gitcache "github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/memory"
)

// packOf is a pack of blobs; alike ones become deltas.
func packOf(t *testing.T, blobs ...string) []byte {
	t.Helper()
	store := memory.NewStorage()
	var hashes []plumbing.Hash
	for _, text := range blobs {
		blob := store.NewEncodedObject()
		blob.SetType(plumbing.BlobObject)
		w, err := blob.Writer()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		hash, err := store.SetEncodedObject(blob)
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, hash)
	}
	var out bytes.Buffer
	if _, err := packfile.NewEncoder(&out, store, false).Encode(hashes, 10); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestPack_IsLookedAtBeforeItIsTakenIn sends packs that unfold to more than may be
// held, that are cut, or larger than a repository may be.
func TestPack_IsLookedAtBeforeItIsTakenIn(t *testing.T) {
	large := strings.Repeat("0123456789", 10_000)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx          context.Context
		pack         []byte
		most, object int64
		want         string
	}{
		"fine":               {t.Context(), packOf(t, "small", large, large+"more"), 1 << 20, 200_000, ""},
		"an object":          {t.Context(), packOf(t, "small", large), 1 << 20, 50_000, "a file of more than 50000 bytes"},
		"a pack":             {t.Context(), packOf(t, large), 100, 200_000, "more than 100 bytes (artifacts.maxBytes)"},
		"cut":                {t.Context(), packOf(t, large)[:60], 1 << 20, 200_000, "EOF"},
		"no pack":            {t.Context(), []byte("<html>"), 1 << 20, 200_000, "malformed"},
		"its caller is gone": {gone, packOf(t, large), 1 << 20, 200_000, "canceled"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			files := filesystem.NewStorage(osfs.New(folder), gitcache.NewObjectLRUDefault())
			store := &checkedStore{Storage: files, ctx: c.ctx, folder: folder, most: c.most, object: c.object}
			err := packfile.UpdateObjectStorage(store, bytes.NewReader(c.pack))
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Error(err)
			}
			if strings.Contains(c.want, "bytes") && !errors.Is(err, ErrRefused) {
				t.Error("no refusal:", err)
			}
			left, err := os.ReadDir(folder)
			if err != nil {
				t.Fatal(err)
			}
			for _, entry := range left {
				if strings.HasPrefix(entry.Name(), "pack-") {
					t.Error("left:", entry.Name())
				}
			}
		})
	}
}

// TestPack_ADeltaSaysHowMuchItMakes reads the two numbers that begin one.
func TestPack_ADeltaSaysHowMuchItMakes(t *testing.T) {
	b := &beginning{}
	for _, part := range [][]byte{{0x05}, {0x80, 0x80, 0x80, 0x80}, {0x01, 0xff}, bytes.Repeat([]byte{1}, 100)} {
		if n, err := b.Write(part); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	const want = 1 << 28
	if got := b.target(); got != want || len(b.first) > 20 {
		t.Error(got, len(b.first))
	}
	if got := (&beginning{}).target(); got != 0 {
		t.Error(got)
	}
}
