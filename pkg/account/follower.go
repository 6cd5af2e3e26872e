package account

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// follower keeps accounts as a database has them, which other replicas change, too.
type follower struct {
	// asked is a text that changes whenever the accounts do, and read takes them
	// over, with the lock held. due, which may be nil, says that they are to be read
	// although nothing has changed.
	asked func(context.Context) (string, error)
	read  func(context.Context) error
	due   func() bool
	poll  time.Duration
	log   *slog.Logger

	mu      sync.Mutex // one look at a time
	version string     // as they were read last, "" before
}

// Load reads the database and fills the registry.
func (f *follower) Load(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	// The version is asked first: a change in between is seen as one more.
	version, err := f.asked(ctx)
	if err != nil {
		return err
	}
	return f.take(ctx, version)
}

func (f *follower) take(ctx context.Context, version string) error {
	if err := f.read(ctx); err != nil {
		return err
	}
	f.version = version
	return nil
}

// Run follows the database until the context is over. While it is away, the
// accounts stay as they were.
func (f *follower) Run(ctx context.Context) error {
	tick := time.NewTicker(f.poll)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := f.follow(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil && !failing:
			f.log.Error("accounts stay as they were: the database cannot be read", "error", err)
		case err == nil && failing:
			f.log.Info("the database can be read again")
		}
		failing = err != nil
	}
}

func (f *follower) follow(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	version, err := f.asked(ctx)
	if err != nil || version == f.version && (f.due == nil || !f.due()) {
		return err
	}
	return f.take(ctx, version)
}

// loadWithin is the deadline of reading all after a change.
const loadWithin = 30 * time.Second

// written takes our own change over at once; if that fails, the next poll does it.
// Who has made it may go: what is read then is everybody's.
func (f *follower) written(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadWithin)
	defer cancel()
	if err := f.Load(ctx); err != nil {
		f.log.Warn("a written account is seen with the next poll", "error", err)
	}
}
