package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// States of a task.
const (
	TaskRunning   = "running"
	TaskCompleted = "completed"
	TaskFailed    = "failed"
	TaskRetryable = "retryable" // failed, and may be gone on with
)

// ErrFenced is returned to one that writes to a task it no longer owns.
var ErrFenced = errors.New("another replica has taken the task over")

// Sealable is a text that may hold secrets: it is sealed with the key of the
// id, or plain when that is empty.
type Sealable struct{ KeyID, Text string }

// Task is the record of a request (operations.md 2, 7.3).
type Task struct {
	ID, RequestID string
	State         string
	Owner         string
	Fence         int64
	// Expires is when its owner's lease ends, in milliseconds by the database's
	// clock.
	Expires int64
	// Stalled is how many owners in a row were lost without getting on.
	Stalled int
	Started time.Time
	Ended   time.Time // zero while it runs
	// Context is JSON of who asked, for the log and for those that go on.
	Context string
	// Request are the operations; it is read only for those who go on with the
	// task. Kept says whether there is one: it is dropped when the task ends.
	Request Sealable
	Kept    bool
	// Result is JSON of the result objects, when the task has ended.
	Result  string
	History []HistoryLine
}

// HistoryLine is one entry of a task's history.
type HistoryLine struct{ Phase, Status string }

// StepPlan is the number of the row that holds an operation's plan.
const StepPlan = -1

// TaskStep is a plan, or what is kept of a step that is through.
type TaskStep struct {
	Operation, Step int
	Body            Sealable
}

// CreateTask records a task. When there is one of the same request already,
// that one is returned with created false.
func (s *Store) CreateTask(ctx context.Context, t Task, life time.Duration) (recorded Task, created bool, err error) {
	err = s.creations.write(ctx, s, creation{t, life.Milliseconds()})
	if err == nil {
		t.State, t.Fence, t.Started = TaskRunning, 1, time.Now()
		return t, true, nil
	}
	if !errors.Is(err, ErrExists) {
		return t, false, err
	}
	known, err := s.TaskOfRequest(ctx, t.RequestID)
	return known, false, err
}

func addHistory(ctx context.Context, q queryer, id string, lines []HistoryLine) error {
	if len(lines) == 0 {
		return nil
	}
	var next sql.NullInt64
	// Not within the insertion: that would lock the end of the table.
	if err := each(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&next) }, "SELECT MAX(position) + 1 FROM clouddriver_task_history WHERE task_id = ?", id); err != nil {
		return err
	}
	return insertHistory(ctx, q, id, next.Int64, lines)
}

func insertHistory(ctx context.Context, q queryer, id string, next int64, lines []HistoryLine) error {
	return insertLines(ctx, q, lineArgs(id, next, lines))
}

// TaskOfRequest finds a task by the id of its request; ErrNotFound.
func (s *Store) TaskOfRequest(ctx context.Context, requestID string) (Task, error) {
	return oneOf(s.tasks(ctx, false, "request_id = ?", requestID))
}

// Task finds a task with its history; ErrNotFound.
func (s *Store) Task(ctx context.Context, id string) (Task, error) {
	t, err := oneOf(s.tasks(ctx, false, "id = ?", id))
	if err != nil {
		return t, err
	}
	t.History, err = s.history(ctx, id)
	return t, err
}

// TaskWithRequest finds a task with what is left to do, without its history;
// ErrNotFound.
func (s *Store) TaskWithRequest(ctx context.Context, id string) (Task, error) {
	return oneOf(s.tasks(ctx, true, "id = ?", id))
}

