package integration

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// programs are servers of other people that are modules of their own here, so that
// what they need is not in the service's. Each is built once.
var programs = map[string]func() (string, error){
	"registry": builtOnce("registry"),
	"gcs":      builtOnce("gcs"),
}

func builtOnce(name string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		folder, err := os.MkdirTemp("", name)
		if err != nil {
			return "", err
		}
		path := filepath.Join(folder, name)
		build := exec.Command("go", "build", "-o", path, ".")
		build.Dir = name
		if out, err := build.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%w: %s", err, out)
		}
		return path, nil
	})
}

// startProgram starts one, and returns the address that it prints.
func startProgram(t testing.TB, name string, args ...string) (address string, kill func()) {
	t.Helper()
	path, err := programs[name]()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Stderr = testWriter{t}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	t.Cleanup(kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line), kill
}
