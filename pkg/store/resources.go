package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Resource is one row of kubernetes_resources: an object that an operation
// has touched (accounts.md 4.2).
type Resource struct {
	AccountName  string
	ID           string
	Timestamp    time.Time
	TaskID       string
	TaskType     string
	APIGroup     string
	Name         string
	ArtifactName string
	Namespace    string
	Resource     string
	Version      string
	Kind         string
	SpinnakerApp string
	Cluster      string
}

// resourceBatch is how many rows one statement inserts.
const resourceBatch = 200

// ReplaceResources makes the rows those of the account, instead of the ones
// that are there. Missing ids are made up.
func (s *Store) ReplaceResources(ctx context.Context, account string, rows []Resource) error {
	return s.inTx(ctx, func(ctx context.Context, q queryer) error {
		if err := exec(ctx, q, "DELETE FROM kubernetes_resources WHERE account_name = ?", account); err != nil {
			return err
		}
		for len(rows) > 0 {
			n := min(len(rows), resourceBatch)
			if err := insertResources(ctx, q, rows[:n]); err != nil {
				return err
			}
			rows = rows[n:]
		}
		return nil
	})
}

func insertResources(ctx context.Context, q queryer, rows []Resource) error {
	const columns = 14
	args := make([]any, 0, columns*len(rows))
	for i := range rows {
		r := &rows[i]
		if r.ID == "" {
			r.ID = uuid.NewString()
		}
		args = append(args, r.AccountName, r.ID, r.Timestamp.UTC(), r.TaskID, r.TaskType, r.APIGroup, r.Name, r.ArtifactName,
			r.Namespace, r.Resource, r.Version, r.Kind, r.SpinnakerApp, r.Cluster)
	}
	return exec(ctx, q, `INSERT INTO kubernetes_resources (account_name, id, timestamp, task_id, task_type, api_group, name, artifact_name,
		namespace, resource, version, kind, spinnaker_app, cluster) VALUES `+placeholders(len(rows), columns), args...)
}

// DeleteResources forgets what is recorded of an account's resources;
// ErrNotFound for an account that is not in the database.
func (s *Store) DeleteResources(ctx context.Context, account string) error {
	return s.inTx(ctx, func(ctx context.Context, q queryer) error {
		found, err := exists(ctx, q, "SELECT 1 FROM kubernetes_providers WHERE name = ?", account)
		if err != nil {
			return err
		}
		if !found {
			return ErrNotFound
		}
		return exec(ctx, q, "DELETE FROM kubernetes_resources WHERE account_name = ?", account)
	})
}

// Resources lists an account's rows in the order of their ids.
func (s *Store) Resources(ctx context.Context, account string) ([]Resource, error) {
	return s.resources(ctx, "account_name = ?", account)
}

func (s *Store) resources(ctx context.Context, where string, args ...any) ([]Resource, error) {
	var out []Resource
	err := s.read(ctx, func(ctx context.Context, q queryer) error {
		return each(ctx, q, func(rows *sql.Rows) error {
			var r Resource
			var t sql.NullTime
			texts := make([]sql.NullString, 12)
			into := []any{&r.ID, &t}
			for i := range texts {
				into = append(into, &texts[i])
			}
			if err := rows.Scan(into...); err != nil {
				return err
			}
			r.Timestamp = t.Time
			for i, field := range []*string{&r.AccountName, &r.TaskID, &r.TaskType, &r.APIGroup, &r.Name, &r.ArtifactName, &r.Namespace, &r.Resource, &r.Version, &r.Kind, &r.SpinnakerApp, &r.Cluster} {
				*field = texts[i].String
			}
			out = append(out, r)
			return nil
		}, `SELECT id, timestamp, account_name, task_id, task_type, api_group, name, artifact_name, namespace, resource, version, kind, spinnaker_app, cluster
			FROM kubernetes_resources WHERE `+where+` ORDER BY id`, args...)
	})
	return out, err
}

// CleanUp is how old rows are removed.
type CleanUp struct {
	// OlderThan is the age from which a row may go.
	OlderThan time.Duration
	// Batch is how many rows are looked at in one statement.
	Batch int
	// Pause is how long writers have the table for themselves after each.
	Pause time.Duration
	// Removed is told after each batch.
	Removed func(rows int64)
}

