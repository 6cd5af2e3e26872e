package service

import (
	"math"
	"testing"
)

func TestCacheBytes_AreAtMostATenthOfTheMemory(t *testing.T) {
	for _, c := range []struct{ wanted, limit, want int64 }{{256, math.MaxInt64, 256}, {256, 1000, 100}, {50, 1000, 50}, {256, 0, 4}} {
		if got := cacheBytes(c.wanted, c.limit); got != c.want {
			t.Errorf("%d of %d: %d", c.wanted, c.limit, got)
		}
	}
}