// RunningTasks lists those of all replicas, oldest first, with histories.
func (s *Store) RunningTasks(ctx context.Context) ([]Task, error) {
	found, err := s.tasks(ctx, false, "state = ? ORDER BY started_at, id LIMIT 1000", TaskRunning)
	if err != nil {
		return nil, err
	}
	for i := range found {
		if found[i].History, err = s.history(ctx, found[i].ID); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func (s *Store) tasks(ctx context.Context, withRequest bool, where string, args ...any) ([]Task, error) {
	var out []Task
	requestColumn := "NULL" // bodies of several megabytes are normal
	if withRequest {
		requestColumn = "request"
	}
	err := s.read(ctx, func(ctx context.Context, q queryer) error {
		return each(ctx, q, func(rows *sql.Rows) error {
			var t Task
			var started, ended int64
			var request, result sql.NullString
			if err := rows.Scan(&t.ID, &t.RequestID, &t.State, &t.Owner, &t.Fence, &t.Expires, &started, &ended, &t.Context, &t.Request.KeyID, &request, &result, &t.Kept); err != nil {
				return err
			}
			t.Started = time.UnixMilli(started)
			if ended > 0 {
				t.Ended = time.UnixMilli(ended)
			}
			t.Request.Text, t.Result = request.String, result.String
			out = append(out, t)
			return nil
		}, "SELECT id, request_id, state, owner, fence, expires_at, started_at, ended_at, context, key_id, "+requestColumn+", result, request IS NOT NULL FROM clouddriver_tasks WHERE "+where, args...)
	})
	return out, err
}

func (s *Store) history(ctx context.Context, id string) ([]HistoryLine, error) {
	var out []HistoryLine
	err := s.read(ctx, func(ctx context.Context, q queryer) (err error) {
		out, err = historyOf(ctx, q, id)
		return err
	})
	return out, err
}

func historyOf(ctx context.Context, q queryer, id string) ([]HistoryLine, error) {
	var out []HistoryLine
	err := each(ctx, q, func(rows *sql.Rows) error {
		var l HistoryLine
		if err := rows.Scan(&l.Phase, &l.Status); err != nil {
			return err
		}
		out = append(out, l)
		return nil
	}, "SELECT phase, status FROM clouddriver_task_history WHERE task_id = ? ORDER BY position", id)
	return out, err
}

// TaskWrites lists what the operations of a name wrote for an account in one
// pipeline execution, oldest first; is tells by a task's context whether it was
// of the execution.
func (s *Store) TaskWrites(ctx context.Context, account, operation string, is func(taskContext string) bool) ([]Write, error) {
	var out []Write
	err := s.read(ctx, func(ctx context.Context, q queryer) error {
		return each(ctx, q, func(rows *sql.Rows) error {
			var w Write
			var said string
			if err := rows.Scan(&w.TaskID, &w.Kind, &w.Namespace, &w.Name, &w.UID, &said); err != nil {
				return err
			}
			if is(said) {
				out = append(out, w)
			}
			return nil
		}, "SELECT w.task_id, w.kind, w.namespace, w.name, w.uid, t.context FROM clouddriver_writes w JOIN clouddriver_tasks t ON t.id = w.task_id WHERE w.account = ? AND w.operation = ? AND w.deleted = 0 ORDER BY w.seq", account, operation)
	})
	return out, err
}

// TaskSteps lists a task's plans and steps.
func (s *Store) TaskSteps(ctx context.Context, id string) ([]TaskStep, error) {
	var out []TaskStep
	err := s.read(ctx, func(ctx context.Context, q queryer) error {
		return each(ctx, q, func(rows *sql.Rows) error {
			var t TaskStep
			if err := rows.Scan(&t.Operation, &t.Step, &t.Body.KeyID, &t.Body.Text); err != nil {
				return err
			}
			out = append(out, t)
			return nil
		}, "SELECT operation, step, key_id, body FROM clouddriver_task_steps WHERE task_id = ? ORDER BY operation, step", id)
	})
	return out, err
}

// RenewTasks keeps an owner's running tasks, each with its fence, for another
// life, and returns those that are still the owner's. One whose lease has
// ended is lost, and stays so.
func (s *Store) RenewTasks(ctx context.Context, owner string, fences map[string]int64, life time.Duration) (held map[string]bool, err error) {
	if len(fences) == 0 {
		// The question whether the database answers is part of the lease.
		return nil, s.read(ctx, func(ctx context.Context, q queryer) error { return exec(ctx, q, "SELECT 1") })
	}
	ids := slices.Sorted(maps.Keys(fences))
	in := list(len(ids))
	err = s.inTx(ctx, func(ctx context.Context, q queryer) error {
		held = map[string]bool{}
		args := []any{TaskRunning, owner}
		for _, id := range ids {
			args = append(args, id)
		}
		now := s.dialect.milliseconds()
		if err := exec(ctx, q, "UPDATE clouddriver_tasks SET expires_at = "+now+" + ? WHERE state = ? AND owner = ? AND expires_at > "+now+" AND id IN "+in, append([]any{life.Milliseconds()}, args...)...); err != nil {
			return err
		}
		return each(ctx, q, func(rows *sql.Rows) error {
			var id string
			var fence int64
			if err := rows.Scan(&id, &fence); err != nil {
				return err
			}
			held[id] = fences[id] == fence
			return nil
		}, "SELECT id, fence FROM clouddriver_tasks WHERE state = ? AND owner = ? AND expires_at > "+now+" AND id IN "+in, args...)
	})
	return held, err
}

// ReleaseTasks gives an owner's running tasks up, for others to take.
func (s *Store) ReleaseTasks(ctx context.Context, owner string) error {
	return s.inTx(ctx, func(ctx context.Context, q queryer) error {
		return exec(ctx, q, "UPDATE clouddriver_tasks SET expires_at = 0 WHERE state = ? AND owner = ?", TaskRunning, owner)
	})
}

// TakeExpired takes over running tasks whose owner has let them expire. Where
// only one process can have the database, whatever another owner left is taken
// at once.
func (s *Store) TakeExpired(ctx context.Context, owner string, life time.Duration, most int) ([]Task, error) {
	where, args := "state = ? AND expires_at < "+s.dialect.milliseconds(), []any{TaskRunning}
	if s.options.MySQL == nil {
		where, args = "state = ? AND (owner <> ? OR expires_at < "+s.dialect.milliseconds()+")", append(args, owner)
	}
	expired, err := s.tasks(ctx, true, where+fmt.Sprintf(" ORDER BY started_at, id LIMIT %d", most), args...)
	if err != nil {
		return nil, err
	}
	var out []Task
	for _, t := range expired {
		err := s.takeOver(ctx, &t, owner, life, TaskRunning)
		if errors.Is(err, ErrFenced) {
			continue // somebody was faster
		}
		if err != nil {
			return out, err
		}
		out = append(out, t)
	}
	return out, nil
}

// RetryTask makes the caller the owner of a task that has failed and may be
// gone on with, with the request as it is in t; ErrFenced if it has changed.
func (s *Store) RetryTask(ctx context.Context, t *Task, owner string, life time.Duration) error {
	return s.takeOver(ctx, t, owner, life, TaskRetryable)
}

// The lines of a history that say that a task has a new owner. Those at its end
// tell how many owners have come to nothing.
const (
	takenOver  = "Taken over by "
	handedOver = "Handed over to "
)

// takeOver makes another the owner of a task that is still as it was read: one
// whose lease was renewed meanwhile stays with its owner.
func (s *Store) takeOver(ctx context.Context, t *Task, owner string, life time.Duration, state string) error {
	stalled := 0
	var history []HistoryLine
	err := s.inTx(ctx, func(ctx context.Context, q queryer) error {
		if err := s.guarded(ctx, q, "UPDATE clouddriver_tasks SET state = ?, owner = ?, fence = fence + 1, ended_at = 0, result = NULL, key_id = ?, request = ?, expires_at = "+s.dialect.milliseconds()+" + ? WHERE id = ? AND fence = ? AND state = ? AND expires_at = ?",
			TaskRunning, owner, t.Request.KeyID, t.Request.Text, life.Milliseconds(), t.ID, t.Fence, state, t.Expires); err != nil {
			return err
		}
		lines, err := historyOf(ctx, q, t.ID)
		if err != nil {
			return err
		}
		line := HistoryLine{"ORCHESTRATION", takenOver + owner + " from " + t.Owner}
		if t.Expires == 0 { // given up by an owner that was asked to stop
			line.Status = handedOver + owner + " from " + t.Owner
		}
		history = slices.Concat(lines, []HistoryLine{line})
		stalled = lostOwners(history)
		return insertHistory(ctx, q, t.ID, int64(len(lines)), []HistoryLine{line})
	})
	if err == nil {
		t.Owner, t.State, t.Stalled, t.History = owner, TaskRunning, stalled, history
		t.Fence++
	}
	return err
}

// lostOwners counts the take-overs since a task last got on.
func lostOwners(lines []HistoryLine) int {
	n := 0
	for _, l := range slices.Backward(lines) {
		switch {
		case strings.HasPrefix(l.Status, takenOver):
			n++
		case !strings.HasPrefix(l.Status, handedOver):
			return n
		}
	}
	return n
}

// guarded runs an update that must find its row.
func (s *Store) guarded(ctx context.Context, q queryer, query string, args ...any) error {
	result, err := q.ExecContext(ctx, query, args...)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, ErrFenced)
	}
	return nil
}

