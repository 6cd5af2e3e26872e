package index

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// Change is something that happened to an object that an application shows.
type Change struct {
	// Seq counts the changes of a feed without gaps, from 1.
	Seq     uint64
	Account string
	*Object
	// Removed objects are no longer shown.
	Removed bool

	once     sync.Once
	rendered []byte
}

// Rendered is the change in the form that render gives it, made once for all
// who read it.
func (c *Change) Rendered(render func(*Change) []byte) []byte {
	c.once.Do(func() { c.rendered = render(c) })
	return c.rendered
}

// Feed is the changes of one application. It keeps the latest for readers who
// are behind, and nothing for each of them.
type Feed struct {
	// Epoch tells this feed from others of the application, before and after.
	Epoch string

	mu   sync.Mutex
	last uint64
	// ring is the latest changes, the one with the number n at n modulo its
	// length. It grows as it is used.
	ring    []*Change
	more    chan struct{}
	readers int
	idle    time.Time
}

const (
	// feedMost is how far a reader may fall behind: at a thousand changes a
	// second, for some seconds.
	feedMost  = 4096
	feedLeast = 16
	// feedFor is how long a feed outlives its last reader, who may come back.
	feedFor = time.Minute
)

// ErrBehind is returned to a reader who is so far behind that changes were lost
// for it.
var ErrBehind = errors.New("the reader is too far behind")

// feeds are those that somebody reads.
type feeds struct {
	active atomic.Int64 // spares a lock while nobody reads anything
	mu     sync.Mutex
	of     map[string]*Feed // by lower-case application
	sweep  *time.Timer      // runs while there are any
}

// swept forgets feeds that nobody has read for a while, and comes again while
// there are others.
func (f *feeds) swept() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, feed := range f.of {
		if feed.over() {
			delete(f.of, name)
			f.active.Add(-1)
		}
	}
	if len(f.of) == 0 {
		f.sweep = nil
		return
	}
	f.sweep.Reset(feedFor)
}

// Follow opens the feed of an application; the caller closes it once with
// Unfollow.
func (ix *Index) Follow(application string) *Feed {
	key := strings.ToLower(application)
	ix.feeds.mu.Lock()
	defer ix.feeds.mu.Unlock()
	f := ix.feeds.of[key]
	if f == nil {
		f = &Feed{Epoch: rand.Text()[:8], more: make(chan struct{})}
		if ix.feeds.of == nil {
			ix.feeds.of = map[string]*Feed{}
		}
		ix.feeds.of[key] = f
		ix.feeds.active.Add(1)
		if ix.feeds.sweep == nil {
			ix.feeds.sweep = time.AfterFunc(feedFor, ix.feeds.swept)
		}
	}
	f.mu.Lock()
	f.readers++
	f.mu.Unlock()
	return f
}

func (f *Feed) over() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.readers == 0 && time.Since(f.idle) > feedFor
}

// Unfollow is called by a reader who goes.
func (f *Feed) Unfollow() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readers--
	f.idle = time.Now()
}

// Readers is how many follow it.
func (f *Feed) Readers() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.readers
}

// Last is the number of the latest change, 0 for none.
func (f *Feed) Last() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// Next waits for changes after a number and returns them in order, at most
// some; none when wake is closed. ErrBehind when the first of them is not kept
// any more.
func (f *Feed) Next(ctx context.Context, after uint64, most int, wake <-chan struct{}) ([]*Change, error) {
	for {
		f.mu.Lock()
		last, more := f.last, f.more
		if after < last {
			if last-after > uint64(len(f.ring)) {
				f.mu.Unlock()
				return nil, ErrBehind
			}
			var out []*Change
			for n := after + 1; n <= last && len(out) < most; n++ {
				out = append(out, f.ring[n%uint64(len(f.ring))])
			}
			f.mu.Unlock()
			return out, nil
		}
		f.mu.Unlock()
		select {
		case <-more:
		case <-wake:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (f *Feed) add(c *Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	c.Seq = f.last
	if n := len(f.ring); n < feedMost && f.last > uint64(n) {
		grown := make([]*Change, max(2*n, feedLeast))
		for seq := f.last - uint64(n); seq < f.last; seq++ {
			grown[seq%uint64(len(grown))] = f.ring[seq%uint64(n)]
		}
		f.ring = grown
	}
	f.ring[f.last%uint64(len(f.ring))] = c
	close(f.more)
	f.more = make(chan struct{})
}

// publish tells the readers of the applications that show an object: its own
// and, for an instance, those of the server groups that own it. The account's
// lock is held, so that changes come in the order of the account's.
func (a *Account) publish(o *Object, removed bool) {
	if a.index.feeds.active.Load() == 0 {
		return
	}
	apps := map[string]struct{}{}
	switch o.Kind.Class {
	case spinnaker.ServerGroups, spinnaker.ServerGroupManagers, spinnaker.LoadBalancers:
		apps[strings.ToLower(o.Moniker().App)] = struct{}{}
	case spinnaker.Instances:
		o.eachOwner(func(w Owner) {
			if group := a.byUID[w.key]; group != nil {
				apps[strings.ToLower(group.Moniker().App)] = struct{}{}
			}
		})
	}
	for app := range apps {
		a.index.feeds.mu.Lock()
		f := a.index.feeds.of[app]
		a.index.feeds.mu.Unlock()
		if f != nil {
			f.add(&Change{Account: a.Name, Object: o, Removed: removed})
		}
	}
}

// vanish takes an object from the readers.
func (a *Account) vanish(k *kindObjects, o *Object) {
	a.publish(o, true)
	a.remove(k, o)
}
