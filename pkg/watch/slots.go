package watch

import (
	"cmp"
	"container/list"
	"context"
	"io"
	"sync"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/processors"
)

// shared is what the accounts of a fleet have together, so that a thousand of them leave
// room for those who read.
type shared struct {
	// lists are for initial lists.
	lists *Slots
	// returning are for accounts whose watches are resumed after a failure. They pace
	// them by what comes before all else, the question who the cluster is.
	returning *Slots
	// decoders are nil for none: objects are decoded where they come.
	decoders *decoders
}

// newShared makes what a fleet has, for so many lists at once; 0 for as many as suit the
// processors.
func newShared(lists int) shared {
	return shared{
		lists: NewSlots(cmp.Or(lists, listsPerProcessor*processors.Count)), returning: newReturning(returningPerProcessor * processors.Count), decoders: newDecoders(),
	}
}

const (
	// listsPerProcessor keep a processor busy, and no request waiting for long.
	listsPerProcessor = 4
	// returningPerProcessor are fewer: when an account has its turn, all its watches ask at
	// once, in few packets.
	returningPerProcessor = 1
)

// Slots bounds how many run at once over all accounts of what moves much: initial lists,
// and accounts that come back. A slot is for what moves: a list whose cluster says nothing
// lends it to others, one that takes long goes behind them for a while, and an account
// that has not answered yet has one at the most. Lists of an account that somebody waits
// for go first.
type Slots struct {
	mu       sync.Mutex
	free     int
	patience time.Duration
	waiting  list.List // of *hold: at the start of a fleet there are thousands
	urgent   map[string]bool
	answered map[string]bool
	holding  map[string]int
}

const (
	// listPatience is how long a list keeps its slot while nothing comes. It is shorter
	// than the way to most clusters: slots are for what has come.
	listPatience = 25 * time.Millisecond
	// returnPatience is that of an account that comes back: a whole fleet of them may be
	// far away.
	returnPatience = 5 * time.Millisecond
	// turn is how long a list keeps its slot while others wait.
	turn = 5 * time.Second
)

// NewSlots makes n slots.
func NewSlots(n int) *Slots {
	return &Slots{free: n, patience: listPatience, urgent: map[string]bool{}, answered: map[string]bool{}, holding: map[string]int{}}
}

// anyone owns what is not counted by accounts.
const anyone = ""

// newReturning makes n slots for accounts whose watches are resumed. When a whole fleet
// comes back, its thousands of watches would be in the way of whoever reads meanwhile.
func newReturning(n int) *Slots {
	s := NewSlots(n)
	s.patience = returnPatience
	s.hears(anyone)
	return s
}

// hold is a claim to a slot, of a list or of an account that comes back. Its fields are
// guarded by the slots' lock.
type hold struct {
	slots *Slots
	owner string
	ready chan struct{} // closed when it has the slot; nil unless it waits
	queue *list.Element // where it waits
	has   bool
	idle  bool // it waits for its cluster
	since time.Time
}

// acquire waits for a slot; release gives it back.
func (s *Slots) acquire(ctx context.Context, owner string) (*hold, error) {
	h := &hold{slots: s, owner: owner}
	return h, h.take(ctx, false)
}

// take waits for a slot. A list that has begun and has something to read goes
// before those that have not.
func (h *hold) take(ctx context.Context, first bool) error {
	s := h.slots
	s.mu.Lock()
	if h.has {
		s.mu.Unlock()
		return nil
	}
	ready := make(chan struct{})
	h.ready = ready
	if first || s.urgent[h.owner] {
		h.queue = s.waiting.PushFront(h)
	} else {
		h.queue = s.waiting.PushBack(h)
	}
	s.give()
	s.mu.Unlock()
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		h.release()
		return ctx.Err()
	}
}

// give hands free slots to those who may have one. The lock is held.
func (s *Slots) give() {
	for e := s.waiting.Front(); e != nil && s.free > 0; {
		h := e.Value.(*hold)
		e = e.Next()
		if s.holding[h.owner] > 0 && !s.answered[h.owner] {
			continue
		}
		h.leave()
		s.free--
		s.holding[h.owner]++
		h.has, h.since = true, time.Now()
		close(h.ready)
		h.ready = nil
	}
}

// leave ends the waiting. The lock is held.
func (h *hold) leave() {
	if h.queue != nil {
		h.slots.waiting.Remove(h.queue)
		h.queue = nil
	}
}

// drop takes the slot away. The lock is held.
func (h *hold) drop() {
	s := h.slots
	if !h.has {
		return
	}
	h.has = false
	s.free++
	if s.holding[h.owner]--; s.holding[h.owner] == 0 {
		delete(s.holding, h.owner)
	}
	s.give()
}

// release ends the claim; it may be called again.
func (h *hold) release() {
	s := h.slots
	s.mu.Lock()
	defer s.mu.Unlock()
	h.leave()
	h.ready = nil
	h.drop()
}

// waits says whether the list waits for a slot, and not for its cluster.
func (h *hold) waits() bool {
	h.slots.mu.Lock()
	defer h.slots.mu.Unlock()
	return h.ready != nil
}

// lend does what waits for the cluster. After a moment, the slot is lent to others, and
// not taken back.
func (h *hold) lend(do func()) {
	s := h.slots
	s.mu.Lock()
	h.idle = true
	s.mu.Unlock()
	lend := time.AfterFunc(s.patience, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if h.idle {
			h.drop()
		}
	})
	do()
	lend.Stop()
	s.mu.Lock()
	h.idle = false
	s.mu.Unlock()
}

// while lends the slot, if there is one, to others as long as do waits for the cluster.
func (h *hold) while(ctx context.Context, do func()) error {
	if h == nil {
		do()
		return nil
	}
	h.lend(do)
	s := h.slots
	s.mu.Lock()
	first := true
	if h.has && time.Since(h.since) > turn && s.waiting.Len() > 0 {
		h.drop()
		first = false // it had its turn
	}
	s.mu.Unlock()
	return h.take(ctx, first)
}

// reader reads the list and lends its slot while nothing comes.
func (h *hold) reader(ctx context.Context, from io.Reader) *heldReader {
	return &heldReader{ctx: ctx, from: from, hold: h}
}

// heldReader reads a list.
type heldReader struct {
	ctx  context.Context
	from io.Reader
	hold *hold
	read int64
}

func (r *heldReader) Read(p []byte) (n int, err error) {
	waited := r.hold.while(r.ctx, func() { n, err = r.from.Read(p) })
	if n > 0 && r.read == 0 {
		r.hold.slots.hears(r.hold.owner)
	}
	r.read += int64(n)
	if err == nil {
		err = waited
	}
	return n, err
}

// hears takes note that an account's cluster sends lists.
func (s *Slots) hears(owner string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.answered[owner] {
		s.answered[owner] = true
		s.give()
	}
}

// promote moves the owner's lists to the front, those to come included.
func (s *Slots) promote(owner string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.urgent[owner] {
		return
	}
	s.urgent[owner] = true
	behind := s.waiting.Front()
	for e := behind; e != nil; {
		next := e.Next()
		switch {
		case e.Value.(*hold).owner != owner:
		case e == behind:
			behind = next
		default:
			s.waiting.MoveBefore(e, behind)
		}
		e = next
	}
}

// calm ends the promotion of an account that is up, failed or gone.
func (s *Slots) calm(owner string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.urgent, owner)
}

// silent takes note that an account's cluster has failed: it has to answer
// before it has more than one slot again.
func (s *Slots) silent(owner string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.answered, owner)
}
