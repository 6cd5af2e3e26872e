package watch

import "runtime"

// decoders decode objects, which takes time and stack: at once so many that half of the
// processors are left to those who read the index while everything is listed anew, and
// that the thousands of goroutines that wait for something to decode stay small.
type decoders struct {
	work chan func()
	over chan struct{}
}

func newDecoders() *decoders {
	d := &decoders{work: make(chan func()), over: make(chan struct{})}
	for range (runtime.GOMAXPROCS(0) + 1) / 2 {
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
		f()
	}:
		<-done
	case <-d.over:
		f()
	}
}

// end ends them; what comes later is done where it is asked for.
func (d *decoders) end() { close(d.over) }
