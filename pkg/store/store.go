// Package store keeps what has to outlive the process in SQL: providers with
// their permissions, the record of written resources, leases and markers. It
// speaks MySQL, for several replicas, and SQLite, for one, with one set of
// queries; what differs is in dialect.go.
//
// The tables of the older Go rewrite (homedepot/go-clouddriver,
// internal/sql; accounts.md 4) are shared with it: it may run on the same
// database during a roll-over.
package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// Options say where the database is and how patient the store is.
type Options struct {
	// MySQL, when set, is used instead of the SQLite file.
	MySQL *MySQL
	// Path is the SQLite file.
	Path string
	// Timeout is the deadline of a statement, and of a transaction as a whole.
	Timeout time.Duration
	// MigrationTimeout is the deadline of all migrations together, waiting for
	// another replica's included.
	MigrationTimeout time.Duration
	// LockWait is how long to wait for another process to let the SQLite file go.
	LockWait time.Duration
	// MaxOpen, MaxIdle and Lifetime bound the pool of connections.
	MaxOpen, MaxIdle int
	Lifetime         time.Duration
	// Wrap, when set, sees every statement; for tests and tracing.
	Wrap func(driver.Connector) driver.Connector
	Log  *slog.Logger
}

// MySQL is how to reach a MySQL server.
type MySQL struct {
	// Host is a name or an address, with or without a port.
	Host                 string
	Port                 int
	Name, User, Password string
	// TLS is false, true, skip-verify or preferred.
	TLS string
	// TLSCA is a PEM file with the authorities to trust; the system's when
	// empty.
	TLSCA string
	// ConnectTimeout is the deadline of a new connection.
	ConnectTimeout time.Duration
}

// Store is the database.
type Store struct {
	// db is another one after the SQLite file was replaced.
	db      atomic.Pointer[statements]
	file    *sqliteFile // nil for MySQL
	dialect dialect
	options Options
	unlock  func()
	// creations wait for no more than one transaction of the others, since a
	// caller waits for each.
	creations  batches[creation]
	recordings batches[recording]
	writing    chan struct{} // whose turn it is to write to an SQLite file
}

// The bounds of transactions. Those of tasks that go on are short: who creates
// one may wait for another's.
const (
	creationsMost  = 64
	recordingsMost = 32
)

// Open connects; it changes nothing in the database. Migrate comes next.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{options: o, unlock: func() {}, writing: make(chan struct{}, 1)}
	s.creations = batches[creation]{together: s.createTogether, alone: s.createAlone, most: creationsMost}
	s.recordings = batches[recording]{together: s.recordTogether, alone: s.recordAlone, most: recordingsMost}
	if o.MySQL != nil {
		s.dialect = mysqlDialect{}
	} else {
		s.dialect = sqliteDialect{}
		unlock, err := waitForFile(ctx, o)
		if err != nil {
			return nil, err
		}
		s.unlock = unlock
		if s.file, err = openSQLiteFile(o.Path); err != nil {
			s.unlock()
			return nil, err
		}
	}
	if err := s.connect(); err != nil {
		s.unlock()
		return nil, err
	}
	pinging, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	if err := s.db.Load().db.PingContext(pinging); err != nil {
		s.Close()
		return nil, fmt.Errorf("connect to %s: %w", s.dialect.where(o), classify(err))
	}
	return s, nil
}

// connect opens a pool of connections in the place of the one before it.
func (s *Store) connect() error {
	connector, err := s.connector(false)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(s.options.MaxOpen)
	db.SetMaxIdleConns(s.options.MaxIdle)
	db.SetConnMaxLifetime(s.options.Lifetime)
	if before := s.db.Swap(&statements{db: db, held: map[string]*sql.Stmt{}}); before != nil {
		_ = before.db.Close() // what is under way on the file that was replaced fails
	}
	return nil
}

// pool is where queries go. An SQLite file that was replaced is opened anew; one
// that is not where it was is waited for, since what is written to it might be
// lost.
func (s *Store) pool() (*statements, error) {
	if s.file != nil {
		if err := s.file.inPlace(s.connect); err != nil {
			return nil, err
		}
	}
	return s.db.Load(), nil
}

