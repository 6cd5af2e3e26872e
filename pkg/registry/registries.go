package registry

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// Database is what is needed of a store.Store.
type Database interface {
	Acquire(ctx context.Context, name, owner string, life time.Duration) (*store.Lease, error)
	SaveRegistry(ctx context.Context, by *store.Lease, key store.RegistryKey, parts [][]byte) (int64, error)
	RegistriesAfter(ctx context.Context, version int64, tell func(store.RegistryRow) error) error
	RegistriesVersion(ctx context.Context) (int64, error)
	CleanRegistries(ctx context.Context, gone, unpolled time.Duration) error
}

// State is how an account does.
type State struct {
	// Polled is when its registry was asked last, zero before.
	Polled time.Time `json:"polled"`
	// Problem is why something is as it was known before, "" where all is new.
	Problem string `json:"problem,omitempty"`
}

// Registries know what all registries have.
type Registries struct {
	*Accounts
	db     Database
	owner  string
	log    *slog.Logger
	timing timing

	mu      sync.RWMutex
	held    map[string]*holding // by account
	version int64               // of what was read last
	read    time.Time           // when that was
	polled  map[string]bool     // the accounts that are, nil before that is known
	anew    bool                // all is read, since an account is new
}

// holding is what an account has.
type holding struct {
	state        State
	stateVersion int64
	families     map[Family]*shelf
	tags         int // of all families
}

// shelf are the repositories of a family.
type shelf struct {
	byName map[string]*Repository
	gone   map[string]int64 // the versions of those that are no more
	sorted []*Repository    // nil after a change
}

// New makes them. owner names this process among the replicas.
func New(accounts *Accounts, db Database, owner string, log *slog.Logger) *Registries {
	return &Registries{Accounts: accounts, db: db, owner: owner, log: log, timing: usual, held: map[string]*holding{}}
}

// Repositories are what is known of an account, by name. The slice must not be
// changed.
func (r *Registries) Repositories(account string, family Family) []*Repository {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.held[account]
	if h == nil || h.families[family] == nil {
		return nil
	}
	s := h.families[family]
	if s.sorted == nil {
		for _, repository := range s.byName {
			s.sorted = append(s.sorted, repository)
		}
		slices.SortFunc(s.sorted, func(a, b *Repository) int { return strings.Compare(a.Name, b.Name) })
	}
	return s.sorted
}

// Repository is one of them, nil where it is not known.
func (r *Registries) Repository(account string, family Family, name string) *Repository {
	r.mu.RLock()
	defer r.mu.RUnlock()
	h := r.held[account]
	if h == nil || h.families[family] == nil {
		return nil
	}
	return h.families[family].byName[name]
}

// tags is how many an account has.
func (r *Registries) tags(account string) int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if h := r.held[account]; h != nil {
		return h.tags
	}
	return 0
}

// State is how an account does.
func (r *Registries) State(account string) State {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if h := r.held[account]; h != nil {
		return h.state
	}
	return State{}
}

// Stale says of each account whether its last reading has failed in part.
func (r *Registries) Stale() map[string]bool {
	out := map[string]bool{}
	all, _ := r.List()
	for _, a := range all {
		out[a.Name] = r.State(a.Name).Problem != ""
	}
	return out
}

// holding is what an account has, nil for one that is not there. The lock is held.
func (r *Registries) holding(account string) *holding {
	if r.polled != nil && !r.polled[account] {
		return nil
	}
	h := r.held[account]
	if h == nil {
		h = &holding{families: map[Family]*shelf{}}
		r.held[account] = h
	}
	return h
}

func (h *holding) shelf(family Family) *shelf {
	s := h.families[family]
	if s == nil {
		s = &shelf{byName: map[string]*Repository{}, gone: map[string]int64{}}
		h.families[family] = s
	}
	return s
}

// put shows a repository, or with nil that it is gone, unless something newer is
// shown.
func (r *Registries) put(key store.RegistryKey, version int64, repository *Repository) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.holding(key.Account)
	if h == nil {
		return
	}
	s := h.shelf(Family(key.Family))
	before := s.byName[key.Repository]
	if before != nil && before.version >= version || s.gone[key.Repository] >= version {
		return
	}
	s.sorted = nil
	h.tags += tagsOf(repository) - tagsOf(before)
	if repository == nil {
		delete(s.byName, key.Repository)
		s.gone[key.Repository] = version
		return
	}
	delete(s.gone, key.Repository)
	s.byName[key.Repository] = repository
}

