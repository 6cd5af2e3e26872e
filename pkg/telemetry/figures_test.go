package telemetry

import (
	"math"
	"testing"
	"time"
)

func TestFigures_KeepAnHour(t *testing.T) {
	events := uint64(0)
	f := NewFigures(func() uint64 { return events })
	at := f.at
	for range kept + 5 {
		at = at.Add(Every)
		events += 50
		f.sample(at)
	}
	last := f.Last()
	if len(last) != kept || last[kept-1].At != at {
		t.Fatalf("%d samples until %s", len(last), last[len(last)-1].At)
	}
	if s := last[kept-1]; s.Events != 5 || !math.IsNaN(s.P99) || !math.IsNaN(s.Lag) || s.Memory < 1<<20 {
		t.Errorf("%+v", s)
	}
	events = 1 // an account has gone
	f.sample(at.Add(Every))
	if s := f.Last()[kept-1]; s.Events != 0 {
		t.Errorf("%+v", s)
	}
}

func TestSpread_IsAtMostAnEighthOff(t *testing.T) {
	for _, d := range []time.Duration{20 * time.Microsecond, time.Millisecond, 333 * time.Millisecond, 40 * time.Second} {
		var s spread
		for range 100 {
			s.add(d)
		}
		c := s.take()
		if got := c.quantile(0.99); math.Abs(got/d.Seconds()-1) > 0.13 {
			t.Errorf("%s: got %f", d, got)
		}
	}
	var s spread
	s.add(0)
	s.add(math.MaxInt64)
	if c := s.take(); c.quantile(0) > 2e-6 || c.quantile(1) < 3600 {
		t.Error("the ends are not held")
	}
}
