package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/gofrs/flock"
	"github.com/golang-migrate/migrate/v4/database"
	migratemysql "github.com/golang-migrate/migrate/v4/database/mysql"
	migratesqlite "github.com/golang-migrate/migrate/v4/database/sqlite"
	"modernc.org/sqlite"
)

// dialect is everything in which MySQL and SQLite differ.
type dialect interface {
	// name is the folder of the migrations.
	name() string
	// where names the database without its credentials.
	where(o Options) string
	// connector makes connections; migrating ones take several statements at
	// once.
	connector(o Options, migrating bool) (driver.Connector, error)
	// lock keeps other replicas from migrating as long as the connection lives.
	lock(ctx context.Context, conn *sql.Conn) error
	// migrator is golang-migrate's driver on that connection.
	migrator(ctx context.Context, db *sql.DB, conn *sql.Conn) (database.Driver, error)
	// again says whether a transaction failed only for running beside another.
	again(err error) bool
	// forUpdate ends a SELECT whose rows stay as they are until the end of the
	// transaction.
	forUpdate() string
	// milliseconds is an expression: the database's clock since 1970.
	milliseconds() string
	// upsert ends an INSERT: when the key is there, set what follows.
	upsert(key string) string
	// incoming is the value that the INSERT of an upsert has for a column.
	incoming(column string) string
	// columns and indexes describe a table as it is; no columns if it is not.
	columns(ctx context.Context, q queryer, table string) (map[string]column, error)
	indexes(ctx context.Context, q queryer, table string) ([]tableIndex, error)
	// textOf is the column type for the older rewrite's size.
	textOf(size int) string
	// digest is a query for a value that changes with the providers, whoever
	// wrote them; "" where nobody else can.
	digest() string
	// olderWrites is a query, in the columns of the ledger and with the account
	// as its argument, for what replicas of the older rewrite have written in
	// the last minute; "" where there can be none.
	olderWrites() string
}

type column struct {
	dataType  string // lower case, without size
	charset   string
	collation string
	fullType  string
	notNull   bool
}

type tableIndex struct {
	name    string
	unique  bool
	columns []string
}

type mysqlDialect struct{}

func (mysqlDialect) name() string { return "mysql" }

func (mysqlDialect) where(o Options) string {
	return fmt.Sprintf("MySQL database %s at %s", o.MySQL.Name, o.MySQL.address())
}

func (m *MySQL) address() string {
	if _, _, err := net.SplitHostPort(m.Host); err == nil {
		return m.Host
	}
	return net.JoinHostPort(m.Host, strconv.Itoa(m.Port))
}

