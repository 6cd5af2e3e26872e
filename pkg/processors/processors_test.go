package processors

import (
	"runtime"
	"testing"
)

func TestBesideCollector_LeavesTheCountAndWhatIsAskedFor(t *testing.T) {
	threads := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(threads) })
	count := Count
	t.Cleanup(func() { Count = count })
	for _, c := range []struct {
		processors int
		asked      string
		want       int
	}{{1, "", 4}, {2, "", 4}, {8, "", 8}, {2, "2", 2}} {
		t.Setenv("GOMAXPROCS", c.asked)
		runtime.GOMAXPROCS(c.processors)
		Count = c.processors
		BesideCollector()
		if got := runtime.GOMAXPROCS(0); got != c.want || Count != c.processors {
			t.Errorf("%d processors, GOMAXPROCS %q: %d threads, %d processors", c.processors, c.asked, got, Count)
		}
	}
}
