package watch

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
)

// Options are the limits of all watchers.
type Options struct {
	Client           cluster.Options
	Timing           Timing
	StartConcurrency int
	Log              *slog.Logger
}

// Sink makes the receiver of an account.
type Sink interface {
	Open(a *account.Account) AccountSink
}

// Fleet watches every account of a registry.
type Fleet struct {
	registry *account.Registry
	sink     Sink
	options  Options
	slots    *Slots

	mu      sync.Mutex
	running map[string]*running
	// revision is that of the registry which the accounts are of, and pictured
	// is closed when there is a new health.
	revision uint64
	pictured chan struct{}
	health   atomic.Pointer[Health]
	settled  chan struct{}
	once     sync.Once
}

type running struct {
	*supervisor
	fingerprint string
	cancel      context.CancelFunc
	done        chan struct{}
}

// Health is what the reads need to know of all accounts at one moment.
type Health struct {
	// Stale are the accounts whose objects may be behind or missing, sorted.
	Stale    []string
	starting []*supervisor
	accounts map[string]*supervisor
	registry *account.Registry
	revision uint64
}

// NewFleet makes a fleet; Run starts it.
func NewFleet(registry *account.Registry, sink Sink, o Options) *Fleet {
	f := &Fleet{registry: registry, sink: sink, options: o, slots: NewSlots(o.StartConcurrency), running: map[string]*running{}, settled: make(chan struct{}), pictured: make(chan struct{})}
	f.health.Store(&Health{registry: registry})
	return f
}

// Run follows the registry until the context is over and every watcher has
// ended.
func (f *Fleet) Run(ctx context.Context) error {
	for {
		accounts, revision, changed := f.registry.Snapshot()
		f.reconcile(ctx, accounts, revision)
		select {
		case <-changed:
		case <-ctx.Done():
			f.reconcile(ctx, nil, f.registry.Revision())
			return nil
		}
	}
}

func (f *Fleet) reconcile(ctx context.Context, accounts []*account.Account, revision uint64) {
	wanted := map[string]*account.Account{}
	for _, a := range accounts {
		wanted[a.Name] = a
	}
	f.mu.Lock()
	var ended []*running
	for name, r := range f.running {
		if a := wanted[name]; a == nil || a.WatchFingerprint() != r.fingerprint {
			r.cancel()
			ended = append(ended, r)
			delete(f.running, name)
		}
	}
	f.mu.Unlock()
	for _, r := range ended {
		<-r.done
		r.sink.Close()
	}
	f.mu.Lock()
	for name, a := range wanted {
		if f.running[name] != nil {
			continue
		}
		watching, cancel := context.WithCancel(ctx)
		r := &running{
			supervisor:  newSupervisor(a, f.sink.Open(a), f.slots, f.options, f.refresh),
			fingerprint: a.WatchFingerprint(), cancel: cancel, done: make(chan struct{}),
		}
		f.running[name] = r
		go func() {
			defer close(r.done)
			r.run(watching)
		}()
	}
	f.revision = revision
	f.mu.Unlock()
	f.refresh()
}

// refresh takes a new picture of all accounts.
func (f *Fleet) refresh() {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := &Health{accounts: make(map[string]*supervisor, len(f.running)), registry: f.registry, revision: f.revision}
	for name, r := range f.running {
		h.accounts[name] = r.supervisor
		r.mu.Lock()
		state, stale := r.state, r.stale()
		r.mu.Unlock()
		if state == Starting {
			h.starting = append(h.starting, r.supervisor)
		}
		if stale || state == Starting {
			h.Stale = append(h.Stale, name)
		}
	}
	slices.Sort(h.Stale)
	f.health.Store(h)
	close(f.pictured)
	f.pictured = make(chan struct{})
	if len(h.starting) == 0 {
		f.once.Do(func() { close(f.settled) })
	}
}

// Settled is closed once every account has synced or failed for the first
// time.
func (f *Fleet) Settled() <-chan struct{} { return f.settled }

