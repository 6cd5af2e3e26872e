package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
)

// batches brings what is written at the same time to the database together: a
// transaction costs a write to the disk, and a statement a way to the server,
// however much they hold.
type batches[T any] struct {
	// together writes all in one transaction, or returns an error when one of
	// them has to be written alone; alone writes one.
	together func(ctx context.Context, q queryer, batch []*batched[T]) error
	alone    func(ctx context.Context, q queryer, one *batched[T]) error
	most     int

	mu      sync.Mutex
	running bool
	waiting []*batched[T]
}

// batched is one caller's part of a transaction.
type batched[T any] struct {
	ctx  context.Context
	what T
	err  error
	done chan struct{}
}

// write waits until it is written.
func (b *batches[T]) write(ctx context.Context, s *Store, what T) error {
	one := &batched[T]{ctx: ctx, what: what, done: make(chan struct{})}
	b.mu.Lock()
	b.waiting = append(b.waiting, one)
	if !b.running {
		b.running = true
		go b.run(s)
	}
	b.mu.Unlock()
	select {
	case <-one.done:
		return one.err
	case <-ctx.Done():
		return classify(ctx.Err())
	}
}

// run writes until nobody waits. There is one of them: transactions that add to
// the ends of the same tables wait for each other's locks.
func (b *batches[T]) run(s *Store) {
	for {
		b.mu.Lock()
		n := min(len(b.waiting), b.most)
		if n == 0 {
			b.running = false
			b.mu.Unlock()
			return
		}
		batch := b.waiting[:n:n]
		b.waiting = b.waiting[n:]
		b.mu.Unlock()
		b.writeAll(s, batch)
	}
}

func (b *batches[T]) writeAll(s *Store, batch []*batched[T]) {
	var live []*batched[T]
	for _, one := range batch {
		if one.err = one.ctx.Err(); one.err == nil {
			live = append(live, one)
		}
	}
	if len(live) > 1 {
		err := s.inTx(context.Background(), func(ctx context.Context, q queryer) error {
			for _, one := range live {
				one.err = nil
			}
			return b.together(ctx, q, live)
		})
		for _, one := range live {
			if errors.Is(err, ErrUnavailable) { // for one as for the other
				one.err = err
			}
		}
		if err == nil || errors.Is(err, ErrUnavailable) {
			live = nil
		}
	}
	for _, one := range live {
		one.err = s.inTx(one.ctx, func(ctx context.Context, q queryer) error { return b.alone(ctx, q, one) })
	}
	for _, one := range batch {
		close(one.done)
	}
}

// list are the placeholders of an IN, or of a row.
func list(n int) string { return "(?" + strings.Repeat(", ?", n-1) + ")" }

// placeholders are those of several rows.
func placeholders(n, columns int) string { return several(n, list(columns)) }

// several are the rows of an INSERT.
func several(n int, row string) string { return row + strings.Repeat(", "+row, n-1) }

// recording is what RecordTask writes.
type recording struct {
	task   *Task
	record Record
}

// recordTogether writes several records by as many statements as one takes.
func (s *Store) recordTogether(ctx context.Context, q queryer, batch []*batched[recording]) error {
	owned, err := s.ownedOf(ctx, q, batch)
	if err != nil || len(owned) == 0 {
		return err
	}
	if err := s.insertHistories(ctx, q, owned); err != nil {
		return err
	}
	var ended []any
	var steps, writes, changes []any
	var resources []Resource
	for _, one := range owned {
		t, r := one.what.task, one.what.record
		if r.State != "" {
			ended = append(ended, t.ID)
			if err := s.guarded(ctx, q, s.endingTask(), r.State, r.Result, t.ID, t.Owner, t.Fence, TaskRunning); err != nil {
				return err
			}
		}
		for _, st := range r.Steps {
			steps = append(steps, t.ID, st.Operation, st.Step, st.Body.KeyID, st.Body.Text)
		}
		for _, w := range r.Writes {
			writes = append(writes, writeArgs(t.ID, w)...)
		}
		changes = append(changes, changeArgs(t.ID, r.Changes)...)
		resources = append(resources, r.Resources...)
	}
	if len(ended) > 0 {
		if err := exec(ctx, q, "DELETE FROM clouddriver_task_steps WHERE task_id IN "+list(len(ended)), ended...); err != nil {
			return err
		}
	}
	if err := s.insertChanges(ctx, q, changes); err != nil {
		return err
	}
	return s.insertRecords(ctx, q, steps, writes, resources)
}

// ownedOf are those whose tasks are still their owners'; the others are fenced.
func (s *Store) ownedOf(ctx context.Context, q queryer, batch []*batched[recording]) ([]*batched[recording], error) {
	args := []any{TaskRunning}
	for _, one := range batch {
		args = append(args, one.what.task.ID)
	}
	type holder struct {
		owner string
		fence int64
	}
	held := map[string]holder{}
	err := each(ctx, q, func(found *sql.Rows) error {
		var id string
		var h holder
		if err := found.Scan(&id, &h.owner, &h.fence); err != nil {
			return err
		}
		held[id] = h
		return nil
	}, "SELECT id, owner, fence FROM clouddriver_tasks WHERE state = ? AND id IN "+list(len(batch))+s.dialect.forUpdate(), args...)
	var owned []*batched[recording]
	for _, one := range batch {
		if t := one.what.task; held[t.ID] == (holder{t.Owner, t.Fence}) {
			owned = append(owned, one)
		} else {
			one.err = ErrFenced
		}
	}
	return owned, err
}

