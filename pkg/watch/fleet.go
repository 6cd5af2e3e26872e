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
	"github.com/datapunchorg/go-clouddriver/pkg/flight"
)

// Options are the limits of all watchers.
type Options struct {
	Client cluster.Options
	Timing Timing
	// StartConcurrency bounds the lists that are read at once, 0 for some for each
	// processor.
	StartConcurrency int
	// StartWithin is when an account whose first lists are not through counts as
	// failed, and is no longer waited for.
	StartWithin time.Duration
	// ReadsWait is how long after the service's start lists over all accounts
	// wait for first lists.
	ReadsWait time.Duration
	// RefreshTimeout bounds listing an account for somebody who waits.
	RefreshTimeout time.Duration
	Log            *slog.Logger
}

// Sink makes the receiver of an account.
type Sink interface {
	Open(a *account.Account) AccountSink
}

// Fleet watches every account of a registry.
type Fleet struct {
	registry  *account.Registry
	sink      Sink
	options   Options
	shared    shared
	recalls   *recalls
	refreshes flight.Group[refreshing, struct{}]

	mu      sync.Mutex
	running map[string]*running
	// starting are the accounts that have neither synced nor failed.
	starting map[string]struct{}
	// pictured is closed when there is a new health.
	pictured chan struct{}
	health   atomic.Pointer[Health]
	settled  chan struct{}
	once     sync.Once
	// watching is closed once the registry's accounts are taken in.
	watching chan struct{}
	begun    sync.Once
	ending   sync.WaitGroup
	// until is when lists stop to wait for the service's start.
	until chan struct{}
}

// refreshing names a list that callers share.
type refreshing struct {
	s                *supervisor
	cover, namespace string
}

type running struct {
	*supervisor
	fingerprint, identity string
	cancel                context.CancelFunc
	done                  chan struct{}
}

// NewFleet makes a fleet; Run starts it.
func NewFleet(registry *account.Registry, sink Sink, o Options) *Fleet {
	o.Timing.Life = max(o.Timing.Life, o.Client.PingAfter+o.Client.PingTimeout()+time.Second)
	f := &Fleet{
		registry: registry, sink: sink, options: o, shared: newShared(o.StartConcurrency), recalls: newRecalls(), running: map[string]*running{},
		settled: make(chan struct{}), watching: make(chan struct{}), pictured: make(chan struct{}), until: make(chan struct{}),
	}
	f.health.Store(&Health{registry: registry})
	return f
}

// Run follows the registry until the context is over and every watcher has
// ended.
func (f *Fleet) Run(ctx context.Context) error {
	time.AfterFunc(f.options.ReadsWait, func() { close(f.until) })
	for {
		accounts, revision, changed := f.registry.Snapshot()
		f.reconcile(ctx, accounts, revision)
		f.begun.Do(func() {
			close(f.watching)
			f.recalls.seal()
		})
		select {
		case <-changed:
		case <-ctx.Done():
			f.end()
			return nil
		}
	}
}

// end waits until every watcher has ended. What the sink holds is left as it is: it
// ends with the service, and taking it apart takes long.
func (f *Fleet) end() {
	f.mu.Lock()
	for _, r := range f.running {
		r.cancel()
	}
	f.publish(&Health{registry: f.registry, revision: f.registry.Revision()}) // nothing is proved from now on
	f.mu.Unlock()
	f.ending.Wait()
	for _, r := range f.running {
		<-r.done
	}
	f.shared.decoders.end()
}

