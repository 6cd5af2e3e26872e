package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// The outcomes that a caller tells apart. Every other error is the database's
// own.
var (
	// ErrNotFound is returned for a name that is not there.
	ErrNotFound = errors.New("not found")
	// ErrInUse says that another process has the SQLite file.
	ErrInUse = errors.New("is in use by another process")
	// ErrExists is returned for a name that is taken.
	ErrExists = errors.New("already exists")
	// ErrUnavailable is returned while the database cannot be reached, is
	// overloaded, is read-only, has no space left or has lost its tables. Nothing was changed, and
	// the same call may succeed later.
	ErrUnavailable = errors.New("the database is not available")
	// ErrTooLarge is returned for what is larger than the database takes.
	ErrTooLarge = errors.New("larger than max_allowed_packet of the database")
)

// Numbers of MySQL's errors (dev.mysql.com, Server Error Message Reference).
const (
	mysqlDuplicate    = 1062
	mysqlDeadlock     = 1213
	mysqlLockWait     = 1205
	mysqlConnections  = 1040
	mysqlUserConns    = 1203
	mysqlShutdown     = 1053
	mysqlDiskFull     = 1021
	mysqlTableFull    = 1114
	mysqlReadOnly     = 1290
	mysqlReadOnlyMode = 1792
	mysqlSuperOnly    = 1836
	mysqlKilled       = 1317
	mysqlConnKilled   = 1927
	mysqlPacket       = 1153
	mysqlNoTable      = 1146
	mysqlNoDatabase   = 1049
	mysqlNoneSelected = 1046
)

// classify marks errors that say nothing about the statement with
// ErrUnavailable, and duplicate keys with ErrExists.
func classify(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrUnavailable), errors.Is(err, ErrTooLarge), errors.Is(err, ErrExists), errors.Is(err, ErrNotFound):
		return err
	case errors.Is(err, mysql.ErrPktTooLarge), numbered(err, mysqlPacket):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	case duplicate(err):
		return fmt.Errorf("%w: %w", ErrExists, err)
	case away(err):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

func numbered(err error, number uint16) bool {
	var m *mysql.MySQLError
	return errors.As(err, &m) && m.Number == number
}

func duplicate(err error) bool {
	if numbered(err, mysqlDuplicate) {
		return true
	}
	code, ok := sqliteCode(err)
	return ok && (code == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY || code == sqlite3.SQLITE_CONSTRAINT_UNIQUE)
}

func away(err error) bool {
	var m *mysql.MySQLError
	if errors.As(err, &m) {
		switch m.Number {
		case mysqlDeadlock, mysqlLockWait, mysqlConnections, mysqlUserConns, mysqlShutdown, mysqlDiskFull, mysqlTableFull,
			mysqlReadOnly, mysqlReadOnlyMode, mysqlSuperOnly, mysqlKilled, mysqlConnKilled, mysqlNoTable, mysqlNoDatabase, mysqlNoneSelected:
			return true
		}
		return false
	}
	if code, ok := sqliteCode(err); ok {
		switch code & 0xff { // the primary code; the rest tells variants apart
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL,
			sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_NOTADB:
			return true
		}
		return strings.Contains(err.Error(), "no such table") // of a database that has lost its own
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) ||
		errors.Is(err, sql.ErrConnDone) || errors.Is(err, sql.ErrTxDone) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, net.ErrClosed)
}

func sqliteCode(err error) (int, bool) {
	var s *sqlite.Error
	if errors.As(err, &s) {
		return s.Code(), true
	}
	return 0, false
}

// jittered spreads a wait over half of it to one and a half.
func jittered(d time.Duration) time.Duration {
	return d/2 + rand.N(d)
}