// Await waits for accounts whose first lists are running, all of them when no
// name is given, until they are through or the context is over, and returns
// the health then. Without such accounts it costs two reads of memory.
func (f *Fleet) Await(ctx context.Context, names ...string) *Health {
	h := f.health.Load()
	for !h.Current() && !h.has(names) {
		f.mu.Lock()
		pictured := f.pictured
		f.mu.Unlock()
		if h = f.health.Load(); h.Current() {
			break
		}
		select {
		case <-pictured:
		case <-ctx.Done():
			return f.health.Load().withUnwatched()
		}
		h = f.health.Load()
	}
	if len(h.starting) == 0 {
		return h
	}
	for _, s := range h.starting {
		if len(names) == 0 || slices.Contains(names, s.account.Name) {
			s.hurry()
		}
	}
	for _, s := range h.starting {
		if len(names) > 0 && !slices.Contains(names, s.account.Name) {
			continue
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
		}
	}
	return f.health.Load()
}

// IsStale says whether an account's objects may be behind or missing.
func (h *Health) IsStale(name string) bool {
	_, found := slices.BinarySearch(h.Stale, name)
	return found || h.accounts[name] == nil
}

// Current says whether the health is of the accounts that there are now. While
// one is changed, what was read of it may be nothing.
func (h *Health) Current() bool { return h.registry == nil || h.revision == h.registry.Revision() }

// withUnwatched is the health with the accounts that are not watched yet as they
// are known.
func (h *Health) withUnwatched() *Health {
	out := *h
	out.Stale = slices.Clone(h.Stale)
	all, _ := h.registry.List()
	for _, a := range all {
		if !h.has([]string{a.Name}) {
			out.Stale = append(out.Stale, a.Name)
		}
	}
	slices.Sort(out.Stale)
	out.Stale = slices.Compact(out.Stale)
	return &out
}

// has says whether the accounts, at least one, are watched as they are known.
func (h *Health) has(names []string) bool {
	for _, name := range names {
		known, there := h.registry.Get(name)
		s := h.accounts[name]
		if there != (s != nil) || there && known.WatchFingerprint() != s.account.WatchFingerprint() {
			return false
		}
	}
	return len(names) > 0
}

// NeverSynced says whether the account is known and nothing can be said about
// its content yet.
func (h *Health) NeverSynced(name string) bool {
	s := h.accounts[name]
	if s == nil {
		return h.registry != nil && known(h.registry, name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state != Synced
}

func known(registry *account.Registry, name string) bool {
	_, ok := registry.Get(name)
	return ok
}

// Client is the one of an account, for reads and writes beside the watches. It
// is closed with the account.
func (f *Fleet) Client(name string) (*cluster.Client, error) {
	f.mu.Lock()
	r := f.running[name]
	f.mu.Unlock()
	if r == nil {
		return nil, fmt.Errorf("account %s is not there", name)
	}
	return r.client, r.clientErr
}

// Status describes every account, sorted by name.
func (f *Fleet) Status() []Status {
	f.mu.Lock()
	var all []*supervisor
	for _, r := range f.running {
		all = append(all, r.supervisor)
	}
	f.mu.Unlock()
	out := make([]Status, 0, len(all))
	for _, s := range all {
		out = append(out, s.status())
	}
	slices.SortFunc(out, func(a, b Status) int { return cmp.Compare(a.Account, b.Account) })
	return out
}

// Relist makes every watcher of an account list anew.
func (f *Fleet) Relist(name string) {
	f.mu.Lock()
	r := f.running[name]
	f.mu.Unlock()
	if r != nil {
		r.relist()
	}
}

// Refresh lists an account anew and returns when every kind has been, or with
// the context's error.
func (f *Fleet) Refresh(ctx context.Context, name string) error {
	f.mu.Lock()
	r := f.running[name]
	f.mu.Unlock()
	if r == nil {
		return nil
	}
	before := map[*watcher]uint64{}
	for _, w := range r.snapshot() {
		if !w.internal {
			before[w] = w.lists.Load()
		}
	}
	r.relist()
	const every = 10 * time.Millisecond
	for {
		waiting := false
		for w, lists := range before {
			select {
			case <-w.done: // forbidden, or not served any more
			default:
				waiting = waiting || w.lists.Load() == lists
			}
		}
		if !waiting {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(every):
		}
	}
}
