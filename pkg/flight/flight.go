// Package flight shares a call among all who asked for it before it began.
// Unlike singleflight it never hands out what was under way when a caller came:
// that may have looked at the world before whatever the caller knows of.
package flight

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Group shares calls by key. The zero value is ready to use.
type Group[K comparable, V any] struct {
	// Every is the least time between the beginnings of two calls of a key; 0
	// for none. Who comes meanwhile shares the next one.
	Every time.Duration

	mu    sync.Mutex
	lines map[K]*line[V]
}

// line is the calls of one key. It is there while one is under way, or rests;
// next is the one that begins after that.
type line[V any] struct{ next *call[V] }

type call[V any] struct {
	do   func() (V, error)
	done chan struct{}

	value V
	err   error
}

// Do returns what a call brings that begins after Do was called, or the
// context's error. The call goes on when its callers go, so it needs a deadline
// of its own.
func (g *Group[K, V]) Do(ctx context.Context, key K, do func() (V, error)) (V, error) {
	g.mu.Lock()
	l, known := g.lines[key]
	if !known {
		l = &line[V]{}
		if g.lines == nil {
			g.lines = map[K]*line[V]{}
		}
		g.lines[key] = l
	}
	if l.next == nil {
		l.next = &call[V]{do: do, done: make(chan struct{})}
	}
	mine := l.next
	if !known {
		go g.run(key, l)
	}
	g.mu.Unlock()
	select {
	case <-mine.done:
		return mine.value, mine.err
	case <-ctx.Done():
		var none V
		return none, ctx.Err()
	}
}

// run makes the calls of a key until nobody wants one.
func (g *Group[K, V]) run(key K, l *line[V]) {
	for {
		g.mu.Lock()
		c := l.next
		l.next = nil
		if c == nil {
			delete(g.lines, key)
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		began := time.Now()
		c.run()
		if rest := g.Every - time.Since(began); rest > 0 {
			time.Sleep(rest)
		}
	}
}

func (c *call[V]) run() {
	defer close(c.done)
	defer func() {
		if cause := recover(); cause != nil {
			c.err = fmt.Errorf("a shared call panicked: %v", cause)
		}
	}()
	c.value, c.err = c.do()
}
