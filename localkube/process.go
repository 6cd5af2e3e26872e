package localkube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// process is one running component. It ends with its parent: the multi-call
// binary leaves when its standard input closes, which the kernel does even
// when the parent is killed.
type process struct {
	name  component
	cmd   *exec.Cmd
	stdin io.Closer
	log   string
	done  chan struct{}
	err   error
}

func startProcess(name component, cmd *exec.Cmd, dir string) (*process, error) {
	logPath := filepath.Join(dir, string(name)+".log")
	logFile, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", name, err)
	}
	defer func() { _ = logFile.Close() }() // the child has its own copy
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.Env = append(os.Environ(), "LOCALKUBE_CHILD=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{name: name, cmd: cmd, stdin: stdin, log: logPath, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// waitReady polls check until it succeeds, the process ends or the context is
// over.
func (p *process) waitReady(ctx context.Context, check func(context.Context) error) error {
	const every = 50 * time.Millisecond
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended before it was ready: %w\n%s", p.name, p.err, tailFile(p.log))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w\n%s", p.name, errors.Join(ctx.Err(), err), tailFile(p.log))
		case <-time.After(every):
		}
	}
}

// tailFile returns the end of a log, for an error message.
func tailFile(path string) string {
	const most = 4 << 10
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(content[max(0, len(content)-most):])
}
