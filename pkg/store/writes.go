package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// Write is a row of the ledger: an object as an operation left it.
type Write struct {
	Seq       int64
	Written   time.Time
	TaskID    string
	Operation string
	Account   string
	// Kind is Spinnaker's text.
	Kind            string
	Namespace, Name string
	// UID is empty in a row of the older rewrite, which records none.
	UID string
	// ResourceVersion is a lower bound of what readers may be shown; empty for
	// a deletion.
	ResourceVersion      string
	Deleted              bool
	Application, Cluster string
	// OlderID is the id of the row in kubernetes_resources, for one that the
	// older rewrite wrote; such a row has neither a number nor a version.
	OlderID string
}

const writeColumns = "seq, written_at, task_id, operation, account, kind, namespace, name, uid, resource_version, deleted, application, cluster"

func scanWrites(ctx context.Context, q queryer, query string, args ...any) ([]Write, error) {
	var out []Write
	err := each(ctx, q, func(rows *sql.Rows) error {
		var w Write
		var at int64
		var group string
		if err := rows.Scan(&w.Seq, &at, &w.TaskID, &w.Operation, &w.Account, &w.Kind, &w.Namespace, &w.Name, &w.UID, &w.ResourceVersion, &w.Deleted, &w.Application, &w.Cluster, &w.OlderID, &group); err != nil {
			return err
		}
		w.Written = time.UnixMilli(at)
		if w.OlderID != "" {
			w.Kind = spinnaker.KindText(group, w.Kind)
		}
		out = append(out, w)
		return nil
	}, query, args...)
	return out, err
}

// after is the condition for rows beyond a number, and for some before it.
func after(seq int64, also []int64) (where string, args []any) {
	where, args = "seq > ?", []any{seq}
	if len(also) > 0 {
		where = "(" + where + " OR seq IN " + list(len(also)) + ")"
		for _, n := range also {
			args = append(args, n)
		}
	}
	return where, args
}

// WritesAfter lists the ledger beyond a sequence number, and the rows of the
// numbers before it that are named, at most as many as said.
func (s *Store) WritesAfter(ctx context.Context, seq int64, also []int64, most int) (out []Write, err error) {
	where, args := after(seq, also)
	err = s.read(ctx, func(ctx context.Context, q queryer) error {
		out, err = scanWrites(ctx, q, "SELECT "+writeColumns+", '', '' FROM clouddriver_writes WHERE "+where+fmt.Sprintf(" ORDER BY seq LIMIT %d", most), args...)
		return err
	})
	return out, err
}

// AccountWritesAfter lists what WritesAfter does of one account, and what
// replicas of the older rewrite have written about it lately, in one
// statement.
func (s *Store) AccountWritesAfter(ctx context.Context, account string, seq int64, also []int64) (out []Write, err error) {
	where, args := after(seq, also)
	query := "SELECT " + writeColumns + ", '', '' FROM clouddriver_writes WHERE " + where + " AND account = ?"
	args = append(args, account)
	if older := s.dialect.olderWrites(); older != "" {
		query += " UNION ALL " + older
		args = append(args, account)
	}
	err = s.read(ctx, func(ctx context.Context, q queryer) error {
		out, err = scanWrites(ctx, q, query+" ORDER BY 1", args...)
		return err
	})
	return out, err
}

// LastWrite is the greatest sequence number of the ledger.
func (s *Store) LastWrite(ctx context.Context) (int64, error) {
	var last sql.NullInt64
	err := s.read(ctx, func(ctx context.Context, q queryer) error {
		return each(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&last) }, "SELECT MAX(seq) FROM clouddriver_writes")
	})
	return last.Int64, err
}

// HistoryEntry is one write, with who asked for it and for what.
type HistoryEntry struct {
	ID        int64  `json:"id"`
	Time      int64  `json:"time"` // milliseconds since 1970
	Account   string `json:"account"`
	Namespace string `json:"namespace"`
	// Name is the full name.
	Name      string `json:"name"`
	Cluster   string `json:"cluster,omitempty"`
	Operation string `json:"operation"`
	Deleted   bool   `json:"deleted"`
	Task      string `json:"task"`
	// Context is what the task's request said of itself: user, execution.
	Context json.RawMessage `json:"context,omitempty"`
}

// ApplicationHistory lists the writes of an application, in any of the
// spellings, the latest first, from before an id on (0 for the latest).
func (s *Store) ApplicationHistory(ctx context.Context, spellings []string, before int64, most int) ([]HistoryEntry, error) {
	out := []HistoryEntry{}
	where, args := "w.application IN "+list(len(spellings)), []any{}
	for _, name := range spellings {
		args = append(args, name)
	}
	if before > 0 {
		where, args = where+" AND w.seq < ?", append(args, before)
	}
	err := s.read(ctx, func(ctx context.Context, q queryer) error {
		return each(ctx, q, func(rows *sql.Rows) error {
			var e HistoryEntry
			var kind, name string
			var said sql.NullString
			if err := rows.Scan(&e.ID, &e.Time, &e.Account, &e.Namespace, &kind, &name, &e.Cluster, &e.Operation, &e.Deleted, &e.Task, &said); err != nil {
				return err
			}
			e.Name = spinnaker.FullName(kind, name)
			if said.Valid {
				e.Context = json.RawMessage(said.String)
			}
			out = append(out, e)
			return nil
		}, "SELECT w.seq, w.written_at, w.account, w.namespace, w.kind, w.name, w.cluster, w.operation, w.deleted, w.task_id, t.context FROM clouddriver_writes w LEFT JOIN clouddriver_tasks t ON t.id = w.task_id WHERE "+
			where+fmt.Sprintf(" ORDER BY w.seq DESC LIMIT %d", most), args...)
	})
	return out, err
}
