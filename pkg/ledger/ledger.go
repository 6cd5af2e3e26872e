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
	WritesSince(ctx context.Context, seq int64, most int) ([]store.Write, error)
	WritesOf(ctx context.Context, application, account string, seq int64) ([]store.Write, error)
}

// Index is what readers are shown; index.Index is one.
type Index interface {
	Written(accountName, kindText string, object *unstructured.Unstructured)
	Gone(accountName, kindText, namespace, name, uid string)
	Confirms(accountName, kindText, namespace, name, uid, version string) bool
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

	mu sync.Mutex
	// floor is a number up to which all rows were seen; of those above, seen
	// are shown to readers and pending are not.
	floor   int64
	seen    map[int64]bool
	pending map[int64]bool
	begun   bool
}

// overlap is how many rows are looked at again: numbers are given before rows
// are committed, so a lower one may appear after a higher one.
const overlap = 200

const page = 500

// New makes a ledger that looks for rows of other replicas that often; Run
// starts it.
func New(db Store, index Index, clusters Clusters, every time.Duration, log *slog.Logger) *Ledger {
	return &Ledger{db: db, index: index, clusters: clusters, every: every, log: log, seen: map[int64]bool{}, pending: map[int64]bool{}}
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

// Run follows the rows until the context is over. What was written before is
// not its business: the first lists are newer.
func (l *Ledger) Run(ctx context.Context) error {
	tick := time.NewTicker(l.every)
	defer tick.Stop()
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
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (l *Ledger) begin(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.begun {
		return nil
	}
	last, err := l.db.LastWrite(ctx)
	if err != nil {
		return err
	}
	l.floor, l.begun = last-overlap, true
	return nil
}

func (l *Ledger) follow(ctx context.Context) error {
	if err := l.begin(ctx); err != nil {
		return err
	}
	l.mu.Lock()
	from := l.floor
	l.mu.Unlock()
	for {
		rows, err := l.db.WritesSince(ctx, from, page)
		if err != nil {
			return err
		}
		l.confirm(ctx, rows)
		if len(rows) < page {
			return nil
		}
		from = rows[len(rows)-1].Seq
	}
}

// CatchUp returns when this replica's readers are shown everything that was
// written to an application, in one account or in all (""), before the call.
func (l *Ledger) CatchUp(ctx context.Context, application, account string) error {
	if err := l.begin(ctx); err != nil {
		return err
	}
	l.mu.Lock()
	from := l.floor
	l.mu.Unlock()
	rows, err := l.db.WritesOf(ctx, application, account, from)
	if err != nil {
		return err
	}
	return l.confirm(ctx, rows)
}

// confirm reads what the index is behind of. A row counts as seen only when
// the readers are shown it.
func (l *Ledger) confirm(ctx context.Context, rows []store.Write) error {
	var errs []error
	for _, w := range rows {
		l.mu.Lock()
		seen := l.seen[w.Seq]
		l.mu.Unlock()
		if seen {
			continue
		}
		if !l.index.Confirms(w.Account, w.Kind, w.Namespace, w.Name, w.UID, w.ResourceVersion) {
			if err := l.read(ctx, w); err != nil {
				errs = append(errs, err)
				if time.Since(w.Written) < giveUp {
					l.mu.Lock()
					l.pending[w.Seq] = true
					l.mu.Unlock()
					continue
				}
			}
		}
		l.mu.Lock()
		l.seen[w.Seq] = true
		delete(l.pending, w.Seq)
		l.raise()
		l.mu.Unlock()
	}
	return errors.Join(errs...)
}

// giveUp is when a write that cannot be read any more is left to the watch.
const giveUp = 10 * time.Minute

// raise moves the floor up to what is surely committed and seen.
func (l *Ledger) raise() {
	if len(l.seen) <= 2*overlap {
		return
	}
	highest := int64(0)
	for seq := range l.seen {
		highest = max(highest, seq)
	}
	next := highest - overlap
	for seq := range l.pending {
		next = min(next, seq-1)
	}
	l.floor = max(l.floor, next)
	for seq := range l.seen {
		if seq <= l.floor {
			delete(l.seen, seq)
		}
	}
}

// read brings the live state of one object to the readers.
func (l *Ledger) read(ctx context.Context, w store.Write) error {
	if w.Deleted {
		l.index.Gone(w.Account, w.Kind, w.Namespace, w.Name, w.UID)
		return nil
	}
	client, err := l.clusters.Client(w.Account)
	if err != nil {
		return nil // the account is gone, and with it what it showed
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
