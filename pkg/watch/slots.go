package watch

import (
	"context"
	"slices"
	"sync"
)

// Slots bounds how many initial lists run at once over all accounts. Lists of
// an account that somebody waits for go first.
type Slots struct {
	mu      sync.Mutex
	free    int
	waiting []*waiter
	urgent  map[string]bool
}

type waiter struct {
	owner string
	ready chan struct{}
}

// NewSlots makes n slots.
func NewSlots(n int) *Slots { return &Slots{free: n, urgent: map[string]bool{}} }

// acquire waits for a slot; release gives it back and may be called once.
func (s *Slots) acquire(ctx context.Context, owner string) (release func(), err error) {
	s.mu.Lock()
	if s.free > 0 {
		s.free--
		s.mu.Unlock()
		return s.release, nil
	}
	w := &waiter{owner: owner, ready: make(chan struct{})}
	if s.urgent[owner] {
		s.waiting = slices.Insert(s.waiting, 0, w)
	} else {
		s.waiting = append(s.waiting, w)
	}
	s.mu.Unlock()
	select {
	case <-w.ready:
		return s.release, nil
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		if i := slices.Index(s.waiting, w); i >= 0 {
			s.waiting = slices.Delete(s.waiting, i, i+1)
		} else {
			s.give() // it was handed over at the same moment
		}
		return nil, ctx.Err()
	}
}

func (s *Slots) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.give()
}

func (s *Slots) give() {
	if len(s.waiting) == 0 {
		s.free++
		return
	}
	w := s.waiting[0]
	s.waiting = s.waiting[1:]
	close(w.ready)
}

// promote moves the owner's lists to the front, those to come included.
func (s *Slots) promote(owner string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.urgent[owner] {
		return
	}
	s.urgent[owner] = true
	slices.SortStableFunc(s.waiting, func(a, b *waiter) int {
		switch {
		case a.owner == owner && b.owner != owner:
			return -1
		case a.owner != owner && b.owner == owner:
			return 1
		}
		return 0
	})
}

// calm ends the promotion of an account that is up or gone.
func (s *Slots) calm(owner string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.urgent, owner)
}
