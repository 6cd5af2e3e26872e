package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// mostPrinted bounds what a program may print, in bytes.
const mostPrinted = 1 << 20

// Printed is what an operator's program prints, without the white space around it.
// The program, and what it has started, ends at the deadline.
func Printed(ctx context.Context, within time.Duration, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // the operator's own program
	out := &bounded{most: mostPrinted, full: cancel}
	cmd.Stdout = out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // what it has started, too
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch {
	case out.over:
		return "", fmt.Errorf("it printed more than %d bytes", out.most)
	case ctx.Err() != nil:
		return "", fmt.Errorf("it took longer than %s", within)
	case err != nil:
		return "", err
	}
	text := strings.TrimSpace(out.text.String())
	if text == "" {
		return "", errors.New("it printed nothing")
	}
	return text, nil
}

// bounded is what a program prints, up to a bound.
type bounded struct {
	text bytes.Buffer // no part of it: its ReadFrom has no bound
	most int
	over bool
	full func()
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.text.Len()+len(p) > b.most {
		b.over = true
		b.full()
		return len(p), nil
	}
	return b.text.Write(p)
}
