package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/integration/program"
)

var clouddriver, kubectl = program.Program{Package: "../cmd/clouddriver"}, program.Program{Package: "./kubectl"}

// binary is the shipped program as a process.
type binary struct {
	*service
	cmd    *exec.Cmd
	exited chan struct{}
	code   int
	text   *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// startBinary runs the program in a folder of its own, on a free port unless the
// arguments name one. It does not wait for it.
func startBinary(t testing.TB, path, dir string, args ...string) *binary {
	t.Helper()
	return startBinaryWith(t, path, dir, nil, args...)
}

// startBinaryWith is startBinary with more in its environment.
func startBinaryWith(t testing.TB, path, dir string, env []string, args ...string) *binary {
	t.Helper()
	port := program.FreePort(t)
	for _, a := range args {
		if _, err := fmt.Sscanf(a, "--server.port=%d", &port); err == nil {
			break
		}
	}
	p := &binary{exited: make(chan struct{}), text: &lockedBuffer{}, service: &service{URL: "http://127.0.0.1:" + strconv.Itoa(port)}}
	p.cmd = exec.Command(path, append([]string{"--server.port=" + strconv.Itoa(port), "--server.address=127.0.0.1", "--database.path=" + filepath.Join(dir, "clouddriver.db")}, args...)...)
	p.cmd.Stderr = p.text
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}, env...)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		p.code = p.cmd.ProcessState.ExitCode()
		close(p.exited)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.exited
		if t.Failed() {
			t.Logf("log of the process:\n%.20000s", p.log())
		}
	})
	return p
}

func (p *binary) log() string { return p.text.String() }

// up waits until the process answers and is ready.
func (p *binary) up(t testing.TB) *binary {
	t.Helper()
	eventually(t, 30*time.Second, func() error {
		r, err := p.tryGet("/readyz")
		if err == nil && r.status != http.StatusOK {
			err = errors.New(r.body)
		}
		return err
	})
	return p
}

// terminate sends SIGTERM and waits for the end.
func (p *binary) terminate(ctx context.Context) (code int, err error) {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, err
	}
	select {
	case <-p.exited:
		return p.code, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}
