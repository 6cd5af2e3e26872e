package fleet

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Mode is how a cluster does.
type Mode int32

// The modes.
const (
	Well Mode = iota
	// Slow answers each request late.
	Slow
	// Hangs answers lists and watches with its headers, and then sends nothing.
	Hangs
	// BlackHoled takes connections and requests, and answers none.
	BlackHoled
	// Refused takes no connection.
	Refused
)

// Cluster is one API server.
type Cluster struct {
	Number int
	fleet  *Fleet
	names  []naming // of its applications
	mode   atomic.Int32
	// listing is how many lists are under way.
	listing atomic.Int64

	mu      sync.Mutex
	version uint64
	// oldest is the version that a watch may begin at.
	oldest  uint64
	changed map[place]object
	log     []object // what has changed since oldest
	watches map[*watch]struct{}
}

type place struct{ kind, number int }

const (
	// firstVersion is that of all that has never changed.
	firstVersion = 1000
	// mostLog is how many changes a cluster knows of, as a watch cache does.
	mostLog = 1000
)

func newCluster(f *Fleet, number int) *Cluster {
	return &Cluster{Number: number, fleet: f, names: namesOf(number, f.options), version: firstVersion, oldest: firstVersion, changed: map[place]object{}, watches: map[*watch]struct{}{}}
}

// Set makes a cluster do as the mode says, from the next request on.
func (c *Cluster) Set(m Mode) { c.mode.Store(int32(m)) }

func (c *Cluster) is() Mode { return Mode(c.mode.Load()) }

// lists counts a list that has begun, until over is called.
func (c *Cluster) lists() (over func()) {
	now := c.listing.Add(1)
	for most := c.fleet.crowd.Load(); now > most && !c.fleet.crowd.CompareAndSwap(most, now); most = c.fleet.crowd.Load() {
	}
	return sync.OnceFunc(func() { c.listing.Add(-1) })
}

// count is how many objects of a kind there are.
func (c *Cluster) count(kind int) int {
	return kinds[kind].each*c.fleet.options.Applications + kinds[kind].alone
}

// at is an object as it is now. The lock is held.
func (c *Cluster) at(kind, number int) object {
	if o, ok := c.changed[place{kind, number}]; ok {
		return o
	}
	return object{cluster: c, kind: kind, number: number, resourceVersion: firstVersion}
}

// change gives an object another status, and tells all who watch it.
func (c *Cluster) change(kind, number int) object {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.at(kind, number)
	c.version++
	o.revision, o.resourceVersion = o.revision+1, c.version
	c.changed[place{kind, number}] = o
	if len(c.log) == mostLog {
		c.oldest = c.log[0].resourceVersion
		c.log = append(c.log[:0], c.log[1:]...)
	}
	c.log = append(c.log, o)
	for w := range c.watches {
		if w.kind == kind && w.selects(o) {
			w.send(o)
		}
	}
	return o
}

// Compact makes a cluster forget its history: watches end, and those from an older
// version are told that it has expired.
func (c *Cluster) Compact() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version++
	c.oldest, c.log = c.version, nil
	for w := range c.watches {
		w.expire()
	}
}

// watch is one that is open.
type watch struct {
	query
	events  chan object
	expired chan struct{}
	once    sync.Once
}

// mostPending is how far a watch may be behind before it is ended.
const mostPending = 256

func (w *watch) send(o object) {
	select {
	case w.events <- o:
	default:
		w.expire()
	}
}

func (w *watch) expire() { w.once.Do(func() { close(w.expired) }) }

// open begins a watch: what has changed since a version, or everything for 0. ok is
// false for a version that the cluster does not know any more.
func (c *Cluster) open(q query, since uint64) (w *watch, missed []object, version uint64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w = &watch{query: q, events: make(chan object, mostPending), expired: make(chan struct{})}
	switch {
	case since == 0:
		missed = c.selected(q)
	case since < c.oldest:
		return nil, nil, c.version, false
	default:
		for _, o := range c.log {
			if o.kind == q.kind && o.resourceVersion > since && q.selects(o) {
				missed = append(missed, o)
			}
		}
	}
	c.watches[w] = struct{}{}
	return w, missed, c.version, true
}

func (c *Cluster) close(w *watch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.watches, w)
}

// selected are the objects of a query. The lock is held.
func (c *Cluster) selected(q query) []object {
	out := make([]object, 0, c.count(q.kind))
	for number := range c.count(q.kind) {
		if o := c.at(q.kind, number); q.selects(o) {
			out = append(out, o)
		}
	}
	return out
}

// list is what a query finds, as of a version.
func (c *Cluster) list(q query) ([]object, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.selected(q), c.version
}

func (c *Cluster) now() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.version
}

// query is what a list or a watch is of.
type query struct {
	kind      int
	namespace string
	selector  []requirement
}

func (q query) selects(o object) bool {
	if q.namespace != "" && o.namespace() != q.namespace {
		return false
	}
	for _, r := range q.selector {
		if value, has := o.label(r.label); !r.fits(value, has) {
			return false
		}
	}
	return true
}

// requirement is one of a label selector.
type requirement struct {
	label  string
	values []string // nil for any
	not    bool
}

func (r requirement) fits(value string, has bool) bool {
	for _, v := range r.values {
		if has && v == value {
			return !r.not
		}
	}
	return r.values == nil && has != r.not || r.values != nil && r.not
}

// selectorOf reads a selector like a=b,c in (d,e),!f.
func selectorOf(text string) []requirement {
	var out []requirement
	for text != "" {
		var part string
		end := strings.IndexByte(text, ',')
		if paren := strings.IndexByte(text, '('); paren >= 0 && paren < end {
			end = strings.IndexByte(text, ')') + 1
		}
		if end < 0 || end >= len(text) {
			part, text = text, ""
		} else {
			part, text = text[:end], text[end+1:]
		}
		out = append(out, requirementOf(strings.TrimSpace(part)))
	}
	return out
}

func requirementOf(part string) requirement {
	if label, values, ok := strings.Cut(part, " in ("); ok {
		return requirement{label: label, values: strings.Split(strings.TrimSuffix(values, ")"), ",")}
	}
	if label, values, ok := strings.Cut(part, " notin ("); ok {
		return requirement{label: label, values: strings.Split(strings.TrimSuffix(values, ")"), ","), not: true}
	}
	if label, value, ok := strings.Cut(part, "!="); ok {
		return requirement{label: label, values: []string{value}, not: true}
	}
	if label, value, ok := strings.Cut(part, "="); ok {
		return requirement{label: label, values: []string{strings.TrimPrefix(value, "=")}}
	}
	if label, ok := strings.CutPrefix(part, "!"); ok {
		return requirement{label: label, not: true}
	}
	return requirement{label: part}
}

// bookmarkEvery is how often a watch is told how far it is.
const bookmarkEvery = time.Minute
