package watch

import (
	"io"

	"github.com/datapunchorg/go-clouddriver/pkg/processors"
)

// decoders decode objects, which takes time and stack: at once so many that half of the
// processors are left to those who read the index while everything is listed anew, and
// that the thousands of goroutines that wait for something to decode stay small.
type decoders struct {
	work  chan func()
	seats chan struct{} // as many as may decode at once
	over  chan struct{}
}

func newDecoders() *decoders {
	atOnce := (processors.Count + 1) / 2
	d := &decoders{work: make(chan func()), seats: make(chan struct{}, atOnce), over: make(chan struct{})}
	for range atOnce {
		go d.run()
	}
	return d
}

func (d *decoders) run() {
	for {
		select {
		case f := <-d.work:
			f()
		case <-d.over:
			return
		}
	}
}

// do has something done and waits for it. Without decoders, it is done at once. It
// must not wait for anything: a cluster would hold up the others.
func (d *decoders) do(f func()) {
	if d == nil {
		f()
		return
	}
	done := make(chan struct{})
	select {
	case d.work <- func() {
		defer close(done)
		d.seats <- struct{}{}
		defer func() { <-d.seats }()
		f()
	}:
		<-done
	case <-d.over:
		f()
	}
}

// end ends them; what comes later is done where it is asked for.
func (d *decoders) end() { close(d.over) }

// seat is the right to decode, of somebody who has many objects and a stack that is
// not kept: it is taken for all that has come, and left before more is waited for.
type seat struct {
	of  *decoders
	has bool
}

func (s *seat) do(f func()) {
	if s.of != nil && !s.has {
		s.of.seats <- struct{}{}
		s.has = true
	}
	f()
}

func (s *seat) leave() {
	if s.has {
		<-s.of.seats
		s.has = false
	}
}

// leaving reads from what may let it wait.
type leaving struct {
	from io.Reader
	seat *seat
}

func (l leaving) Read(p []byte) (int, error) {
	l.seat.leave()
	return l.from.Read(p)
}