// Record is what a task has got on by.
type Record struct {
	History []HistoryLine
	// Steps are those that are through, or a plan. They are recorded together
	// or not at all.
	Steps     []TaskStep
	Writes    []Write
	Resources []Resource
	// Changes are for people.
	Changes []TaskChange
	// State ends the task unless it is empty; Result is then its result.
	State, Result string
}

// RecordTask writes a record as a whole, if the task is still the owner's, and
// adds its lines to the task's; ErrFenced if not.
func (s *Store) RecordTask(ctx context.Context, t *Task, r Record) error {
	err := s.recordings.write(ctx, s, recording{t, r})
	if errors.Is(err, errRepeated) {
		err = nil
	}
	if err == nil {
		t.History = append(t.History[:len(t.History):len(t.History)], r.History...)
	}
	return err
}

// MarkTask sets a task that has ended, or that nobody keeps any more, to
// failed or retryable; ErrNotFound, or ErrFenced when it is running.
func (s *Store) MarkTask(ctx context.Context, id string, retryable bool) error {
	state := TaskFailed
	if retryable {
		state = TaskRetryable
	}
	return s.inTx(ctx, func(ctx context.Context, q queryer) error {
		found, err := exists(ctx, q, "SELECT 1 FROM clouddriver_tasks WHERE id = ?", id)
		if err != nil {
			return err
		}
		if !found {
			return ErrNotFound
		}
		drop := ""
		if !retryable {
			drop = ", request = NULL, key_id = ''" // it may hold secrets
		}
		if err := s.guarded(ctx, q, "UPDATE clouddriver_tasks SET state = ?, fence = fence + 1"+drop+", ended_at = CASE WHEN ended_at = 0 THEN "+s.dialect.milliseconds()+" ELSE ended_at END WHERE id = ? AND (state = ? OR state = ? OR (state = ? AND expires_at < "+s.dialect.milliseconds()+"))",
			state, id, TaskFailed, TaskRetryable, TaskRunning); err != nil {
			return err
		}
		if retryable {
			return addHistory(ctx, q, id, []HistoryLine{{"ORCHESTRATION", "Marked as failed, to be retried"}})
		}
		if err := exec(ctx, q, "DELETE FROM clouddriver_task_steps WHERE task_id = ?", id); err != nil {
			return err
		}
		return addHistory(ctx, q, id, []HistoryLine{{"ORCHESTRATION", "Marked as failed"}})
	})
}

