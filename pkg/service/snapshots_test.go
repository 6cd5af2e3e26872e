package service

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/snapshot"
)

func kept(t *testing.T, dir string, log *slog.Logger, names ...string) (*snapshots, func() []string) {
	t.Helper()
	d, err := snapshot.Open(dir, "p", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var saved []string
	k := &snapshots{
		dir: d, every: time.Minute, maxAge: time.Hour, log: log, accounts: func() []string { return names },
		of: func(name string, _ time.Time, over []byte) (*account.Account, []byte) {
			if name == "empty" {
				return nil, nil
			}
			mu.Lock()
			defer mu.Unlock()
			saved = append(saved, name)
			return &account.Account{Name: name}, append(over[:0], "content of "+name...)
		},
	}
	return k, func() []string {
		mu.Lock()
		defer mu.Unlock()
		out := saved
		saved = nil
		return out
	}
}

func TestSnapshots_EachAccountIsKeptInItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, saved := kept(t, t.TempDir(), slog.New(slog.DiscardHandler), "a", "empty", "b")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- k.run(ctx) }()
		for range 3 {
			time.Sleep(time.Minute)
			synctest.Wait()
			if got := saved(); !slices.Equal(got, []string{"a", "b"}) {
				t.Errorf("in a minute: %v", got)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		k.last(t.Context())
		if got := saved(); len(got) != 2 {
			t.Errorf("at the end: %v", got)
		}
		over, cancel := context.WithCancel(t.Context())
		cancel()
		k.last(over)
		if got := saved(); len(got) != 0 {
			t.Errorf("without time: %v", got)
		}
		if content, _ := k.Load(&account.Account{Name: "b"}); string(content) != "content of b" {
			t.Errorf("%q", content)
		}
		if content, _ := k.Load(&account.Account{Name: "b", LabelSelector: "other"}); content != nil {
			t.Errorf("%q", content)
		}
	})
}

func TestSnapshots_AFolderThatIsFullIsToldOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "kept")
	var out bytes.Buffer
	k, _ := kept(t, dir, slog.New(slog.NewTextHandler(&out, nil)), "a", "b")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	k.last(t.Context())
	k.last(t.Context())
	if got := out.String(); strings.Count(got, "snapshots.directory") != 1 {
		t.Error(got)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	k.last(t.Context())
	if got := out.String(); strings.Count(got, "start again") != 1 {
		t.Error(got)
	}
}

// TestSnapshots_OneThatCannotBeKeptIsNamedOnce: those that can be do not end it.
func TestSnapshots_OneThatCannotBeKeptIsNamedOnce(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	k, _ := kept(t, dir, slog.New(slog.NewTextHandler(&out, nil)), "a", "b")
	k.last(t.Context())
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(files[0], "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		k.last(t.Context())
	}
	if got := out.String(); strings.Count(got, "level=") != 1 || strings.Count(got, "error=\"account ") != 1 {
		t.Error(got)
	}
}