// waitForFile locks the SQLite file. A process that ends, or was just killed, may
// hold it for a moment more.
func waitForFile(ctx context.Context, o Options) (unlock func(), err error) {
	const every = 50 * time.Millisecond
	deadline, told := time.Now().Add(o.LockWait), false
	for {
		unlock, err = lockFile(o.Path)
		if err == nil || !errors.Is(err, ErrInUse) || !time.Now().Before(deadline) {
			return unlock, err
		}
		if !told {
			o.Log.Info("waiting for another process to let the database go", "path", o.Path, "most", o.LockWait)
			told = true
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(every):
		}
	}
}

func (s *Store) connector(migrating bool) (driver.Connector, error) {
	c, err := s.dialect.connector(s.options, migrating)
	if err != nil {
		return nil, err
	}
	if s.options.Wrap != nil {
		c = s.options.Wrap(c)
	}
	return c, nil
}

// Check says whether the database can be used: it answers, has its tables, and
// takes writes.
func (s *Store) Check(ctx context.Context) error {
	return s.inTx(ctx, func(ctx context.Context, q queryer) error {
		for _, table := range []string{"clouddriver_tasks", "clouddriver_task_history", "clouddriver_task_steps", "clouddriver_task_changes", "clouddriver_writes", "clouddriver_registries", "kubernetes_resources", "kubernetes_providers"} {
			if _, err := exists(ctx, q, "SELECT 1 FROM "+table+" WHERE 1 = 0"); err != nil {
				return fmt.Errorf("table %s: %w", table, err)
			}
		}
		return exec(ctx, q, "UPDATE clouddriver_markers SET version = version WHERE name = ''") // there is no such marker
	})
}

// Close ends all connections and lets another process have the SQLite file.
func (s *Store) Close() {
	_ = s.db.Load().db.Close() // statements under way fail by themselves
	s.unlock()
}

// queryer is what a connection, a transaction and the pool have in common.
type queryer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// inTx runs f in a transaction, again when the database asks for it: two
// transactions that wait for each other are no fault of theirs.
func (s *Store) inTx(ctx context.Context, f func(ctx context.Context, q queryer) error) error {
	return s.transact(ctx, false, f)
}

// snapshot runs several queries on one state of the database.
func (s *Store) snapshot(ctx context.Context, f func(ctx context.Context, q queryer) error) error {
	return s.transact(ctx, true, f)
}

func (s *Store) transact(ctx context.Context, readOnly bool, f func(ctx context.Context, q queryer) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	if s.file != nil && !readOnly {
		// SQLite has those who wait for their turn sleep, longer each time, and
		// takes whoever comes first then.
		select {
		case s.writing <- struct{}{}:
			defer func() { <-s.writing }()
		case <-ctx.Done():
			return classify(ctx.Err())
		}
	}
	const most = 20
	for attempt := 1; ; attempt++ {
		err := s.once(ctx, readOnly, f)
		if err == nil || attempt == most || !s.dialect.again(err) || ctx.Err() != nil {
			return classify(err)
		}
		select {
		case <-ctx.Done():
			return classify(err)
		case <-time.After(jittered(time.Duration(attempt) * 5 * time.Millisecond)):
		}
	}
}

func (s *Store) once(ctx context.Context, readOnly bool, f func(ctx context.Context, q queryer) error) error {
	db, err := s.pool()
	if err != nil {
		return err
	}
	tx, err := db.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: readOnly})
	if err != nil {
		return err
	}
	q := preparing{kept: db, tx: tx, missed: &[]string{}}
	if err := f(ctx, q); err != nil {
		_ = tx.Rollback() // the first error tells more
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	q.prepareMissed(ctx)
	return nil
}

// read runs f outside of a transaction within the deadline.
func (s *Store) read(ctx context.Context, f func(ctx context.Context, q queryer) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	db, err := s.pool()
	if err != nil {
		return err
	}
	return classify(f(ctx, preparing{kept: db}))
}

// each calls scan for every row of a query.
func each(ctx context.Context, q queryer, scan func(*sql.Rows) error, query string, args ...any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// exec runs a statement whose result does not matter.
func exec(ctx context.Context, q queryer, query string, args ...any) error {
	_, err := q.ExecContext(ctx, query, args...)
	return err
}

// oneOf is the one that was looked for; ErrNotFound where there is none.
func oneOf[T any](found []T, err error) (T, error) {
	var none T
	switch {
	case err != nil:
		return none, err
	case len(found) == 0:
		return none, ErrNotFound
	}
	return found[0], nil
}

// exists says whether a query has a row.
func exists(ctx context.Context, q queryer, query string, args ...any) (bool, error) {
	found := false
	err := each(ctx, q, func(*sql.Rows) error { found = true; return nil }, query, args...)
	return found, err
}
