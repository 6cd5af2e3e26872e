package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// TaskChange is what a step of a task did to an object.
type TaskChange struct {
	Operation, Step                int
	Account, Kind, Namespace, Name string
	// Action is create, update, unchanged, delete or absent.
	Action string
	// Diff is JSON of the fields that changed.
	Diff string
}

const changeColumns = 9

// changeArgs are rows of what a task has done.
func changeArgs(taskID string, changes []TaskChange) []any {
	var out []any
	for _, c := range changes {
		out = append(out, taskID, c.Operation, c.Step, c.Account, c.Kind, c.Namespace, c.Name, c.Action, c.Diff)
	}
	return out
}

// insertChanges writes what is there already once more: a step that another
// owner has carried out as well is told as it was last.
func (s *Store) insertChanges(ctx context.Context, q queryer, args []any) error {
	return insertMany(ctx, q, "INSERT INTO clouddriver_task_changes (task_id, operation, step, account, kind, namespace, name, action, diff) VALUES ",
		s.dialect.upsert("task_id, operation, step")+"action = "+s.dialect.incoming("action")+", diff = "+s.dialect.incoming("diff"), changeColumns, args)
}

// TaskChanges lists what a task did, in its order.
func (s *Store) TaskChanges(ctx context.Context, id string) ([]TaskChange, error) {
	out := []TaskChange{}
	err := s.read(ctx, func(ctx context.Context, q queryer) error {
		return each(ctx, q, func(rows *sql.Rows) error {
			var c TaskChange
			if err := rows.Scan(&c.Operation, &c.Step, &c.Account, &c.Kind, &c.Namespace, &c.Name, &c.Action, &c.Diff); err != nil {
				return err
			}
			out = append(out, c)
			return nil
		}, "SELECT operation, step, account, kind, namespace, name, action, diff FROM clouddriver_task_changes WHERE task_id = ? ORDER BY operation, step", id)
	})
	return out, err
}

// cleanChanges removes those of tasks that are gone: replicas of an older release
// leave them.
func (s *Store) cleanChanges(ctx context.Context) error {
	return s.inTx(ctx, func(ctx context.Context, q queryer) error {
		return exec(ctx, q, "DELETE FROM clouddriver_task_changes WHERE NOT EXISTS (SELECT 1 FROM clouddriver_tasks t WHERE t.id = task_id)")
	})
}

// Place is where a list of ended tasks goes on: before the task of that id, which
// ended then. The zero value is the begin.
type Place struct {
	// Ended is in milliseconds since 1970.
	Ended int64
	ID    string
}

// EndedTasks lists those that ended before a place, the latest first, without
// their histories and results.
func (s *Store) EndedTasks(ctx context.Context, before Place, most int) ([]Task, error) {
	where, args := "ended_at > 0", []any{}
	if before != (Place{}) {
		where, args = where+" AND (ended_at < ? OR ended_at = ? AND id < ?)", append(args, before.Ended, before.Ended, before.ID)
	}
	var out []Task
	err := s.read(ctx, func(ctx context.Context, q queryer) error {
		return each(ctx, q, func(rows *sql.Rows) error {
			var t Task
			var started, ended int64
			if err := rows.Scan(&t.ID, &t.State, &t.Owner, &started, &ended, &t.Context); err != nil {
				return err
			}
			t.Started, t.Ended = time.UnixMilli(started), time.UnixMilli(ended)
			out = append(out, t)
			return nil
		}, "SELECT id, state, owner, started_at, ended_at, context FROM clouddriver_tasks WHERE "+where+fmt.Sprintf(" ORDER BY ended_at DESC, id DESC LIMIT %d", most), args...)
	})
	return out, err
}
