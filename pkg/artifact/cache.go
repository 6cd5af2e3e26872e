package artifact

import (
	"container/list"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"sync"
)

// cache keeps content on disk: of references that never change, and of others with
// what their server calls that version. Who asks for the same at the same time shares
// one fetch. What does not fit goes through it as it comes; a nil cache keeps nothing.
type cache struct {
	folder string
	most   int64 // bytes; 0 keeps nothing

	mu      sync.Mutex
	held    map[string]*list.Element // of *kept
	order   *list.List               // the last one used first
	used    int64
	flights map[string]*flight
}

// kept is a file of the cache.
type kept struct {
	key, path, etag string
	size            int64
	sum             [sha256.Size]byte
}

// wanted is what is asked for. key tells apart contents, and accounts: what one may
// fetch is not shown to another.
type wanted struct {
	key string
	// digest is the SHA-256 of content that never changes, in hex; "" for content
	// that has to be asked about each time.
	digest string
	// bound is for content whose size nobody says; 0 lets such content go through.
	bound int64
	// whole has content fetched to its end, although nobody reads on.
	whole bool
	// ask fetches it, unless it is still the version of that name.
	ask func(ctx context.Context, etag string) (fetched, error)
}

type fetched struct {
	Content
	etag string
	same bool
}

// newCache makes one in a folder of its own, which is gone with close.
func newCache(most int64) (*cache, error) {
	c := &cache{most: most, held: map[string]*list.Element{}, order: list.New(), flights: map[string]*flight{}}
	if most <= 0 {
		return c, nil
	}
	var err error
	c.folder, err = os.MkdirTemp("", "clouddriver-artifacts")
	return c, err
}

func (c *cache) close() {
	if c.folder != "" {
		_ = os.RemoveAll(c.folder) // temporary files are the system's to remove, too
	}
}

// share is how much of the cache one content may take.
const share = 4

// small is content that is read into memory, up to its bound.
func (c *cache) small(ctx context.Context, w wanted) ([]byte, error) {
	w.whole = true
	got, err := c.get(ctx, w)
	if err != nil {
		return nil, err
	}
	defer func() { _ = got.Close() }()
	return io.ReadAll(io.LimitReader(got, w.bound))
}

// get answers from the cache, or fetches.
func (c *cache) get(ctx context.Context, w wanted) (Content, error) {
	if c == nil || c.most <= 0 {
		got, err := w.ask(ctx, "")
		return got.Content, err
	}
	for {
		c.mu.Lock()
		before := c.find(w.key)
		if before != nil && w.digest != "" {
			c.mu.Unlock()
			if content, err := c.open(before); err == nil {
				return content, nil
			}
			continue // it was dropped
		}
		f, under := c.flights[w.key]
		if !under {
			f = newFlight(ctx, c, w)
			c.flights[w.key] = f
			go f.run(before)
		}
		f.refs++
		c.mu.Unlock()
		content, direct, err := f.wait(ctx)
		if !direct {
			return content, err
		}
		got, err := w.ask(ctx, "")
		return got.Content, err
	}
}

// find is what is held under a key; it was used now. The lock is held.
func (c *cache) find(key string) *kept {
	element, ok := c.held[key]
	if !ok {
		return nil
	}
	c.order.MoveToFront(element)
	return element.Value.(*kept)
}

// keep takes a file over, and drops what was not used for longest.
func (c *cache) keep(k *kept) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.held[k.key]; ok {
		c.drop(old)
	}
	c.held[k.key] = c.order.PushFront(k)
	c.used += k.size
	for c.used > c.most {
		c.drop(c.order.Back())
	}
}

func (c *cache) drop(element *list.Element) {
	k := c.order.Remove(element).(*kept)
	delete(c.held, k.key)
	c.used -= k.size
	_ = os.Remove(k.path) // who reads it has it still
}

// forget drops a file that is not what it was.
func (c *cache) forget(k *kept) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if element, ok := c.held[k.key]; ok && element.Value.(*kept) == k {
		c.drop(element)
	}
}

var errSpoiled = errors.New("what was kept of it on disk is not what it was: ask again")

// open reads a file, and checks it on the way.
func (c *cache) open(k *kept) (Content, error) {
	file, err := os.Open(k.path)
	if err != nil {
		c.forget(k)
		return Content{}, err
	}
	sum := sha256.New()
	checked := &checked{from: io.TeeReader(io.LimitReader(file, k.size+1), sum), verify: func() error {
		if [sha256.Size]byte(sum.Sum(nil)) == k.sum {
			return nil
		}
		c.forget(k)
		return errSpoiled
	}}
	return Content{readCloser{checked, file}, k.size}, nil
}

type readCloser struct {
	io.Reader
	io.Closer
}

// checked holds the last byte back until all that came before it is verified: whoever
// has all bytes takes them for the whole.
type checked struct {
	from   io.Reader
	verify func() error
	held   byte
	has    bool
	done   bool
}

func (c *checked) Read(into []byte) (int, error) {
	if c.done {
		return 0, io.EOF
	}
	if len(into) < 2 { //nolint:mnd // the one that is held, and one more
		return 0, io.ErrShortBuffer
	}
	n := 0
	if c.has {
		into[0], n = c.held, 1
	}
	more, err := c.from.Read(into[n:])
	n += more
	switch {
	case errors.Is(err, io.EOF):
		if wrong := c.verify(); wrong != nil {
			return 0, wrong
		}
		c.done = true
		return n, io.EOF
	case err != nil:
		return 0, err
	case n == 0:
		return 0, nil
	}
	c.held, c.has = into[n-1], true
	return n - 1, nil
}
