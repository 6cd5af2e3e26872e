package index

import (
	"strconv"
	"sync"
	"testing"
)

// TestCache_IsClosedWhileOthersUseIt: what was begun for a caller who has gone goes
// on after the service has ended.
func TestCache_IsClosedWhileOthersUseIt(t *testing.T) {
	for range 20 {
		c, err := NewCache(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		stop := make(chan struct{})
		var all sync.WaitGroup
		for worker := range 4 {
			all.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					key := strconv.Itoa(worker) + "-" + strconv.Itoa(n%100)
					if got := Cached(c, key, func() (string, int) { return key, 100 }); got != key {
						t.Errorf("%s for %s", got, key)
					}
					c.get(key)
					c.Drop(key)
				}
			})
		}
		c.Close()
		c.Close()
		close(stop)
		all.Wait()
		if _, ok := c.get("0-0"); ok {
			t.Error("a closed cache has something")
		}
	}
}