// CleanTasks removes tasks that ended before one age, and ledger rows older
// than another, in batches; keep is asked between them whether to go on.
func (s *Store) CleanTasks(ctx context.Context, tasks, writes time.Duration, batch int, keep func(context.Context) error) (removed int64, err error) {
	for {
		if err := keep(ctx); err != nil {
			return removed, err
		}
		var ended []any
		if err := s.read(ctx, func(ctx context.Context, q queryer) error {
			ended = nil
			return each(ctx, q, func(rows *sql.Rows) error {
				var id string
				if err := rows.Scan(&id); err != nil {
					return err
				}
				ended = append(ended, id)
				return nil
			}, fmt.Sprintf("SELECT id FROM clouddriver_tasks WHERE ended_at > 0 AND ended_at < %s - ? LIMIT %d", s.dialect.milliseconds(), batch), tasks.Milliseconds())
		}); err != nil {
			return removed, err
		}
		var old int64
		err := s.inTx(ctx, func(ctx context.Context, q queryer) error {
			if len(ended) > 0 {
				in := list(len(ended))
				for _, statement := range []string{
					"DELETE FROM clouddriver_task_history WHERE task_id IN " + in, "DELETE FROM clouddriver_task_steps WHERE task_id IN " + in, "DELETE FROM clouddriver_task_changes WHERE task_id IN " + in,
					"DELETE FROM clouddriver_tasks WHERE id IN " + in,
				} {
					if err := exec(ctx, q, statement, ended...); err != nil {
						return err
					}
				}
			}
			result, err := q.ExecContext(ctx, fmt.Sprintf("DELETE FROM clouddriver_writes WHERE seq IN (SELECT seq FROM (SELECT seq FROM clouddriver_writes WHERE written_at < %s - ? LIMIT %d) AS old)",
				s.dialect.milliseconds(), batch), writes.Milliseconds())
			if err != nil {
				return err
			}
			old, err = result.RowsAffected()
			return err
		})
		if err != nil {
			return removed, err
		}
		removed += int64(len(ended)) + old
		if len(ended) < batch && old < int64(batch) {
			return removed, s.cleanChanges(ctx)
		}
	}
}

// TaskResources lists the rows that the older rewrite, or we, wrote for a
// task.
func (s *Store) TaskResources(ctx context.Context, taskID string) ([]Resource, error) {
	return s.resources(ctx, "task_id = ?", taskID)
}
