package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
)

// progress is a bar on a terminal, and nothing elsewhere.
type progress struct {
	out  io.Writer
	what string

	mu    sync.Mutex
	shown int
}

// newProgress shows what is being counted.
func newProgress(out io.Writer, what string) *progress {
	file, ok := out.(*os.File)
	if !ok {
		return &progress{}
	}
	info, err := file.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return &progress{}
	}
	return &progress{out: out, what: what}
}

const barWidth = 30

func (p *progress) at(done, of int) {
	if p.out == nil || of == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	full := min(barWidth, barWidth*done/of)
	line := fmt.Sprintf("\r[%s%s] %d of %d %s", strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), done, of, p.what)
	_, _ = io.WriteString(p.out, line+strings.Repeat(" ", max(0, p.shown-len(line)))) // a bar is no result
	p.shown = len(line)
}

// end removes the bar.
func (p *progress) end() {
	if p.out == nil || p.shown == 0 {
		return
	}
	_, _ = io.WriteString(p.out, "\r"+strings.Repeat(" ", p.shown)+"\r") // a bar is no result
}
