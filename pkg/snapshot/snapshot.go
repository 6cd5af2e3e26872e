// Package snapshot keeps on disk what is known of each account, for the next start of
// the service: a file for each, written aside and renamed, with a checksum. Whatever
// is in doubt is not read: another build's, another account's or setting's, one that
// is old or broken.
package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/datapunchorg/go-clouddriver/pkg/aside"
)

// format is that of the files, their content included.
const format = 1

const suffix = ".snapshot"

// Dir is a folder of snapshots.
type Dir struct {
	path, program string
	maxAge        time.Duration
}

// head is the first line of a file.
type head struct {
	Format  int    `json:"format"`
	Program string `json:"program"`
	Account string `json:"account"`
	// Of is the fingerprint of how the account is set up.
	Of     string `json:"of"`
	Taken  int64  `json:"taken"` // in milliseconds since 1970
	Length int    `json:"length"`
	Sum    uint32 `json:"sum"` // Castagnoli's, of what follows
}

// ErrNone says that there is no snapshot.
var ErrNone = errors.New("there is none")

// Open uses a folder, which is made where it is missing, for snapshots of one build
// of the program that are no older than an age.
func Open(path, program string, maxAge time.Duration) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	probe, err := os.CreateTemp(path, "new-writable"+suffix+".*")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(probe.Close(), os.Remove(probe.Name())); err != nil {
		return nil, err
	}
	return &Dir{path: path, program: program, maxAge: maxAge}, nil
}

func (d *Dir) file(account string) string {
	sum := sha256.Sum256([]byte(account))
	return filepath.Join(d.path, hex.EncodeToString(sum[:])+suffix)
}

// Save keeps the content of an account that is set up as the fingerprint tells, true
// at a time.
func (d *Dir) Save(account, of string, taken time.Time, content []byte) error {
	room := packing.Get().(*[]byte)
	defer packing.Put(room)
	if need := s2.MaxEncodedLen(len(content)); cap(*room) < need {
		*room = make([]byte, need)
	}
	packed := s2.Encode((*room)[:cap(*room)], content)
	first, err := json.Marshal(head{
		Format: format, Program: d.program, Account: account, Of: of, Taken: taken.UnixMilli(), Length: len(packed), Sum: checksum(packed),
	})
	if err != nil {
		return err
	}
	return aside.Write(d.file(account), first, []byte("\n"), packed)
}

// packing is room for what is compressed: one account is saved after the other.
var packing = sync.Pool{New: func() any { return new([]byte) }}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// Load gives what was saved of an account that is set up so. The error says why it is
// of no use; ErrNone, that there is nothing.
func (d *Dir) Load(account, of string) (content []byte, taken time.Time, err error) {
	text, err := os.ReadFile(d.file(account))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, time.Time{}, ErrNone
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	first, packed, _ := bytes.Cut(text, []byte("\n"))
	var h head
	if err := json.Unmarshal(first, &h); err != nil {
		return nil, time.Time{}, fmt.Errorf("its first line: %w", err)
	}
	taken = time.UnixMilli(h.Taken)
	switch age := time.Since(taken); {
	case h.Format != format || h.Program != d.program:
		return nil, taken, errors.New("another build has written it")
	case h.Account != account || h.Of != of:
		return nil, taken, errors.New("the account is set up in another way")
	case age > d.maxAge || age < -clockSkew:
		return nil, taken, fmt.Errorf("it is of %s", taken.UTC().Format(time.RFC3339))
	case h.Length != len(packed) || h.Sum != checksum(packed):
		return nil, taken, errors.New("it is damaged")
	}
	content, err = s2.Decode(nil, packed)
	return content, taken, err
}

// clockSkew is how far ahead a clock may have been that was set back since.
const clockSkew = time.Second

// Sweep removes the files of accounts that are not there any more, once they are too
// old to be used, and what writers have left that ended before they were through.
func (d *Dir) Sweep(accounts []string) error {
	keep := map[string]bool{}
	for _, a := range accounts {
		keep[filepath.Base(d.file(a))] = true
	}
	all, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}
	var failed error
	for _, e := range all {
		if !strings.HasSuffix(e.Name(), suffix) && !aside.Unfinished(e.Name(), suffix) || keep[e.Name()] {
			continue
		}
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) <= d.maxAge {
			continue // somebody may be at it, or the account may come back
		}
		failed = errors.Join(failed, os.Remove(filepath.Join(d.path, e.Name())))
	}
	return failed
}
