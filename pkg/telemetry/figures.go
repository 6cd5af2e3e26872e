package telemetry

import (
	"context"
	"math"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Every is how often a sample is taken, and kept how many make an hour.
	Every = 10 * time.Second
	kept  = int(time.Hour / Every)
)

// Sample is what happened in one stretch of time.
type Sample struct {
	At time.Time
	// Events is how many events a second came from all clusters.
	Events float64
	// Lag is the middle one of the times that new objects took to be shown, in
	// seconds; NaN when there was none.
	Lag float64
	// Median and P99 are of the times of reads, in seconds; NaN without reads.
	Median, P99 float64
	// Memory is what the process has from the operating system, in bytes.
	Memory float64
}

// Figures are the samples of the last hour. The zero value is not ready: see
// NewFigures.
type Figures struct {
	events func() uint64
	reads  spread
	lags   spread

	mu      sync.Mutex
	samples []Sample
	before  uint64
	at      time.Time
}

// NewFigures begins with an empty hour; events counts all that came.
func NewFigures(events func() uint64) *Figures {
	return &Figures{events: events, at: time.Now()}
}

// Read counts a read.
func (f *Figures) Read(took time.Duration) { f.reads.add(took) }

// Lag counts an object that is shown so long after its creation.
func (f *Figures) Lag(lag time.Duration) { f.lags.add(lag) }

// Run takes samples until the context is over.
func (f *Figures) Run(ctx context.Context) error {
	tick := time.NewTicker(Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case at := <-tick.C:
			f.sample(at)
		}
	}
}

func (f *Figures) sample(at time.Time) {
	events := f.events()
	reads, lags := f.reads.take(), f.lags.take()
	f.mu.Lock()
	defer f.mu.Unlock()
	s := Sample{At: at, Lag: lags.quantile(0.5), Median: reads.quantile(0.5), P99: reads.quantile(0.99), Memory: memory()}
	if seconds := at.Sub(f.at).Seconds(); seconds > 0 && events >= f.before { // an account that goes takes its count along
		s.Events = float64(events-f.before) / seconds
	}
	f.before, f.at = events, at
	f.samples = append(f.samples, s)
	if len(f.samples) > kept {
		f.samples = append(f.samples[:0], f.samples[len(f.samples)-kept:]...)
	}
}

// Last are the samples of the last hour, the oldest first.
func (f *Figures) Last() []Sample {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Sample(nil), f.samples...)
}

func memory() float64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return float64(samples[0].Value.Uint64() - samples[1].Value.Uint64())
}

// A spread counts times in classes, each a quarter wider than the one before,
// from a microsecond to some hours.
type spread struct{ counts [classes]atomic.Uint64 }

const (
	classes = 110
	growth  = 1.25
)

func (s *spread) add(d time.Duration) {
	class := 0
	if us := float64(d.Microseconds()); us > 1 {
		class = min(int(math.Log(us)/math.Log(growth)), classes-1)
	}
	s.counts[class].Add(1)
}

type counts [classes]uint64

func (s *spread) take() (out counts) {
	for i := range s.counts {
		out[i] = s.counts[i].Swap(0)
	}
	return out
}

// quantile is in seconds, at most an eighth off; NaN when nothing was counted.
func (c counts) quantile(q float64) float64 {
	total := uint64(0)
	for _, n := range c {
		total += n
	}
	if total == 0 {
		return math.NaN()
	}
	rank, seen := uint64(q*float64(total-1)), uint64(0)
	for i, n := range c {
		if seen += n; seen > rank {
			return math.Pow(growth, float64(i)+0.5) / 1e6
		}
	}
	return math.NaN()
}