// insertHistories fails when one of the records is there already.
func (s *Store) insertHistories(ctx context.Context, q queryer, owned []*batched[recording]) error {
	var args []any
	for _, one := range owned {
		t := one.what.task
		args = append(args, lineArgs(t.ID, int64(len(t.History)), one.what.record.History)...)
	}
	return insertLines(ctx, q, args)
}

// lineArgs are rows of a task's history from a position on.
func lineArgs(id string, next int64, lines []HistoryLine) []any {
	var out []any
	for i, l := range lines {
		out = append(out, id, next+int64(i), l.Phase, l.Status)
	}
	return out
}

func insertLines(ctx context.Context, q queryer, args []any) error {
	const columns = 4
	return insertMany(ctx, q, "INSERT INTO clouddriver_task_history (task_id, position, phase, status) VALUES ", "", columns, args)
}

func insertMany(ctx context.Context, q queryer, head, tail string, columns int, args []any) error {
	if len(args) == 0 {
		return nil
	}
	return exec(ctx, q, head+placeholders(len(args)/columns, columns)+tail, args...)
}

// endingTask is the statement that ends a task, if it is still the owner's.
func (s *Store) endingTask() string {
	return "UPDATE clouddriver_tasks SET state = ?, result = ?, ended_at = " + s.dialect.milliseconds() + ", request = NULL, key_id = '' WHERE id = ? AND owner = ? AND fence = ? AND state = ?"
}

// insertRecords inserts what tasks have got on by.
func (s *Store) insertRecords(ctx context.Context, q queryer, steps, writes []any, resources []Resource) error {
	err := insertMany(ctx, q, "INSERT INTO clouddriver_task_steps (task_id, operation, step, key_id, body) VALUES ",
		s.dialect.upsert("task_id, operation, step")+"key_id = "+s.dialect.incoming("key_id")+", body = "+s.dialect.incoming("body"), stepColumns, steps)
	if err != nil {
		return err
	}
	if len(writes) > 0 {
		one := "(" + s.dialect.milliseconds() + strings.Repeat(", ?", writeArguments) + ")"
		if err := exec(ctx, q, "INSERT INTO clouddriver_writes (written_at, task_id, operation, account, kind, namespace, name, uid, resource_version, deleted, application, cluster) VALUES "+
			several(len(writes)/writeArguments, one), writes...); err != nil {
			return err
		}
	}
	if len(resources) > 0 {
		return insertResources(ctx, q, resources)
	}
	return nil
}

const (
	stepColumns    = 5
	writeArguments = 11
)

// writeArgs are a row of the ledger without its time.
func writeArgs(taskID string, w Write) []any {
	return []any{taskID, w.Operation, w.Account, w.Kind, w.Namespace, w.Name, w.UID, w.ResourceVersion, w.Deleted, w.Application, w.Cluster}
}

// creation is what CreateTask writes.
type creation struct {
	task Task
	life int64 // in milliseconds
}

// createTogether fails when one of the requests has a task already.
func (s *Store) createTogether(ctx context.Context, q queryer, batch []*batched[creation]) error {
	var tasks, lines []any
	for _, one := range batch {
		t := one.what.task
		tasks = append(tasks, t.ID, t.RequestID, TaskRunning, t.Owner, one.what.life, t.Context, t.Request.KeyID, t.Request.Text)
		lines = append(lines, lineArgs(t.ID, 0, t.History)...)
	}
	one := "(?, ?, ?, ?, 1, " + s.dialect.milliseconds() + " + ?, " + s.dialect.milliseconds() + ", ?, ?, ?)"
	if err := exec(ctx, q, "INSERT INTO clouddriver_tasks (id, request_id, state, owner, fence, expires_at, started_at, context, key_id, request) VALUES "+
		several(len(batch), one), tasks...); err != nil {
		return err
	}
	return insertLines(ctx, q, lines)
}

// createAlone leaves it to the caller to find the task that there is already.
func (s *Store) createAlone(ctx context.Context, q queryer, one *batched[creation]) error {
	return s.createTogether(ctx, q, []*batched[creation]{one})
}

// recordAlone is recordTogether for one, of which the record may be there
// already: the answer to a commit was lost.
func (s *Store) recordAlone(ctx context.Context, q queryer, one *batched[recording]) error {
	one.err = nil
	if err := s.recordTogether(ctx, q, []*batched[recording]{one}); !errors.Is(classify(err), ErrExists) {
		return errors.Join(err, one.err)
	}
	return errRepeated
}

// errRepeated undoes what is repeated.
var errRepeated = errors.New("recorded already")
