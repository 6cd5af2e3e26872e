package snapshot

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLoad_GivesWhatWasSaved(t *testing.T) {
	d := open(t, t.TempDir(), "p")
	for _, content := range []string{"a short one", "", strings.Repeat("a long one\n", 10_000)} {
		taken := time.Now().Add(-time.Second).Truncate(time.Millisecond)
		if err := d.Save("a/../b", "of", taken, []byte(content)); err != nil {
			t.Fatal(err)
		}
		got, at, err := d.Load("a/../b", "of")
		if err != nil || string(got) != content || !at.Equal(taken) {
			t.Errorf("%d bytes of %s: %v", len(got), at, err)
		}
	}
	if _, _, err := d.Load("b", "of"); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
}

func open(t *testing.T, path, program string) *Dir {
	t.Helper()
	d, err := Open(path, program, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestLoad_WhatIsInDoubtIsNotUsed(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, "p")
	save := func(taken time.Time) []byte {
		if err := d.Save("a", "of", taken, bytes.Repeat([]byte("content "), 1000)); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(d.file("a"))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	put := func(text []byte) {
		if err := os.WriteFile(d.file("a"), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(what string, from *Dir, account, of, why string) {
		t.Helper()
		content, _, err := from.Load(account, of)
		if content != nil || err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %d bytes, %v", what, len(content), err)
		}
	}
	whole := save(time.Now())
	refused("another build", open(t, dir, "q"), "a", "of", "another build")
	refused("another setting", d, "a", "other", "set up in another way")
	for n := range len(whole) {
		put(whole[:n])
		refused("cut", d, "a", "of", "")
	}
	for n := bytes.IndexByte(whole, '\n') + 1; n < len(whole); n++ {
		flipped := bytes.Clone(whole)
		flipped[n] ^= 1
		put(flipped)
		refused("a flipped bit", d, "a", "of", "damaged")
	}
	put(append(bytes.Clone(whole), 0))
	refused("longer", d, "a", "of", "damaged")
	put([]byte("{}\n"))
	refused("another file", d, "a", "of", "another build")
	save(time.Now().Add(-2 * time.Minute))
	refused("an old one", d, "a", "of", "it is of 20")
	save(time.Now().Add(time.Hour))
	refused("one of a time to come", d, "a", "of", "it is of 20")
	if err := os.Rename(d.file("a"), d.file("b")); err != nil {
		t.Fatal(err)
	}
	refused("another account's", d, "b", "of", "set up in another way")
}

func TestSweep_LeavesWhatIsInUse(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, "p")
	long := time.Now().Add(-2 * time.Minute)
	for a, at := range map[string]time.Time{"here": long, "gone": long, "just gone": time.Now()} {
		if err := d.Save(a, "of", at, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(d.file(a), at, at); err != nil {
			t.Fatal(err)
		}
	}
	for name, at := range map[string]time.Time{"new-a.snapshot.1": long, "new-b.snapshot.2": time.Now(), "of-somebody-else": long, "new-of-somebody-else": long} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Sweep([]string{"here"}); err != nil {
		t.Fatal(err)
	}
	for path, stays := range map[string]bool{
		d.file("here"): true, d.file("gone"): false, d.file("just gone"): true, filepath.Join(dir, "new-a.snapshot.1"): false, filepath.Join(dir, "new-b.snapshot.2"): true,
		filepath.Join(dir, "of-somebody-else"): true, filepath.Join(dir, "new-of-somebody-else"): true,
	} {
		if _, err := os.Stat(path); (err == nil) != stays {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestOpen_TellsOfAFolderThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(file, "below"), "p", time.Minute); err == nil {
		t.Error("a folder below a file is taken")
	}
}
