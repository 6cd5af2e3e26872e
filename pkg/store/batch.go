package store

import (
	"context"
	"errors"
	"sync"
)

// batches brings what is written at the same time to the database together: a
// transaction costs a write to the disk, however much it holds.
type batches struct {
	// writers is how many transactions may be under way at once.
	writers int

	mu      sync.Mutex
	running int
	// first are those for whom callers wait, and who go before all others.
	first, waiting []*batched
}

// batched is one caller's part of a transaction.
type batched struct {
	ctx  context.Context
	do   func(ctx context.Context, q queryer) error
	err  error
	done chan struct{}
}

// The bounds of a transaction: those who are first may wait for one of others.
const (
	batchFirst = 64
	batchMost  = 16
)

// together runs f in a transaction that it may share with others. When f returns
// ErrFenced or ErrExists it must have changed nothing; every other error of one
// has each of them run alone. Those who are first wait for no other's work
// but what has begun.
func (s *Store) together(ctx context.Context, first bool, f func(ctx context.Context, q queryer) error) error {
	one := &batched{ctx: ctx, do: f, done: make(chan struct{})}
	b := &s.batches
	b.mu.Lock()
	if first {
		b.first = append(b.first, one)
	} else {
		b.waiting = append(b.waiting, one)
	}
	if b.running < b.writers {
		b.running++
		go s.writeBatches() //nolint:contextcheck // it writes for all who wait, each of whom has a deadline of its own
	}
	b.mu.Unlock()
	select {
	case <-one.done:
		return one.err
	case <-ctx.Done():
		return classify(ctx.Err())
	}
}

func (s *Store) writeBatches() {
	b := &s.batches
	for {
		b.mu.Lock()
		batch := b.next()
		if len(batch) == 0 {
			b.running--
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
		s.writeBatch(batch)
	}
}

// next takes those of the next transaction.
func (b *batches) next() []*batched {
	from, most := &b.first, batchFirst
	if len(b.first) == 0 {
		from, most = &b.waiting, batchMost
	}
	n := min(len(*from), most)
	batch := (*from)[:n:n]
	*from = (*from)[n:]
	return batch
}

func (s *Store) writeBatch(batch []*batched) {
	if len(batch) > 1 && s.writeTogether(batch) == nil {
		return
	}
	// Alone, or together with one that spoils it for all, each has a
	// transaction to itself.
	for _, one := range batch {
		one.err = one.ctx.Err()
		if one.err == nil {
			one.err = s.inTx(one.ctx, one.do)
		}
		close(one.done)
	}
}

func (s *Store) writeTogether(batch []*batched) error {
	err := s.inTx(context.Background(), func(ctx context.Context, q queryer) error {
		for _, one := range batch {
			if one.err = one.ctx.Err(); one.err != nil {
				continue
			}
			if err := s.writeOne(ctx, q, one); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, one := range batch {
		close(one.done)
	}
	return nil
}

// writeOne returns an error only for what ends the whole transaction: whatever is
// not refused by its first statement that changes anything.
func (s *Store) writeOne(ctx context.Context, q queryer, one *batched) error {
	one.err = classify(one.do(ctx, q))
	switch {
	case one.err == nil, errors.Is(one.err, ErrFenced), errors.Is(one.err, ErrExists):
		return nil
	}
	return one.err
}
