package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	"github.com/golang-migrate/migrate/v4/source"
	"github.com/golang-migrate/migrate/v4/source/iofs"

	"github.com/datapunchorg/go-clouddriver/migrations"
)

const migrationsTable = "clouddriver_migrations"

// MigrationStatus says where the schema stands.
type MigrationStatus struct {
	// Version is the last migration that was applied, 0 for none; Latest is
	// the newest one that this binary has.
	Version, Latest uint
	// Interrupted is set when the last migration did not finish. The next
	// start repeats it.
	Interrupted bool
}

// Migrate adopts a database of the older rewrite where there is one, and
// brings the schema to the newest version. It can be interrupted anywhere and
// called again; replicas that call it at the same time take turns.
func (s *Store) Migrate(ctx context.Context) error {
	return s.migrating(ctx, func(ctx context.Context, q queryer, m *migrate.Migrate, files source.Driver) error {
		if err := s.adopt(ctx, q); err != nil {
			return fmt.Errorf("adopt the older rewrite's tables: %w", err)
		}
		newer, err := s.newer(m, files)
		if err != nil {
			return err
		}
		if newer {
			return nil
		}
		if err := repair(m, files); err != nil {
			return err
		}
		if err := m.Up(); err != nil && !errors.Is(err, migrate.ErrNoChange) {
			return err
		}
		if err := s.moveLegacyNamespaces(ctx, q); err != nil {
			return fmt.Errorf("move namespaces out of kubernetes_providers.namespace: %w", err)
		}
		return nil
	})
}

// newer says that a later release has migrated the schema. Migrations only add
// to what was, so that a release that is rolled back, or a replica of it that
// starts during an upgrade, goes on with what it knows.
func (s *Store) newer(m *migrate.Migrate, files source.Driver) (bool, error) {
	version, dirty, err := m.Version()
	if errors.Is(err, migrate.ErrNilVersion) || dirty {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	latest, err := latestOf(files)
	if err == nil && version > latest {
		s.options.Log.Warn("the schema of the database is that of a later release; what it has added is not used", "version", version, "known", latest)
		return true, nil
	}
	return false, err
}

// latestOf is the newest migration that this program has.
func latestOf(files source.Driver) (latest uint, err error) {
	version, err := files.First()
	for err == nil {
		latest = version
		version, err = files.Next(version)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return latest, err
}

// MigrateDown takes the newest migration back. Tables of the older rewrite
// stay.
func (s *Store) MigrateDown(ctx context.Context) error {
	return s.migrating(ctx, func(_ context.Context, _ queryer, m *migrate.Migrate, files source.Driver) error {
		if err := repair(m, files); err != nil {
			return err
		}
		if err := m.Steps(-1); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, migrate.ErrNoChange) {
			return err
		}
		return nil
	})
}

// MigrationStatus reads the version without changing anything but the table
// that it is kept in.
func (s *Store) MigrationStatus(ctx context.Context) (MigrationStatus, error) {
	var out MigrationStatus
	err := s.migrating(ctx, func(_ context.Context, _ queryer, m *migrate.Migrate, files source.Driver) error {
		version, dirty, err := m.Version()
		if err != nil && !errors.Is(err, migrate.ErrNilVersion) {
			return err
		}
		out.Version, out.Interrupted = version, dirty
		out.Latest, err = latestOf(files)
		return err
	})
	return out, err
}

// migrating runs f on a connection that holds the lock. The lock ends with
// the connection, so that a crashed holder leaves nothing behind.
func (s *Store) migrating(ctx context.Context, f func(context.Context, queryer, *migrate.Migrate, source.Driver) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.options.MigrationTimeout)
	defer cancel()
	connector, err := s.connector(true)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer func() { _ = db.Close() }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", s.dialect.where(s.options), classify(err))
	}
	defer func() { _ = conn.Close() }()
	if err := s.dialect.lock(ctx, conn); err != nil {
		return classify(err)
	}
	target, err := s.dialect.migrator(ctx, db, conn)
	if err != nil {
		return fmt.Errorf("prepare %s: %w", s.dialect.where(s.options), classify(err))
	}
	files, err := iofs.New(migrations.Files, s.dialect.name())
	if err != nil {
		return err
	}
	m, err := migrate.NewWithInstance("embedded", files, s.dialect.name(), target)
	if err != nil {
		return err
	}
	if err := f(ctx, conn, m, files); err != nil {
		return fmt.Errorf("migrate %s: %w", s.dialect.where(s.options), classify(err))
	}
	return nil
}

// repair sets an interrupted migration back to the one before it. Nobody else
// is migrating, and every file can be run again.
func repair(m *migrate.Migrate, files source.Driver) error {
	version, dirty, err := m.Version()
	if errors.Is(err, migrate.ErrNilVersion) || (err == nil && !dirty) {
		return nil
	}
	if err != nil {
		return err
	}
	before := database.NilVersion
	if previous, err := files.Prev(version); err == nil {
		before = int(previous)
	}
	return m.Force(before)
}
