package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"time"
)

// RegistryKey names what is kept of a registry: the repository of an account, and
// with empty texts the state of the account itself.
type RegistryKey struct{ Account, Family, Repository string }

// RegistryRow is what is kept under a key.
type RegistryRow struct {
	RegistryKey
	// Version is greater than that of every row that was written before.
	Version int64
	// Parts are the content; none for a repository that is gone.
	Parts [][]byte
}

const markerRegistries = "registries"

// SaveRegistry replaces what is kept under a key, by whoever holds the lease;
// ErrLeaseLost. It returns the version.
func (s *Store) SaveRegistry(ctx context.Context, by *Lease, key RegistryKey, parts [][]byte) (version int64, err error) {
	now := time.Now().UnixMilli()
	err = s.inTx(ctx, func(ctx context.Context, q queryer) error {
		if err := by.held(ctx, q); err != nil {
			return err
		}
		// The marker's row is locked until the end: versions are seen in their order.
		if err := s.bump(ctx, q, markerRegistries); err != nil {
			return err
		}
		if err := each(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&version) }, "SELECT version FROM clouddriver_markers WHERE name = ?", markerRegistries); err != nil {
			return err
		}
		if err := exec(ctx, q, "DELETE FROM clouddriver_registries WHERE account = ? AND family = ? AND repository = ?", key.Account, key.Family, key.Repository); err != nil {
			return err
		}
		if len(parts) == 0 {
			return insertRegistry(ctx, q, key, 0, 0, version, now, []byte{})
		}
		for i, part := range parts {
			if err := insertRegistry(ctx, q, key, i, len(parts), version, now, part); err != nil {
				return err
			}
		}
		return nil
	})
	return version, err
}

func insertRegistry(ctx context.Context, q queryer, key RegistryKey, part, parts int, version, now int64, body []byte) error {
	return exec(ctx, q, "INSERT INTO clouddriver_registries (account, family, repository, part, parts, version, updated_at, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		key.Account, key.Family, key.Repository, part, parts, version, now, body)
}

// registryPage is how many rows are read at once.
const registryPage = 200

// RegistriesAfter tells of what was written after a version, the oldest first, row
// by row: all that there is for a version of 0.
func (s *Store) RegistriesAfter(ctx context.Context, version int64, tell func(RegistryRow) error) error {
	var last RegistryRow
	part, parts := math.MaxInt32, 0 // of the version itself, the caller has all
	for {
		n := 0
		err := s.read(ctx, func(ctx context.Context, q queryer) error {
			n = 0
			return each(ctx, q, func(rows *sql.Rows) error {
				n++
				var row RegistryRow
				var body []byte
				if err := rows.Scan(&row.Account, &row.Family, &row.Repository, &part, &parts, &row.Version, &body); err != nil {
					return err
				}
				if row.RegistryKey != last.RegistryKey || row.Version != last.Version {
					last = row
				}
				if parts > 0 {
					last.Parts = append(last.Parts, body)
				}
				if part+1 < parts || len(last.Parts) != parts {
					return nil // the rest comes, or what came before was replaced meanwhile
				}
				return tell(last)
			}, fmt.Sprintf("SELECT account, family, repository, part, parts, version, body FROM clouddriver_registries WHERE version > ? OR (version = ? AND part > ?) ORDER BY version, part LIMIT %d", registryPage), version, version, part)
		})
		if err != nil || n < registryPage {
			return err
		}
		version = last.Version
	}
}

// RegistriesVersion is the greatest version.
func (s *Store) RegistriesVersion(ctx context.Context) (version int64, err error) {
	err = s.read(ctx, func(ctx context.Context, q queryer) error {
		return each(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&version) }, "SELECT version FROM clouddriver_markers WHERE name = ?", markerRegistries)
	})
	return version, err
}

// CleanRegistries removes what is known of repositories that are gone for so long,
// and of accounts that nobody has polled for so long.
func (s *Store) CleanRegistries(ctx context.Context, gone, unpolled time.Duration) error {
	now := time.Now()
	return s.inTx(ctx, func(ctx context.Context, q queryer) error {
		if err := exec(ctx, q, "DELETE FROM clouddriver_registries WHERE parts = 0 AND updated_at < ?", now.Add(-gone).UnixMilli()); err != nil {
			return err
		}
		var accounts []string
		err := each(ctx, q, func(rows *sql.Rows) error {
			var name string
			defer func() { accounts = append(accounts, name) }()
			return rows.Scan(&name)
		}, "SELECT account FROM clouddriver_registries WHERE family = '' AND repository = '' AND updated_at < ?", now.Add(-unpolled).UnixMilli())
		if err != nil {
			return err
		}
		for _, name := range accounts {
			if err := exec(ctx, q, "DELETE FROM clouddriver_registries WHERE account = ?", name); err != nil {
				return err
			}
		}
		return nil
	})
}
