package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
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
		where = "(" + where + " OR seq IN (?" + strings.Repeat(", ?", len(also)-1) + "))"
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
