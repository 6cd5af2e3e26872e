// Package ledger keeps what readers are shown from being older than what this
// installation has written, on whichever replica (design, invariant 2). Every
// write is a row in SQL. A replica follows the rows, and reads what its own
// watch has not brought yet.
package ledger

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/operation"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// Store is where the rows are; store.Store is one.
type Store interface {
	LastWrite(ctx context.Context) (int64, error)
	WritesAfter(ctx context.Context, seq int64, also []int64, most int) ([]store.Write, error)
	AccountWritesAfter(ctx context.Context, account string, seq int64, also []int64) ([]store.Write, error)
}

// Index is what readers are shown; index.Index is one.
type Index interface {
	Written(accountName, kindText string, object *unstructured.Unstructured)
	Gone(accountName, kindText, namespace, name, uid string)
	Confirms(w index.Write) bool
	UID(accountName, kindText, namespace, name string) string
}

// Ledger follows the rows.
type Ledger struct {
	db    Store
	index Index
	live  *Live
	every time.Duration
	log   *slog.Logger

	mu  sync.Mutex
	pos position
	// pending are the rows that readers are not shown yet, by account, and
	// busy the accounts whose pending rows are being read.
	pending map[string]map[int64]held
	busy    map[string]bool
	// looked are rows of the older rewrite that were read, and when.
	looked map[string]time.Time
}

// held is a row that readers are not shown yet, and since when it is known: by
// our own clock, since the others' may be wrong.
type held struct {
	store.Write
	since time.Time
}

// New makes a ledger that looks for rows of other replicas that often; Run
// starts it.
func New(db Store, index Index, live *Live, every time.Duration, log *slog.Logger) *Ledger {
	return &Ledger{
		db: db, index: index, live: live, every: every, log: log,
		pending: map[string]map[int64]held{}, busy: map[string]bool{}, looked: map[string]time.Time{},
	}
}

// Written brings a write of this replica to its readers.
func (l *Ledger) Written(_ context.Context, w store.Write, o *operation.Outcome) {
	if w.Deleted {
		l.index.Gone(w.Account, w.Kind, w.Namespace, w.Name, w.UID)
		return
	}
	if o.Before != nil && o.Before.GetUID() != o.Object.GetUID() {
		l.index.Gone(w.Account, w.Kind, w.Namespace, w.Name, string(o.Before.GetUID()))
	}
	l.index.Written(w.Account, w.Kind, o.Object)
}

// page is how many rows one look takes.
const page = 500