// reconcile watches what the registry has. An account that goes holds up no
// other: it ends by itself.
func (f *Fleet) reconcile(ctx context.Context, accounts []*account.Account, revision uint64) {
	wanted := map[string]*account.Account{}
	for _, a := range accounts {
		wanted[a.Name] = a
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, r := range f.running {
		a := wanted[name]
		switch {
		case a == nil || a.WatchFingerprint() != r.fingerprint, r.clientErr != nil && a.Identity() != r.identity:
			delete(f.running, name)
			r.cancel()
			f.ending.Go(func() {
				<-r.done
				r.sink.Close()
			})
		case a.Identity() != r.identity:
			r.identity = a.Identity()
			r.rotate(a)
		}
	}
	for name, a := range wanted {
		if f.running[name] != nil {
			continue
		}
		watching, cancel := context.WithCancel(ctx)
		r := &running{
			supervisor:  newSupervisor(a, f.sink.Open(a), f.shared, f.options, f.note),
			fingerprint: a.WatchFingerprint(), identity: a.Identity(), cancel: cancel, done: make(chan struct{}),
		}
		f.running[name] = r
		r.recalls = f.recalls
		f.recalls.begin()
		go func() {
			defer close(r.done)
			r.run(watching)
		}()
	}
	h := &Health{accounts: make(map[string]*supervisor, len(f.running)), registry: f.registry, revision: revision}
	f.starting = map[string]struct{}{}
	for name, r := range f.running {
		h.accounts[name] = r.supervisor
		state, stale := r.condition()
		if stale {
			h.Stale = append(h.Stale, name)
		}
		if state == Starting {
			f.starting[name] = struct{}{}
		}
	}
	h.starting = len(f.starting)
	slices.Sort(h.Stale)
	f.publish(h)
}

func (s *supervisor) condition() (State, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state, s.stale
}

// note takes a change of an account's condition into the picture. Its cost is
// that of the accounts that are out of touch.
func (f *Fleet) note(s *supervisor) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.health.Load()
	name := s.account.Name
	if old.accounts[name] != s {
		return // it goes, or is not in the picture yet
	}
	h := *old
	state, stale := s.condition()
	at, found := slices.BinarySearch(h.Stale, name)
	switch {
	case stale && !found:
		h.Stale = slices.Insert(slices.Clone(h.Stale), at, name)
	case !stale && found:
		h.Stale = slices.Delete(slices.Clone(h.Stale), at, at+1)
	}
	if state != Starting {
		delete(f.starting, name)
	}
	h.starting = len(f.starting)
	f.publish(&h)
}

// publish makes a health the one that is read. The lock is held.
func (f *Fleet) publish(h *Health) {
	f.health.Store(h)
	close(f.pictured)
	f.pictured = make(chan struct{})
	if h.starting == 0 {
		f.once.Do(func() { close(f.settled) })
	}
}

// Watching is closed once the accounts of the start are taken in: they have
// clients from then on.
func (f *Fleet) Watching() <-chan struct{} { return f.watching }

// Settled is closed once every account has synced or failed for the first
// time.
func (f *Fleet) Settled() <-chan struct{} { return f.settled }

// Health is how the accounts are now.
func (f *Fleet) Health() *Health { return f.health.Load() }

// Changed is closed when the health is another one.
func (f *Fleet) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pictured
}

// Await is for answers over all accounts. It waits for first lists only while
// the service starts: later, an account that is not listed yet is marked.
func (f *Fleet) Await(ctx context.Context) *Health {
	select {
	case <-f.settled:
	case <-f.until:
	case <-ctx.Done():
	}
	h := f.health.Load()
	if !h.Current() {
		return h.withUnwatched()
	}
	return h
}

// AwaitAccount is for answers about one account: it waits until its first lists
// are through, or have failed, or the context is over.
func (f *Fleet) AwaitAccount(ctx context.Context, name string) *Health {
	h := f.health.Load()
	for !h.Current() && !h.has(name) {
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
	s := h.accounts[name]
	if s == nil {
		return h
	}
	select {
	case <-s.ready:
		return f.health.Load()
	default:
	}
	f.shared.lists.promote(name)
	for _, w := range s.content() {
		w.reflector.nudge()
	}
	select {
	case <-s.ready:
	case <-ctx.Done():
	}
	return f.health.Load()
}

// Client is the one of an account, for reads and writes beside the watches. It
// is closed with the account.
func (f *Fleet) Client(name string) (*cluster.Client, error) {
	f.mu.Lock()
	r := f.running[name]
	f.mu.Unlock()
	if r == nil {
		return nil, &cluster.Error{Reason: cluster.Unavailable, Err: fmt.Errorf("account %s is not there", name)}
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

// Refresh lists what the cover names of an account as it is now, beside its
// watches, and returns when that is in the index. One runs at a time for each
// account and cover; who comes meanwhile shares the next one, which begins after
// they came. The error has the reason Forbidden when all but some kinds could be
// listed.
func (f *Fleet) Refresh(ctx context.Context, name string, c Cover) error {
	s := f.health.Load().accounts[name]
	if s == nil {
		return &cluster.Error{Reason: cluster.Unavailable, Err: fmt.Errorf("account %s is not watched yet", name)}
	}
	_, err := f.refreshes.Do(ctx, refreshing{s, c.Name, c.Namespace}, func() (struct{}, error) {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.options.RefreshTimeout)
		defer cancel()
		return struct{}{}, s.refresh(bounded, c)
	})
	return err
}
