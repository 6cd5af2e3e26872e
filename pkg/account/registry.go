package account

import (
	"cmp"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
)

// Named is what a Set holds.
type Named interface {
	// ID is the name of an account.
	ID() string
}

// Registry is the live set of the accounts of clusters.
type Registry = Set[*Account]

// Set is a live set of accounts. Sources replace their part of it; readers take a
// snapshot and are told when it changed.
type Set[T Named] struct {
	mu      sync.RWMutex
	sources []string // in order of precedence
	parts   map[string][]T
	byName  map[string]T
	sorted  []T
	changed chan struct{}
	// revision counts the changes.
	revision atomic.Uint64
}

// NewRegistry makes an empty registry. Of two sources that know an account of
// the same name, the one named first wins.
func NewRegistry(sources ...string) *Registry { return NewSet[*Account](sources...) }

// NewSet makes an empty set, in the same way.
func NewSet[T Named](sources ...string) *Set[T] {
	return &Set[T]{sources: sources, parts: map[string][]T{}, byName: map[string]T{}, changed: make(chan struct{})}
}

// Replace sets the accounts of one source.
func (r *Set[T]) Replace(source string, accounts []T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parts[source] = accounts
	r.byName = map[string]T{}
	r.sorted = nil
	for _, s := range r.sources {
		for _, a := range r.parts[s] {
			if _, taken := r.byName[a.ID()]; taken {
				slog.Warn("an account is defined twice; the first definition is used", "account", a.ID(), "ignored", s)
				continue
			}
			r.byName[a.ID()] = a
			r.sorted = append(r.sorted, a)
		}
	}
	slices.SortFunc(r.sorted, func(a, b T) int { return cmp.Compare(a.ID(), b.ID()) })
	r.revision.Add(1)
	close(r.changed)
	r.changed = make(chan struct{})
}

// Part are the accounts of one source. The slice must not be changed.
func (r *Set[T]) Part(source string) []T {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.parts[source]
}

// Revision is another number after every change.
func (r *Set[T]) Revision() uint64 { return r.revision.Load() }

// Get finds an account by its exact name.
func (r *Set[T]) Get(name string) (T, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	a, ok := r.byName[name]
	return a, ok
}

// Snapshot is List with the revision of what it returns.
func (r *Set[T]) Snapshot() (accounts []T, revision uint64, changed <-chan struct{}) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.sorted, r.revision.Load(), r.changed
}

// List returns the accounts sorted by name, and a channel that is closed at
// the next change. The slice must not be changed.
func (r *Set[T]) List() ([]T, <-chan struct{}) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.sorted, r.changed
}
