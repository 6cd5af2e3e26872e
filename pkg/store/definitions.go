package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Definition is an account as Java Clouddriver keeps it in SQL (clouddriver-sql,
// SqlAccountDefinitionRepository; accounts.md 2.3).
type Definition struct {
	// Name is the account's, and Type what is before it: kubernetes.
	Name, Type string
	// Body is the definition as JSON, its type included.
	Body string
}

// DefinitionVersion is what a definition was at a time. Body is "" for a
// deletion.
type DefinitionVersion struct {
	Version int
	At      time.Time
	Body    string
}

const markerDefinitions = "definitions"

// Definitions lists those of a type in the order of their names, from one on,
// at most so many.
func (s *Store) Definitions(ctx context.Context, kind, from string, most int) ([]Definition, error) {
	return s.definitions(ctx, "type = ? AND id >= ? ORDER BY id LIMIT ?", kind, from, most)
}

// Definition finds one by its name; ErrNotFound.
func (s *Store) Definition(ctx context.Context, name string) (Definition, error) {
	return oneOf(s.definitions(ctx, "id = ?", name))
}

func (s *Store) definitions(ctx context.Context, where string, args ...any) ([]Definition, error) {
	var out []Definition
	err := s.read(ctx, func(ctx context.Context, q queryer) error {
		return each(ctx, q, func(rows *sql.Rows) error {
			var d Definition
			if err := rows.Scan(&d.Name, &d.Type, &d.Body); err != nil {
				return err
			}
			out = append(out, d)
			return nil
		}, "SELECT id, type, body FROM accounts WHERE "+where, args...)
	})
	return out, err
}

// Saving is how a definition is saved.
type Saving int

const (
	// Creating fails with ErrExists where there is one.
	Creating Saving = iota
	// Changing fails with ErrNotFound where there is none.
	Changing
	// Upserting does either.
	Upserting
)

// SaveDefinition writes a definition and its history.
func (s *Store) SaveDefinition(ctx context.Context, d Definition, how Saving, by string) error {
	return s.inTx(ctx, func(ctx context.Context, q queryer) error {
		there, err := exists(ctx, q, oneDefinition+s.dialect.forUpdate(), d.Name)
		if err != nil {
			return err
		}
		now := time.Now().UnixMilli()
		switch {
		case there && how == Creating:
			return ErrExists
		case !there && how == Changing:
			return ErrNotFound
		case there:
			err = exec(ctx, q, "UPDATE accounts SET type = ?, body = ?, last_modified_at = ?, last_modified_by = ? WHERE id = ?", d.Type, d.Body, now, by, d.Name)
		default:
			err = exec(ctx, q, "INSERT INTO accounts (id, type, body, created_at, last_modified_at, last_modified_by) VALUES (?, ?, ?, ?, ?, ?)", d.Name, d.Type, d.Body, now, now, by)
		}
		if err != nil {
			return err
		}
		return s.addDefinitionVersion(ctx, q, d, now, false)
	})
}

const oneDefinition = "SELECT 1 FROM accounts WHERE id = ?"

// addDefinitionVersion adds to the history, whose versions are counted as Java
// counts them: one more than there are rows.
func (s *Store) addDefinitionVersion(ctx context.Context, q queryer, d Definition, now int64, deleted bool) error {
	rows := 0
	if err := each(ctx, q, func(r *sql.Rows) error { return r.Scan(&rows) }, "SELECT COUNT(*) FROM accounts_history WHERE id = ?", d.Name); err != nil {
		return err
	}
	kind, body := sql.NullString{String: d.Type, Valid: !deleted}, sql.NullString{String: d.Body, Valid: !deleted}
	if err := exec(ctx, q, "INSERT INTO accounts_history (id, type, body, last_modified_at, version, is_deleted) VALUES (?, ?, ?, ?, ?, ?)", d.Name, kind, body, now, rows+1, deleted); err != nil {
		return err
	}
	return s.bump(ctx, q, markerDefinitions)
}

// DeleteDefinition removes one and keeps its history; ErrNotFound.
func (s *Store) DeleteDefinition(ctx context.Context, name string) error {
	return s.inTx(ctx, func(ctx context.Context, q queryer) error {
		there, err := exists(ctx, q, oneDefinition+s.dialect.forUpdate(), name)
		if err != nil {
			return err
		}
		if !there {
			return ErrNotFound
		}
		if err := exec(ctx, q, "DELETE FROM accounts WHERE id = ?", name); err != nil {
			return err
		}
		return s.addDefinitionVersion(ctx, q, Definition{Name: name}, time.Now().UnixMilli(), true)
	})
}

// mostVersions bounds a history that is read.
const mostVersions = 1000

// DefinitionHistory lists what a definition was, the newest first.
func (s *Store) DefinitionHistory(ctx context.Context, name string) ([]DefinitionVersion, error) {
	var out []DefinitionVersion
	err := s.read(ctx, func(ctx context.Context, q queryer) error {
		return each(ctx, q, func(rows *sql.Rows) error {
			var v DefinitionVersion
			var at int64
			var body sql.NullString
			if err := rows.Scan(&v.Version, &at, &body); err != nil {
				return err
			}
			v.At, v.Body = time.UnixMilli(at), body.String
			out = append(out, v)
			return nil
		}, "SELECT version, last_modified_at, body FROM accounts_history WHERE id = ? ORDER BY version DESC LIMIT ?", name, mostVersions)
	})
	return out, err
}

// DefinitionsVersion is a text that changes whenever a definition does, also
// when Java's Clouddriver changed it.
func (s *Store) DefinitionsVersion(ctx context.Context) (string, error) {
	var ours, rows, last sql.NullInt64
	err := s.read(ctx, func(ctx context.Context, q queryer) error {
		if err := each(ctx, q, func(r *sql.Rows) error { return r.Scan(&ours) }, "SELECT version FROM clouddriver_markers WHERE name = ?", markerDefinitions); err != nil {
			return err
		}
		return each(ctx, q, func(r *sql.Rows) error { return r.Scan(&rows, &last) }, "SELECT COUNT(*), MAX(last_modified_at) FROM accounts")
	})
	return fmt.Sprint(ours.Int64, " ", rows.Int64, " ", last.Int64), err
}
