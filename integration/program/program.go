// Package program builds what tests and benchmarks start as processes of their own.
package program

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// Program is one that is built once for all tests of a process.
type Program struct {
	// Package is what go build builds, in the folder Dir, which may be a module of
	// its own; "" is the one of the test.
	Dir, Package string

	once sync.Once
	path string
	err  error
}

// Path builds the program when it is first asked for, and says where it is.
func (p *Program) Path(t testing.TB) string {
	t.Helper()
	p.once.Do(func() { p.path, p.err = p.build() })
	if p.err != nil {
		t.Fatal(p.err)
	}
	return p.path
}

func (p *Program) build() (string, error) {
	name := filepath.Base(cmp.Or(p.Dir, p.Package))
	folder, err := os.MkdirTemp("", name)
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, name)
	build := exec.CommandContext(context.Background(), "go", "build", "-o", path, cmp.Or(p.Package, ".")) //nolint:gosec // a package of ours
	build.Dir = p.Dir
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w: %s", name, err, out)
	}
	return path, nil
}

// FreePort is one that nobody listens on at the moment.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}
