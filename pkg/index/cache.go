package index

import (
	"fmt"
	"sync"

	"github.com/dgraph-io/ristretto/v2"
	"golang.org/x/sync/singleflight"
)

// Cache keeps what was rendered from the index under a byte budget. It may
// drop anything at any time, so it never holds the only copy: a miss renders
// again. Keys carry the version of what they were rendered from, so an entry
// is never out of date, only unused.
type Cache struct {
	entries *ristretto.Cache[string, any]
	flight  singleflight.Group

	// ristretto must not be used while it is closed, and what was begun for a
	// caller who has gone may go on after everybody else has ended.
	closing sync.RWMutex
	closed  bool
}

// NewCache makes a cache of at most so many bytes.
func NewCache(bytes int64) (*Cache, error) {
	const typicalEntry = 4 << 10
	entries, err := ristretto.NewCache(&ristretto.Config[string, any]{
		NumCounters: max(10*bytes/typicalEntry, 1000),
		MaxCost:     bytes,
		BufferItems: 64,
		Metrics:     true,
	})
	if err != nil {
		return nil, fmt.Errorf("make a cache of %d bytes: %w", bytes, err)
	}
	return &Cache{entries: entries}, nil
}

// Close ends the cache's goroutines. Whoever uses it later finds nothing there.
func (c *Cache) Close() {
	c.closing.Lock()
	defer c.closing.Unlock()
	if !c.closed {
		c.closed = true
		c.entries.Close()
	}
}

// use calls something on the entries, unless they are closed.
func (c *Cache) use(do func(*ristretto.Cache[string, any])) {
	c.closing.RLock()
	defer c.closing.RUnlock()
	if !c.closed {
		do(c.entries)
	}
}

func (c *Cache) look(key string) (value any, ok bool) {
	c.closing.RLock()
	defer c.closing.RUnlock()
	if c.closed {
		return nil, false
	}
	return c.entries.Get(key)
}

// room says whether so many bytes fit in without something else being dropped.
func (c *Cache) room(bytes int) (fits bool) {
	c.use(func(entries *ristretto.Cache[string, any]) { fits = entries.RemainingCost() >= int64(bytes) })
	return fits
}

// perEntry is what the cache itself takes for an entry, in bytes.
const perEntry = 256

func (c *Cache) put(key string, value any, cost int64) {
	c.use(func(entries *ristretto.Cache[string, any]) { entries.Set(key, value, cost+perEntry) })
}

// get returns what was put under a key, if it is still there. What is put
// passes through a buffer, so a miss is only believed once that is empty.
func (c *Cache) get(key string) (any, bool) {
	if v, ok := c.look(key); ok {
		return v, true
	}
	c.use(func(entries *ristretto.Cache[string, any]) { entries.Wait() })
	return c.look(key)
}

// Drop forgets the value under a key.
func (c *Cache) Drop(key string) {
	c.use(func(entries *ristretto.Cache[string, any]) { entries.Del(key) })
}

// Stats are the cache's hits, misses and bytes in use since it was made.
func (c *Cache) Stats() (hits, misses, bytes uint64) {
	m := c.entries.Metrics
	return m.Hits(), m.Misses(), m.CostAdded() - m.CostEvicted()
}

// Cached returns the value under key, making it when it is not there. Callers
// that ask at the same moment share one making, and get the value from it
// whether or not the cache kept it.
func Cached[T any](c *Cache, key string, build func() (value T, bytes int)) T {
	if v, ok := c.look(key); ok {
		return v.(T)
	}
	v, _, _ := c.flight.Do(key, func() (any, error) {
		value, bytes := build()
		c.put(key, value, int64(bytes+len(key)))
		return value, nil
	})
	return v.(T)
}
