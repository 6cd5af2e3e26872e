package flight

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestDo_NeverSharesACallThatHadBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[string, int]
		calls := 0
		do := func() (int, error) {
			calls++
			n := calls
			time.Sleep(time.Second)
			return n, nil
		}
		got := make(chan int, 10)
		ask := func() {
			go func() {
				n, err := g.Do(t.Context(), "a", do)
				if err != nil {
					t.Error(err)
				}
				got <- n
			}()
		}
		ask()
		time.Sleep(100 * time.Millisecond) // the first is under way
		for range 5 {
			ask()
		}
		if n := <-got; n != 1 {
			t.Errorf("the first got call %d", n)
		}
		for range 5 {
			if n := <-got; n != 2 {
				t.Errorf("one who came later got call %d, want the one that began after", n)
			}
		}
		if calls != 2 {
			t.Errorf("%d calls", calls)
		}
	})
}

func TestDo_EveryBoundsHowOftenCallsBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := Group[string, time.Time]{Every: time.Second}
		now := func() (time.Time, error) { return time.Now(), nil }
		first, _ := g.Do(t.Context(), "a", now)
		second, _ := g.Do(t.Context(), "a", now)
		if gap := second.Sub(first); gap != time.Second {
			t.Errorf("the second began after %s", gap)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		third, _ := g.Do(t.Context(), "a", now)
		if time.Since(third) != 0 {
			t.Error("one that comes after a rest waits")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(g.lines) != 0 {
			t.Error("a key that nobody asks for is kept")
		}
	})
}

func TestDo_ACallerMayGoAndAPanicIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group[int, string]
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := g.Do(ctx, 1, func() (string, error) { time.Sleep(time.Minute); return "late", nil })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if _, err = g.Do(t.Context(), 2, func() (string, error) { panic("odd") }); err == nil {
			t.Error("a panic was no error")
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
	})
}
