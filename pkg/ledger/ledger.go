// Package ledger keeps what readers are shown from being older than what this
// installation has written, on whichever replica (design, invariant 2). Every
// write is a row in SQL. A replica follows the rows, and reads what its own
// watch has not brought yet.
package ledger

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
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
	Confirms(accountName, kindText, namespace, name, uid, version string) bool
	UID(accountName, kindText, namespace, name string) string
}

// Clusters gives the client of an account.
type Clusters interface {
	Client(accountName string) (operation.Writer, error)
}

// Ledger follows the rows.
type Ledger struct {
	db       Store
	index    Index
	clusters Clusters
	every    time.Duration
	log      *slog.Logger

	mu  sync.Mutex
	pos position
	// pending are the rows that readers are not shown yet, by account, and
	// busy the accounts whose pending rows are being read.
	pending map[string]map[int64]store.Write
	busy    map[string]bool
	// looked are rows of the older rewrite that were read, and when.
	looked map[string]time.Time
}

// New makes a ledger that looks for rows of other replicas that often; Run
// starts it.
func New(db Store, index Index, clusters Clusters, every time.Duration, log *slog.Logger) *Ledger {
	return &Ledger{
		db: db, index: index, clusters: clusters, every: every, log: log,
		pending: map[string]map[int64]store.Write{}, busy: map[string]bool{}, looked: map[string]time.Time{},
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
			if !l.index.Confirms(w.Account, w.Kind, w.Namespace, w.Name, w.UID, w.ResourceVersion) {
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
		l.pending[w.Account] = map[int64]store.Write{}
	}
	l.pending[w.Account][w.Seq] = w
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

func (l *Ledger) readPending(ctx context.Context, account string) {
	rows := l.pendingOf(account)
	if err := l.settle(ctx, rows); err != nil && ctx.Err() == nil {
		l.log.Debug("writes of other replicas cannot be read yet", "account", account, "error", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.busy, account)
}

func (l *Ledger) pendingOf(account string) []store.Write {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []store.Write
	for _, w := range l.pending[account] {
		out = append(out, w)
	}
	return out
}

// CatchUp returns when this replica's readers are shown everything that was
// written to an account before the call. It costs one look at the ledger.
func (l *Ledger) CatchUp(ctx context.Context, account string) error {
	if err := l.Begin(ctx); err != nil {
		return err
	}
	l.mu.Lock()
	high, missing := l.pos.high, l.pos.missing()
	l.mu.Unlock()
	rows, err := l.db.AccountWritesAfter(ctx, account, high, missing)
	if err != nil {
		return err
	}
	return l.settle(ctx, append(rows, l.pendingOf(account)...))
}

// settle reads what the index is behind of. The newest row of an object comes
// first: what is read for it is newer than the others ask for.
func (l *Ledger) settle(ctx context.Context, rows []store.Write) error {
	newestFirst(rows)
	var errs []error
	for _, w := range rows {
		if w.OlderID != "" {
			if err := l.look(ctx, w); err != nil {
				errs = append(errs, err)
			}
			continue
		}
		if !l.index.Confirms(w.Account, w.Kind, w.Namespace, w.Name, w.UID, w.ResourceVersion) {
			if err := l.read(ctx, w); err != nil {
				errs = append(errs, err)
				if time.Since(w.Written) < giveUp {
					continue
				}
			}
		}
		l.mu.Lock()
		if held := l.pending[w.Account]; held != nil {
			delete(held, w.Seq)
			if len(held) == 0 {
				delete(l.pending, w.Account)
			}
		}
		l.mu.Unlock()
	}
	return errors.Join(errs...)
}

// giveUp is when a write that cannot be read any more is left to the watch.
const giveUp = 10 * time.Minute

// lookedFor is how long a row of the older rewrite is known: longer than the
// database shows it.
const lookedFor = 2 * time.Minute

// look reads the object of a row of the older rewrite, once: the row was
// written after the object.
func (l *Ledger) look(ctx context.Context, w store.Write) error {
	l.mu.Lock()
	_, known := l.looked[w.OlderID]
	l.mu.Unlock()
	if known {
		return nil
	}
	w.UID = l.index.UID(w.Account, w.Kind, w.Namespace, w.Name)
	w.Deleted = false // what is there now counts
	if err := l.read(ctx, w); err != nil {
		return err
	}
	l.mu.Lock()
	l.looked[w.OlderID] = time.Now()
	l.mu.Unlock()
	return nil
}

// read brings the live state of one object to the readers.
func (l *Ledger) read(ctx context.Context, w store.Write) error {
	if w.Deleted {
		l.index.Gone(w.Account, w.Kind, w.Namespace, w.Name, w.UID)
		return nil
	}
	client, err := l.clusters.Client(w.Account)
	if err != nil {
		return nil //nolint:nilerr // the account is gone, and with it what it showed
	}
	catalog, err := client.Catalog(ctx)
	if err != nil {
		return err
	}
	r, ok := catalog.Find(w.Kind)
	if !ok {
		return nil
	}
	live, err := client.Get(ctx, r, w.Namespace, w.Name)
	switch {
	case cluster.Is(err, cluster.NotFound):
		l.index.Gone(w.Account, w.Kind, w.Namespace, w.Name, w.UID)
		return nil
	case err != nil:
		return err
	}
	if string(live.GetUID()) != w.UID {
		l.index.Gone(w.Account, w.Kind, w.Namespace, w.Name, w.UID)
	}
	l.index.Written(w.Account, w.Kind, live)
	return nil
}
