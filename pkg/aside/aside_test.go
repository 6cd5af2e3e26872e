package aside

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWrite_ReplacesTheWholeFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made", "file")
	for _, parts := range [][]string{{"a longer", " text"}, {"short"}, {}} {
		want := ""
		var written [][]byte
		for _, p := range parts {
			want += p
			written = append(written, []byte(p))
		}
		if err := Write(path, written...); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("%q: %v", got, err)
		}
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("%v: %v", left, err)
	}
	if info, err := left[0].Info(); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v: %v", info, err)
	}
}

func TestWrite_WhatFailsLeavesTheOldFileAndNoOther(t *testing.T) {
	dir := t.TempDir()
	taken := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(taken, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Write(taken, []byte("text")); err == nil {
		t.Error("a folder was replaced")
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || Unfinished(left[0].Name(), "taken") {
		t.Errorf("%v: %v", left, err)
	}
}
