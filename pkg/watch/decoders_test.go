package watch

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func TestDecoders_DoFewAtOnceAndAllThatIsAsked(t *testing.T) {
	d := newDecoders()
	var now, most, done atomic.Int32
	var group sync.WaitGroup
	for range 200 {
		group.Go(func() {
			d.do(func() {
				n := now.Add(1)
				for {
					before := most.Load()
					if n <= before || most.CompareAndSwap(before, n) {
						break
					}
				}
				runtime.Gosched()
				now.Add(-1)
			})
			done.Add(1)
		})
	}
	group.Wait()
	if limit := int32(runtime.GOMAXPROCS(0)+1) / 2; done.Load() != 200 || most.Load() > limit {
		t.Errorf("%d were done, %d at once, %d allowed", done.Load(), most.Load(), limit)
	}
	d.end()
	later := false
	d.do(func() { later = true })
	var none *decoders
	none.do(func() { later = later && true })
	if !later {
		t.Error("nothing is done after the end")
	}
}

// A watch that is quiet holds no buffer, and the last line is whole until the next.
func TestFrames_HoldABufferOnlyWhileSomethingIsInIt(t *testing.T) {
	r, w := io.Pipe()
	f := frameReader{r: r}
	long := `{"type":"ADDED","object":{"a":"` + strings.Repeat("x", 2*frameBuffer) + `"}}` + "\n"
	short := `{"type":"ADDED","object":{}}` + "\n"
	for _, sent := range []string{short, long, short + short, long + short} {
		go func() { _, _ = io.WriteString(w, sent) }()
		for range strings.Count(sent, "\n") {
			if _, err := f.next(); err != nil {
				t.Fatal(err)
			}
		}
		if len(f.unread) != 0 {
			t.Errorf("%d bytes are unread", len(f.unread))
		}
		waiting := make(chan struct{})
		go func() {
			defer close(waiting)
			_, _ = f.next() // until the next one comes
		}()
		if _, err := io.WriteString(w, short); err != nil {
			t.Fatal(err)
		}
		<-waiting
		if f.buf != nil || f.long != nil {
			t.Error("a buffer is held for a line that fits into the first bytes")
		}
	}
	f.end()
	if !bytes.Equal(f.unread, nil) {
		t.Error("something is left")
	}
}

func TestTrigger_LooksAgainForWhatTheFirstDiscoveryHasNot(t *testing.T) {
	poked := 0
	fresh := func() *trigger {
		return &trigger{poke: func() { poked++ }, known: func(name string) bool { return name == "known.example.com" }}
	}
	known, unknown := versioned{"known.example.com", "1"}, versioned{"new.example.com", "2"}
	for what, c := range map[string]struct {
		do   func(*trigger)
		want int
	}{
		"all known":      {func(t *trigger) { t.Replace([]Object{known}, "3", false) }, 0},
		"one is new":     {func(t *trigger) { t.Replace([]Object{known, unknown}, "3", false) }, 1},
		"listed again":   {func(t *trigger) { t.Replace(nil, "3", false); t.Replace([]Object{known}, "4", false) }, 1},
		"changed":        {func(t *trigger) { t.Upsert(known) }, 1},
		"gone":           {func(t *trigger) { t.Delete(known) }, 1},
		"nothing at all": {func(t *trigger) { t.Passed("9") }, 0},
	} {
		poked = 0
		if c.do(fresh()); poked != c.want {
			t.Errorf("%s: %d", what, poked)
		}
	}
}

// asked is a reader that is asked when nobody may hold a seat.
type asked struct {
	t *testing.T
	d *decoders
}

func (a asked) Read([]byte) (int, error) {
	if n := len(a.d.seats); n != 0 {
		a.t.Errorf("%d seats are held while more is waited for", n)
	}
	return 0, io.EOF
}

func TestSeat_IsForAllThatHasCome(t *testing.T) {
	d := newDecoders()
	defer d.end()
	s := &seat{of: d}
	done := 0
	for range 3 {
		s.do(func() { done++ })
		if len(d.seats) != 1 {
			t.Errorf("%d seats are held", len(d.seats))
		}
	}
	if _, err := (leaving{asked{t, d}, s}).Read(nil); !errors.Is(err, io.EOF) || done != 3 {
		t.Errorf("%v, %d done", err, done)
	}
	s.do(func() { done++ })
	s.leave()
	s.leave()
	(&seat{}).do(func() { done++ }) // without decoders
	if len(d.seats) != 0 || done != 5 {
		t.Errorf("%d seats are held, %d done", len(d.seats), done)
	}
}
