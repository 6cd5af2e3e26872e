package artifact

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// mostObject bounds a file of a repository: each is held while it is taken in.
const mostObject = 100 << 20

// checkedStore looks at what a server sends before it is taken in: a pack of some
// megabytes may unfold to what no machine holds.
type checkedStore struct {
	*filesystem.Storage
	ctx    context.Context //nolint:containedctx // go-git's writers have none
	folder string
	// most bounds a pack, and object what is in it.
	most, object int64
}

// PackfileWriter is what go-git writes a pack to.
func (s *checkedStore) PackfileWriter() (io.WriteCloser, error) {
	file, err := os.CreateTemp(s.folder, "pack-")
	if err != nil {
		return nil, err
	}
	return &pack{store: s, file: file, left: s.most}, nil
}

type pack struct {
	store *checkedStore
	file  *os.File
	left  int64
	came  bool
}

func (p *pack) Write(part []byte) (int, error) {
	if p.left -= int64(len(part)); p.left < 0 {
		return 0, refused("the repository has more than %d bytes (artifacts.maxBytes)", p.store.most)
	}
	p.came = true
	return p.file.Write(part)
}

// Close takes the pack in, if it may be.
func (p *pack) Close() error {
	defer func() {
		_ = p.file.Close()
		_ = os.Remove(p.file.Name()) // the clone's folder goes anyway
	}()
	if !p.came || p.left < 0 {
		return nil // the writer knows
	}
	if err := p.check(); err != nil {
		return err
	}
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	into, err := p.store.Storage.PackfileWriter()
	if err != nil {
		return err
	}
	_, err = io.Copy(into, p.file)
	return errors.Join(err, into.Close())
}

// check reads the pack without holding any of its objects.
func (p *pack) check() error {
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	scanner := packfile.NewScanner(bufio.NewReader(p.file))
	_, objects, err := scanner.Header()
	if err != nil {
		return err
	}
	for range objects {
		if err := p.store.ctx.Err(); err != nil {
			return err
		}
		header, err := scanner.NextObjectHeader()
		if err != nil {
			return err
		}
		if header.Length > p.store.object {
			return tooLarge(p.store.object)
		}
		begin := &beginning{}
		if _, _, err := scanner.NextObject(begin); err != nil {
			return err
		}
		isDelta := header.Type == plumbing.OFSDeltaObject || header.Type == plumbing.REFDeltaObject
		if isDelta && begin.target() > uint64(p.store.object) {
			return tooLarge(p.store.object)
		}
	}
	return nil
}

func tooLarge(most int64) error {
	return refused("the repository has a file of more than %d bytes, which is too large for git/repo: keep it in an object store", most)
}

// beginning keeps the first bytes of what is written.
type beginning struct{ first []byte }

func (b *beginning) Write(part []byte) (int, error) {
	if room := 2*binary.MaxVarintLen64 - len(b.first); room > 0 {
		b.first = append(b.first, part[:min(room, len(part))]...)
	}
	return len(part), nil
}

// target is how large what a delta makes is, by its second number.
func (b *beginning) target() uint64 {
	_, n := binary.Uvarint(b.first)
	if n <= 0 {
		return 0 // it is no delta, and go-git says so
	}
	size, _ := binary.Uvarint(b.first[n:])
	return size
}
