package task

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/google/uuid"

	"github.com/datapunchorg/go-clouddriver/pkg/operation"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// Submit records a request and starts it. Requests of the same id are one
// task, whoever gets them.
func (r *Runner) Submit(ctx context.Context, c Context, requests []operation.Request) (id string, err error) {
	if c.ClientRequestID == "" {
		c.ClientRequestID = uuid.NewString()
	} else if known, err := r.db.TaskOfRequest(ctx, c.ClientRequestID); err == nil {
		return r.repeat(ctx, c, known, requests)
	} else if !errors.Is(err, store.ErrNotFound) {
		return "", err
	}
	r.mu.Lock()
	full, draining := len(r.running) >= r.options.MaxWaiting, r.draining
	r.mu.Unlock()
	switch {
	case draining:
		return "", ErrDraining
	case full:
		return "", ErrQueueFull
	}
	t := store.Task{ID: newID(), RequestID: c.ClientRequestID, Owner: r.owner, History: []store.HistoryLine{line(PhaseOrchestration, "Task accepted")}}
	c.Trace = traceOf(ctx)
	said, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	t.Context = string(said)
	if t.Request, err = r.seal(t.ID, requests); err != nil {
		return "", err
	}
	r.mu.Lock()
	crowded := r.full(len(t.Request.Text))
	r.mu.Unlock()
	if crowded {
		return "", ErrQueueFull
	}
	recorded, created, err := r.db.CreateTask(ctx, t, r.options.Lease)
	if err != nil {
		return "", err
	}
	if !created {
		return r.repeat(ctx, c, recorded, requests)
	}
	r.start(recorded)
	return recorded.ID, nil
}

// repeat answers a request whose task is known: only one that has failed and
// may be retried runs again, with the operations of this request.
func (r *Runner) repeat(ctx context.Context, c Context, t store.Task, requests []operation.Request) (string, error) {
	if t.State == store.TaskRetryable {
		// Who may look at a task and go on with it goes by its accounts.
		_, before := Asked(t)
		for _, name := range c.Accounts {
			if !slices.Contains(before, name) && len(before) > 0 {
				return "", ErrOtherAccounts
			}
		}
		var err error
		if t.Request, err = r.seal(t.ID, requests); err != nil {
			return "", err
		}
		if err := r.retry(ctx, t); err != nil && !errors.Is(err, ErrNotRetryable) {
			return "", err
		}
	}
	return t.ID, nil
}

// Resume goes on with a task that has failed and may be retried.
func (r *Runner) Resume(ctx context.Context, id string) error {
	t, err := r.db.TaskWithRequest(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	return r.retry(ctx, t)
}

func (r *Runner) retry(ctx context.Context, t store.Task) error {
	if t.State != store.TaskRetryable || t.Request.Text == "" {
		return ErrNotRetryable
	}
	err := r.db.RetryTask(ctx, &t, r.owner, r.options.Lease)
	if errors.Is(err, store.ErrFenced) {
		return ErrNotRetryable
	}
	if err != nil {
		return err
	}
	r.start(t)
	return nil
}

// Mark sets a task that nobody runs to failed, retryable or not.
func (r *Runner) Mark(ctx context.Context, id string, retryable bool) error {
	err := r.db.MarkTask(ctx, id, retryable)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return ErrNotFound
	case errors.Is(err, store.ErrFenced):
		return ErrRunning
	}
	return err
}
