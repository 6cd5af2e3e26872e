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

// EndedTasks lists those that ended before a time in milliseconds since 1970 (0
// for the latest), the latest first, without their histories and results.
func (s *Store) EndedTasks(ctx context.Context, before int64, most int) ([]Task, error) {
	where, args := "ended_at > 0", []any{}
	if before > 0 {
		where, args = where+" AND ended_at < ?", append(args, before)
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
		}, "SELECT id, state, owner, started_at, ended_at, context FROM clouddriver_tasks WHERE "+where+fmt.Sprintf(" ORDER BY ended_at DESC, id LIMIT %d", most), args...)
	})
	return out, err
}