func (mysqlDialect) connector(o Options, migrating bool) (driver.Connector, error) {
	c := mysql.NewConfig()
	c.Net, c.Addr = "tcp", o.MySQL.address()
	c.User, c.Passwd, c.DBName = o.MySQL.User, o.MySQL.Password, o.MySQL.Name
	c.Timeout = o.MySQL.ConnectTimeout
	// The context ends a statement; these end one on a dead connection.
	c.ReadTimeout, c.WriteTimeout = o.Timeout+time.Second, o.Timeout+time.Second
	c.ParseTime, c.Loc = true, time.UTC
	c.Params = map[string]string{"time_zone": "'+00:00'", "sql_mode": "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"}
	c.Collation = "utf8mb4_bin"
	c.ClientFoundRows = true // an update that changes nothing has found its row
	c.InterpolateParams = false
	c.MaxAllowedPacket = 0 // the server's, so that what is too large is said before it is sent
	c.Logger = noLogger{}
	if migrating {
		c.MultiStatements = true
		c.ReadTimeout, c.WriteTimeout = o.MigrationTimeout, o.MigrationTimeout
	}
	c.TLSConfig = o.MySQL.TLS
	if o.MySQL.TLSCA != "" && o.MySQL.TLS != "false" && o.MySQL.TLS != "" {
		pem, err := os.ReadFile(o.MySQL.TLSCA)
		if err != nil {
			return nil, fmt.Errorf("database.tlsCA: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("database.tlsCA: %s holds no PEM certificate", o.MySQL.TLSCA)
		}
		host, _, _ := net.SplitHostPort(c.Addr)
		c.TLS = &tls.Config{RootCAs: roots, ServerName: host, MinVersion: tls.VersionTLS12}
		c.TLSConfig = ""
	}
	return mysql.NewConnector(c)
}

// noLogger drops what the driver prints of a broken connection: the error
// reaches the caller, too.
type noLogger struct{}

func (noLogger) Print(...any) {}

func (mysqlDialect) lock(ctx context.Context, conn *sql.Conn) error {
	for {
		var got sql.NullInt64
		// Lock names are the server's, not the database's.
		err := conn.QueryRowContext(ctx, "SELECT GET_LOCK(CONCAT('clouddriver:', SHA1(DATABASE())), 5)").Scan(&got)
		if err != nil {
			return fmt.Errorf("wait for another replica's migration: %w", err)
		}
		if got.Int64 == 1 {
			return nil
		}
	}
}

func (mysqlDialect) migrator(ctx context.Context, _ *sql.DB, conn *sql.Conn) (database.Driver, error) {
	return migratemysql.WithConnection(ctx, conn, &migratemysql.Config{MigrationsTable: migrationsTable, NoLock: true})
}

func (mysqlDialect) again(err error) bool {
	var m *mysql.MySQLError
	return errors.As(err, &m) && (m.Number == mysqlDeadlock || m.Number == mysqlLockWait)
}

func (mysqlDialect) forUpdate() string { return " FOR UPDATE" }

func (mysqlDialect) milliseconds() string { return "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)" }

func (mysqlDialect) upsert(string) string { return " ON DUPLICATE KEY UPDATE " }

func (mysqlDialect) incoming(column string) string { return "VALUES(" + column + ")" }

func (mysqlDialect) columns(ctx context.Context, q queryer, table string) (map[string]column, error) {
	out := map[string]column{}
	err := each(ctx, q, func(rows *sql.Rows) error {
		var name, nullable string
		var c column
		var charset, collation sql.NullString
		if err := rows.Scan(&name, &c.dataType, &c.fullType, &charset, &collation, &nullable); err != nil {
			return err
		}
		c.dataType = strings.ToLower(c.dataType)
		c.charset, c.collation, c.notNull = charset.String, collation.String, nullable == "NO"
		out[strings.ToLower(name)] = c
		return nil
	}, `SELECT column_name, data_type, column_type, character_set_name, collation_name, is_nullable
		FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ?`, table)
	return out, err
}

func (mysqlDialect) indexes(ctx context.Context, q queryer, table string) ([]tableIndex, error) {
	var out []tableIndex
	err := each(ctx, q, func(rows *sql.Rows) error {
		var name, columnName string
		var notUnique bool
		if err := rows.Scan(&name, &notUnique, &columnName); err != nil {
			return err
		}
		if len(out) == 0 || out[len(out)-1].name != name {
			out = append(out, tableIndex{name: name, unique: !notUnique})
		}
		last := &out[len(out)-1]
		last.columns = append(last.columns, strings.ToLower(columnName))
		return nil
	}, `SELECT index_name, non_unique, column_name FROM information_schema.statistics
		WHERE table_schema = DATABASE() AND table_name = ? ORDER BY index_name, seq_in_index`, table)
	return out, err
}

func (mysqlDialect) textOf(size int) string {
	if size == 0 {
		return "text"
	}
	return fmt.Sprintf("varchar(%d)", size)
}

// digest sees what the older rewrite and hand-made SQL change, too. A sum of
// checksums does not depend on the order of the rows.
func (mysqlDialect) digest() string {
	return `SELECT CONCAT_WS(',',
		(SELECT CONCAT(COUNT(*), ':', COALESCE(SUM(CRC32(CONCAT_WS('\0', name, host, ca_data, bearer_token, token_provider, COALESCE(namespace, '')))), 0)) FROM kubernetes_providers),
		(SELECT CONCAT(COUNT(*), ':', COALESCE(SUM(CRC32(CONCAT_WS('\0', account_name, namespace))), 0)) FROM kubernetes_providers_namespaces),
		(SELECT CONCAT(COUNT(*), ':', COALESCE(SUM(CRC32(CONCAT_WS('\0', account_name, read_group))), 0)) FROM provider_read_permissions),
		(SELECT CONCAT(COUNT(*), ':', COALESCE(SUM(CRC32(CONCAT_WS('\0', account_name, write_group))), 0)) FROM provider_write_permissions),
		(SELECT CONCAT(COUNT(*), ':', COALESCE(SUM(CRC32(CONCAT_WS('\0', account_name, sealed))), 0)) FROM clouddriver_tokens))`
}

// olderWrites takes the rows that belong to no task of ours. The older rewrite
// writes times in UTC and leaves others to the server's clock, which therefore
// has to be in UTC.
func (mysqlDialect) olderWrites() string {
	text := func(column string) string {
		return "CONVERT(COALESCE(" + column + ", '') USING utf8mb4) COLLATE utf8mb4_bin"
	}
	return "SELECT 0, CAST(UNIX_TIMESTAMP(r.timestamp) * 1000 AS SIGNED), " + text("r.task_id") + ", '', " + text("r.account_name") + ", " + text("r.kind") + ", " + text("r.namespace") + ", " + text("r.name") +
		", '', '', COALESCE(r.task_type, '') = 'delete', " + text("r.spinnaker_app") + ", " + text("r.cluster") + ", " + text("r.id") + ", " + text("r.api_group") + `
		FROM kubernetes_resources r WHERE r.account_name = ? AND r.timestamp > NOW() - INTERVAL 60 SECOND
		AND NOT EXISTS (SELECT 1 FROM clouddriver_tasks t WHERE t.id = ` + text("r.task_id") + ")"
}

type sqliteDialect struct{}

func (sqliteDialect) name() string { return "sqlite" }

func (sqliteDialect) where(o Options) string { return "SQLite file " + o.Path }

func (sqliteDialect) connector(o Options, _ bool) (driver.Connector, error) {
	q := url.Values{
		// The file is made when it is opened first, never in the place of one
		// that is away for a moment.
		"mode": {"rw"},
		// Immediate transactions wait for their turn instead of failing in the
		// middle.
		"_txlock": {"immediate"},
		// The layout of the older rewrite's driver.
		"_time_format": {"sqlite"},
		"_pragma": {
			"busy_timeout(" + strconv.FormatInt(o.Timeout.Milliseconds(), 10) + ")",
			"journal_mode(WAL)", "synchronous(FULL)", "secure_delete(1)",
		},
	}
	return sqlite.NewConnector("file:" + (&url.URL{Path: o.Path}).EscapedPath() + "?" + q.Encode())
}

// lock has nothing to do: lockFile keeps other processes out altogether.
func (sqliteDialect) lock(context.Context, *sql.Conn) error { return nil }

func (sqliteDialect) migrator(_ context.Context, db *sql.DB, _ *sql.Conn) (database.Driver, error) {
	return migratesqlite.WithInstance(db, &migratesqlite.Config{MigrationsTable: migrationsTable})
}

func (sqliteDialect) again(error) bool { return false }

// forUpdate has nothing to do: there is one who writes at a time.
func (sqliteDialect) forUpdate() string { return "" }

func (sqliteDialect) milliseconds() string {
	return "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
}

func (sqliteDialect) upsert(key string) string { return " ON CONFLICT (" + key + ") DO UPDATE SET " }

func (sqliteDialect) incoming(column string) string { return "excluded." + column }

func (sqliteDialect) columns(ctx context.Context, q queryer, table string) (map[string]column, error) {
	out := map[string]column{}
	err := each(ctx, q, func(rows *sql.Rows) error {
		var name string
		var c column
		if err := rows.Scan(&name, &c.dataType, &c.notNull); err != nil {
			return err
		}
		out[strings.ToLower(name)] = c
		return nil
	}, `SELECT name, lower(type), "notnull" FROM pragma_table_info(?)`, table)
	return out, err
}

func (sqliteDialect) indexes(ctx context.Context, q queryer, table string) ([]tableIndex, error) {
	var out []tableIndex
	err := each(ctx, q, func(rows *sql.Rows) error {
		var name string
		var columnName sql.NullString
		var unique bool
		if err := rows.Scan(&name, &unique, &columnName); err != nil {
			return err
		}
		if len(out) == 0 || out[len(out)-1].name != name {
			out = append(out, tableIndex{name: name, unique: unique})
		}
		last := &out[len(out)-1]
		last.columns = append(last.columns, strings.ToLower(columnName.String))
		return nil
	}, `SELECT l.name, l."unique", i.name FROM pragma_index_list(?) l, pragma_index_info(l.name) i ORDER BY l.name, i.seqno`, table)
	return out, err
}

func (sqliteDialect) textOf(int) string { return "text" }

func (sqliteDialect) digest() string { return "" }

func (sqliteDialect) olderWrites() string { return "" }

// folderOf names a file's folder so that one finds it from anywhere.
func folderOf(path string) string {
	dir := filepath.Dir(path)
	if whole, err := filepath.Abs(dir); err == nil {
		return whole
	}
	return dir
}

// lockFile keeps a second process away from a SQLite file. The operating
// system lets go of the lock when its holder ends, in whatever way.
func lockFile(path string) (unlock func(), err error) {
	lock := flock.New(path + ".lock")
	got, err := lock.TryLock()
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.EROFS):
		return nil, fmt.Errorf("database.path: cannot write in %s: %w; the SQLite database is kept there: make the folder writable for uid %d (mount a volume), set DB_PATH to a file elsewhere, or use MySQL (DB_HOST, DB_NAME, DB_USER and DB_PASS)", folderOf(path), err, os.Getuid())
	case err != nil:
		return nil, fmt.Errorf("database.path: lock %s.lock: %w", path, err)
	case !got:
		return nil, fmt.Errorf("database.path: %s %w; SQLite serves one, MySQL several replicas", path, ErrInUse)
	}
	return func() { _ = lock.Unlock() }, nil
}
