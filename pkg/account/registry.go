package account

import (
	"cmp"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
)

// Registry is the live set of accounts. Sources replace their part of it;
// readers take a snapshot and are told when it changed.
type Registry struct {
	mu      sync.RWMutex
	sources []string // in order of precedence
	parts   map[string][]*Account
	byName  map[string]*Account
	sorted  []*Account
	changed chan struct{}
	// revision counts the changes.
	revision atomic.Uint64
}

// NewRegistry makes an empty registry. Of two sources that know an account of
// the same name, the one named first wins.
func NewRegistry(sources ...string) *Registry {
	return &Registry{sources: sources, parts: map[string][]*Account{}, byName: map[string]*Account{}, changed: make(chan struct{})}
}

// Replace sets the accounts of one source.
func (r *Registry) Replace(source string, accounts []*Account) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parts[source] = accounts
	r.byName = map[string]*Account{}
	r.sorted = nil
	for _, s := range r.sources {
		for _, a := range r.parts[s] {
			if _, taken := r.byName[a.Name]; taken {
				slog.Warn("an account is defined twice; the first definition is used", "account", a.Name, "ignored", s)
				continue
			}
			r.byName[a.Name] = a
			r.sorted = append(r.sorted, a)
		}
	}
	slices.SortFunc(r.sorted, func(a, b *Account) int { return cmp.Compare(a.Name, b.Name) })
	r.revision.Add(1)
	close(r.changed)
	r.changed = make(chan struct{})
}

// Revision is another number after every change.
func (r *Registry) Revision() uint64 { return r.revision.Load() }

// Get finds an account by its exact name.
func (r *Registry) Get(name string) (*Account, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	a, ok := r.byName[name]
	return a, ok
}

// Snapshot is List with the revision of what it returns.
func (r *Registry) Snapshot() (accounts []*Account, revision uint64, changed <-chan struct{}) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.sorted, r.revision.Load(), r.changed
}

// List returns the accounts sorted by name, and a channel that is closed at
// the next change. The slice must not be changed.
func (r *Registry) List() ([]*Account, <-chan struct{}) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.sorted, r.changed
}