// CleanResources removes old rows that nobody needs: those without a cluster,
// and all of an object's but the one with the greatest id. These are the two
// statements that the older rewrite's README has people run every day. The
// rows are walked in the order of their ids in small transactions, each of
// which touches only what it removes; between them, keep is asked whether to
// go on.
func (s *Store) CleanResources(ctx context.Context, c CleanUp, keep func(context.Context) error) error {
	var cutoff any = time.Now().UTC().Add(-c.OlderThan)
	last := ""
	for {
		if err := keep(ctx); err != nil {
			return err
		}
		var page, gone []any
		err := s.read(ctx, func(ctx context.Context, q queryer) error {
			page, gone = nil, nil
			if err := each(ctx, q, func(rows *sql.Rows) error {
				var id string
				if err := rows.Scan(&id); err != nil {
					return err
				}
				page = append(page, id)
				return nil
			}, fmt.Sprintf("SELECT id FROM kubernetes_resources WHERE id > ? ORDER BY id LIMIT %d", c.Batch), last); err != nil || len(page) == 0 {
				return err
			}
			// No locks are taken here. A row that is removed may only lose to
			// one with a greater id, which is looked at later.
			return each(ctx, q, func(rows *sql.Rows) error {
				var id string
				if err := rows.Scan(&id); err != nil {
					return err
				}
				gone = append(gone, id)
				return nil
			}, `SELECT t1.id FROM kubernetes_resources t1 WHERE t1.id > ? AND t1.id <= ? AND t1.timestamp < ? AND (t1.cluster = '' OR EXISTS (
				SELECT 1 FROM kubernetes_resources t2 WHERE t2.account_name = t1.account_name AND t2.kind = t1.kind AND t2.name = t1.name
				AND t1.id < t2.id AND t2.api_group = t1.api_group AND t2.namespace = t1.namespace AND t2.resource = t1.resource
				AND t2.version = t1.version AND t2.cluster = t1.cluster))`, last, page[len(page)-1], cutoff)
		})
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return nil
		}
		if len(gone) > 0 {
			if err := s.inTx(ctx, func(ctx context.Context, q queryer) error {
				return exec(ctx, q, "DELETE FROM kubernetes_resources WHERE id IN "+list(len(gone)), gone...)
			}); err != nil {
				return err
			}
			c.Removed(int64(len(gone)))
		}
		last, _ = page[len(page)-1].(string)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(c.Pause):
		}
	}
}

// ErrLeaseLost is returned when another replica has taken a lease over.
var ErrLeaseLost = errors.New("another replica holds the lease")

// Lease lets one replica at a time do a piece of work.
type Lease struct {
	store *Store
	name  string
	owner string
	life  time.Duration
	// Fence is greater for every new owner.
	Fence int64
}

// Acquire takes a lease that is free, expired or the owner's own; it returns
// ErrLeaseLost when somebody else holds it. The database's clock counts.
func (s *Store) Acquire(ctx context.Context, name, owner string, life time.Duration) (*Lease, error) {
	l := &Lease{store: s, name: name, owner: owner, life: life}
	now := s.dialect.milliseconds()
	err := s.inTx(ctx, func(ctx context.Context, q queryer) error {
		if err := exec(ctx, q, "INSERT INTO clouddriver_leases (name, owner, fence, expires_at) VALUES (?, '', 0, 0)"+s.dialect.upsert("name")+"name = clouddriver_leases.name", name); err != nil {
			return err
		}
		result, err := q.ExecContext(ctx, "UPDATE clouddriver_leases SET owner = ?, fence = fence + 1, expires_at = "+now+" + ? WHERE name = ? AND (owner = ? OR expires_at < "+now+")",
			owner, life.Milliseconds(), name, owner)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, ErrLeaseLost)
		}
		return each(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&l.Fence) }, "SELECT fence FROM clouddriver_leases WHERE name = ?", name)
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// held is ErrLeaseLost for a lease that is another's by now; else it stays until the
// end of the transaction.
func (l *Lease) held(ctx context.Context, q queryer) error {
	is, err := exists(ctx, q, "SELECT 1 FROM clouddriver_leases WHERE name = ? AND owner = ? AND fence = ? AND expires_at >= "+l.store.dialect.milliseconds()+l.store.dialect.forUpdate(), l.name, l.owner, l.Fence)
	if err == nil && !is {
		return ErrLeaseLost
	}
	return err
}

// Renew keeps the lease for another life; ErrLeaseLost.
func (l *Lease) Renew(ctx context.Context) error {
	now := l.store.dialect.milliseconds()
	return l.store.inTx(ctx, func(ctx context.Context, q queryer) error {
		result, err := q.ExecContext(ctx, "UPDATE clouddriver_leases SET expires_at = "+now+" + ? WHERE name = ? AND owner = ? AND fence = ? AND expires_at >= "+now,
			l.life.Milliseconds(), l.name, l.owner, l.Fence)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, ErrLeaseLost)
		}
		return nil
	})
}

// Release gives the lease up.
func (l *Lease) Release(ctx context.Context) error {
	return l.store.inTx(ctx, func(ctx context.Context, q queryer) error {
		return exec(ctx, q, "UPDATE clouddriver_leases SET expires_at = 0 WHERE name = ? AND owner = ? AND fence = ?", l.name, l.owner, l.Fence)
	})
}