// Run follows the rows until the context is over.
func (l *Ledger) Run(ctx context.Context) error {
	tick := time.NewTicker(l.every)
	defer tick.Stop()
	var reading sync.WaitGroup
	defer reading.Wait()
	failing := false
	for {
		err := l.follow(ctx)
		if (err != nil) != failing && ctx.Err() == nil {
			failing = err != nil
			if failing {
				l.log.Warn("the record of writes cannot be followed; list views follow the watches alone", "error", err)
			} else {
				l.log.Info("the record of writes is followed again")
			}
		}
		for _, account := range l.waiting() {
			reading.Go(func() { l.readPending(ctx, account) })
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Begin finds the end of the ledger, once: what is written from now on is
// followed. It comes before the first lists, which are newer than all else.
func (l *Ledger) Begin(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pos.begun {
		return nil
	}
	last, err := l.db.LastWrite(ctx)
	if err != nil {
		return err
	}
	l.pos.start(last, time.Now())
	return nil
}

// follow takes note of what is new.
func (l *Ledger) follow(ctx context.Context) error {
	if err := l.Begin(ctx); err != nil {
		return err
	}
	for {
		l.mu.Lock()
		high, missing := l.pos.high, l.pos.missing()
		l.mu.Unlock()
		rows, err := l.db.WritesAfter(ctx, high, missing, page)
		if err != nil {
			return err
		}
		l.mu.Lock()
		for _, w := range rows {
			if !l.confirms(w) {
				l.hold(w)
			}
			l.pos.pass(w.Seq, time.Now())
		}
		l.pos.forget(time.Now())
		for id, at := range l.looked {
			if time.Since(at) > lookedFor {
				delete(l.looked, id)
			}
		}
		l.mu.Unlock()
		if len(rows) < page {
			return nil
		}
	}
}

func (l *Ledger) hold(w store.Write) {
	if l.pending[w.Account] == nil {
		l.pending[w.Account] = map[int64]held{}
	}
	l.pending[w.Account][w.Seq] = held{w, time.Now()}
}

// waiting are the accounts with pending rows that nobody reads. An account
// whose cluster is slow holds up no other.
func (l *Ledger) waiting() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for account := range l.pending {
		if !l.busy[account] {
			l.busy[account] = true
			out = append(out, account)
		}
	}
	return out
}

// readPending brings an account's pending rows to the readers. One that cannot
// be read stays, and keeps no other from it.
func (l *Ledger) readPending(ctx context.Context, account string) {
	for _, w := range newest(l.pendingOf(account)) {
		if err := l.Settle(ctx, w); err != nil && ctx.Err() == nil {
			l.log.Debug("a write of another replica cannot be read yet", "account", account, "kind", w.Kind, "namespace", w.Namespace, "name", w.Name, "error", err)
			if time.Since(l.heldSince(w)) > giveUp {
				l.shown(w)
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.busy, account)
}

func (l *Ledger) pendingOf(account string) []store.Write {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]store.Write, 0, len(l.pending[account]))
	for _, h := range l.pending[account] {
		out = append(out, h.Write)
	}
	return out
}

// Behind lists what was written to an account before the call and is not shown
// to this replica's readers, as far as it matters to the caller: the newest
// write of each object. It costs one look at the ledger.
func (l *Ledger) Behind(ctx context.Context, account string, matters func(store.Write) bool) ([]store.Write, error) {
	if err := l.Begin(ctx); err != nil {
		return nil, err
	}
	l.mu.Lock()
	high, missing := l.pos.high, l.pos.missing()
	l.mu.Unlock()
	rows, err := l.db.AccountWritesAfter(ctx, account, high, missing)
	if err != nil {
		return nil, err
	}
	rows = append(rows, l.pendingOf(account)...)
	rows = slices.DeleteFunc(rows, func(w store.Write) bool { return !matters(w) })
	return slices.DeleteFunc(newest(rows), l.settled), nil
}

// settled says whether readers are shown a write.
func (l *Ledger) settled(w store.Write) bool {
	if w.OlderID == "" {
		return l.confirms(w)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, looked := l.looked[w.OlderID]
	return looked
}

func (l *Ledger) confirms(w store.Write) bool {
	return l.index.Confirms(index.Write{Account: w.Account, Kind: w.Kind, Namespace: w.Namespace, Name: w.Name, UID: w.UID, Version: w.ResourceVersion})
}

// newest keeps the newest row of each object, and every row of the older
// rewrite, which has no number.
func newest(rows []store.Write) []store.Write {
	newestFirst(rows)
	type object struct{ account, kind, namespace, name string }
	seen := map[object]bool{}
	return slices.DeleteFunc(rows, func(w store.Write) bool {
		if w.OlderID != "" {
			return false
		}
		of := object{w.Account, w.Kind, w.Namespace, w.Name}
		older := seen[of]
		seen[of] = true
		return older
	})
}

// Settle brings what a row tells of to the readers.
func (l *Ledger) Settle(ctx context.Context, w store.Write) error {
	if !l.settled(w) {
		if err := l.read(ctx, w); err != nil {
			return err
		}
	}
	l.shown(w)
	return nil
}

// shown takes note that readers are shown a row. What was read is newer than all
// rows of the object before it.
func (l *Ledger) shown(w store.Write) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.OlderID != "" {
		l.looked[w.OlderID] = time.Now()
		return
	}
	held := l.pending[w.Account]
	for seq, other := range held {
		if seq <= w.Seq && other.Kind == w.Kind && other.Namespace == w.Namespace && other.Name == w.Name {
			delete(held, seq)
		}
	}
	if len(held) == 0 {
		delete(l.pending, w.Account)
	}
}

func (l *Ledger) heldSince(w store.Write) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if held, ok := l.pending[w.Account][w.Seq]; ok {
		return held.since
	}
	return time.Now()
}

// giveUp is when a write that cannot be read is left to the watch.
const giveUp = 10 * time.Minute

// lookedFor is how long a row of the older rewrite is known: longer than the
// database shows it.
const lookedFor = 2 * time.Minute

// read brings the live state of one object to the readers.
func (l *Ledger) read(ctx context.Context, w store.Write) error {
	if w.Deleted && w.OlderID == "" {
		l.index.Gone(w.Account, w.Kind, w.Namespace, w.Name, w.UID)
		return nil
	}
	live, err := l.live.Get(ctx, w.Account, w.Kind, w.Namespace, w.Name)
	switch {
	case errors.Is(err, ErrNoAccount), cluster.Is(err, cluster.NoKind):
		return nil // it is gone, and with it what it showed
	case cluster.Is(err, cluster.NotFound):
		l.index.Gone(w.Account, w.Kind, w.Namespace, w.Name, w.UID)
		return nil
	case err != nil:
		return err
	}
	if string(live.GetUID()) != w.UID {
		l.index.Gone(w.Account, w.Kind, w.Namespace, w.Name, w.UID)
	}
	return nil
}
