package integration

import (
	"bufio"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/datapunchorg/go-clouddriver/integration/program"
)

// Servers of other people are modules of their own here, so that what they need is not
// in the service's.
var registryServer, gcsServer = program.Program{Dir: "registry"}, program.Program{Dir: "gcs"}

// startProgram starts one, and returns the address that it prints.
func startProgram(t testing.TB, p *program.Program, args ...string) (address string, kill func()) {
	t.Helper()
	cmd := exec.Command(p.Path(t), args...)
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