func (r *Registries) putState(account string, version int64, state State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h := r.holding(account); h != nil && h.stateVersion < version {
		h.state, h.stateVersion = state, version
	}
}

// timing is how replicas take turns.
type timing struct {
	// follow is how often the database is asked for what others have found.
	follow time.Duration
	// lease is how long a registry is left alone after the replica that has polled
	// it is gone, and look how often the others look.
	lease, look time.Duration
}

var usual = timing{follow: time.Second, lease: 15 * time.Second, look: 3 * time.Second}

const (
	// goneFor is how long a repository that is gone is told of, and unpolledFor
	// how long an account is kept that nobody polls.
	goneFor     = 24 * time.Hour
	unpolledFor = 7 * 24 * time.Hour
	cleanEvery  = time.Hour
)

// Load reads from the database what is new there.
func (r *Registries) Load(ctx context.Context) error {
	r.mu.Lock()
	polled := r.polled
	version, stale := r.version, r.anew || r.version > 0 && time.Since(r.read) > goneFor/2
	r.mu.Unlock()
	newest, err := r.db.RegistriesVersion(ctx)
	if err != nil {
		return err
	}
	if stale { // what has gone meanwhile may not be told of any more
		whole := New(r.Accounts, r.db, r.owner, r.log)
		whole.polled = polled
		if err := r.db.RegistriesAfter(ctx, 0, whole.take); err != nil {
			return err
		}
		r.mu.Lock()
		for name := range whole.held {
			if r.polled != nil && !r.polled[name] {
				delete(whole.held, name) // it has gone meanwhile
			}
		}
		r.held = whole.held
		if maps.Equal(r.polled, polled) {
			r.anew = false
		}
		r.mu.Unlock()
	} else if newest > version {
		if err := r.db.RegistriesAfter(ctx, version, r.take); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.version, r.read = newest, time.Now()
	return nil
}

// take shows a row. One that cannot be read harms no other.
func (r *Registries) take(row store.RegistryRow) error {
	if row.Family == "" {
		var state State
		if len(row.Parts) == 1 && unpack(row.Parts[0], &state) == nil {
			r.putState(row.Account, row.Version, state)
		}
		return nil
	}
	if len(row.Parts) == 0 {
		r.put(row.RegistryKey, row.Version, nil)
		return nil
	}
	repository, err := decode(row.Repository, row.Version, row.Parts)
	if err != nil {
		r.log.Warn("what is kept of a repository cannot be read; it is read anew from the registry", "account", row.Account, "repository", row.Repository, "error", err)
		return nil
	}
	r.put(row.RegistryKey, row.Version, repository)
	return nil
}

// Run polls the registries and follows what other replicas find, until the context
// is over.
func (r *Registries) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.follow(ctx) })
	group.Go(func() error { return r.pollAll(ctx) })
	return group.Wait()
}

func (r *Registries) follow(ctx context.Context) error {
	tick := time.NewTicker(r.timing.follow)
	defer tick.Stop()
	failing, cleaned := false, time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := r.Load(ctx)
		if err == nil && time.Since(cleaned) > cleanEvery {
			cleaned = time.Now()
			err = r.db.CleanRegistries(ctx, goneFor, unpolledFor)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !failing {
			r.log.Warn("what other replicas find in registries is not seen: the database cannot be read", "error", err)
		}
		failing = err != nil
	}
}

// keep forgets what accounts have that are no more. Of one that is new, the database
// may know what was passed over while it was not there.
func (r *Registries) keep(all []*Account) {
	names := map[string]bool{}
	for _, a := range all {
		names[a.Name] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range r.held {
		if !names[name] {
			delete(r.held, name)
		}
	}
	for name := range names {
		r.anew = r.anew || r.polled != nil && !r.polled[name]
	}
	r.polled = names
}

// pollAll has a loop for each account, and a new one for each that has changed.
func (r *Registries) pollAll(ctx context.Context) error {
	var loops sync.WaitGroup
	defer loops.Wait()
	running := map[*Account]context.CancelFunc{}
	defer func() {
		for _, stop := range running {
			stop()
		}
	}()
	for {
		all, changed := r.List()
		r.keep(all)
		for a, stop := range running {
			if !slices.Contains(all, a) {
				stop()
				delete(running, a)
			}
		}
		for _, a := range all {
			if running[a] != nil {
				continue
			}
			polling, stop := context.WithCancel(ctx)
			running[a] = stop
			loops.Go(func() { (&poller{r: r, a: a, missed: map[store.RegistryKey]int{}}).run(polling) })
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// errOver ends a cycle that would only fail on.
var errOver = errors.New("the cycle is given up")
