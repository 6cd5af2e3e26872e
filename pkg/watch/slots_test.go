package watch

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

func hold1(t *testing.T, s *Slots, owner string) *hold {
	t.Helper()
	h, err := s.acquire(t.Context(), owner)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestSlots_AnAccountThatIsWaitedForGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSlots(1)
		first := hold1(t, s, "first")
		order := make(chan string, 2)
		for _, owner := range []string{"second", "urgent"} {
			go func() {
				h, err := s.acquire(t.Context(), owner)
				if err == nil {
					order <- owner
					h.release()
				}
			}()
			synctest.Wait()
		}
		s.promote("urgent")
		first.release()
		if got := <-order; got != "urgent" {
			t.Errorf("%s went first", got)
		}
		if got := <-order; got != "second" {
			t.Errorf("then %s", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		last := hold1(t, s, "x")
		cancel()
		if _, err := s.acquire(ctx, "y"); err == nil {
			t.Error("a slot was given to a caller that had gone")
		}
		last.release()
		last.release() // may be called again
		if s.free != 1 || s.waiting.Len() != 0 || len(s.holding) != 0 {
			t.Errorf("%d slots are free, want 1; %v", s.free, s.holding)
		}
	})
}

// silentBody sends its parts, each after a while.
type silentBody struct {
	parts []string
	after time.Duration
}

func (b *silentBody) Read(p []byte) (int, error) {
	time.Sleep(b.after)
	if len(b.parts) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.parts[0])
	b.parts = b.parts[1:]
	return n, nil
}

func TestSlots_AClusterThatSaysNothingHoldsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSlots(1)
		hung := hold1(t, s, "hung")
		read := make(chan string)
		go func() {
			text, err := io.ReadAll(hung.reader(t.Context(), &silentBody{parts: []string{"late"}, after: time.Hour}))
			if err != nil {
				t.Error(err)
			}
			hung.release()
			read <- string(text)
		}()
		begin := time.Now()
		healthy := hold1(t, s, "healthy")
		if took := time.Since(begin); took > listPatience {
			t.Errorf("the other waited for %s", took)
		}
		time.Sleep(2 * time.Hour)
		select {
		case <-read:
			t.Error("the list went on without a slot")
		default:
		}
		healthy.release()
		if text := <-read; text != "late" || s.free != 1 {
			t.Errorf("%q, %d free", text, s.free)
		}
	})
}

func TestSlots_AListWithoutEndTakesTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSlots(1)
		endless := hold1(t, s, "endless")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			reader := endless.reader(ctx, endlessly{})
			for buffer := make([]byte, 10); ; {
				if _, err := reader.Read(buffer); err != nil {
					endless.release()
					ended <- err
					return
				}
			}
		}()
		begin := time.Now()
		other := hold1(t, s, "other")
		if took := time.Since(begin); took > 2*turn {
			t.Errorf("the other waited for %s", took)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		other.release()
		if s.free != 1 {
			t.Errorf("%d free", s.free)
		}
	})
}

type endlessly struct{}

func (endlessly) Read(p []byte) (int, error) {
	time.Sleep(time.Millisecond)
	return copy(p, bytes.Repeat([]byte("x"), len(p))), nil
}

func TestSlots_AnAccountThatHasNotAnsweredHasOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSlots(10)
		first := hold1(t, s, "new")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.acquire(ctx, "new"); err == nil {
			t.Error("it has two before it has answered")
		}
		if _, err := io.ReadAll(first.reader(t.Context(), &silentBody{parts: []string{"x"}})); err != nil {
			t.Fatal(err)
		}
		hold1(t, s, "new")
		hold1(t, s, "new")
		s.silent("new")
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.acquire(ctx, "new"); err == nil {
			t.Error("it has another after it has failed")
		}
	})
}
