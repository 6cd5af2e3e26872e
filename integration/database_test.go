package integration

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// tableRows reads whole tables as text, sorted, to compare before and after.
func tableRows(t testing.TB, db *sql.DB, query string) []string {
	t.Helper()
	found, err := db.Query(query)
	if err != nil {
		t.Fatal(query, err)
	}
	defer func() { _ = found.Close() }()
	names, err := found.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for found.Next() {
		values, into := make([]sql.NullString, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := found.Scan(into...); err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprint(values))
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// killerEnv makes the test binary migrate a database and kill itself at a
// statement.
const killerEnv = "INTEGRATION_KILLER"

type killerInput struct {
	MySQL *store.MySQL
	Path  string
	At    int64
	// Write is a write of killedWrites to die in, the migration when empty.
	Write string
}

// migrateAndDie migrates in a process of its own that SIGKILLs itself before
// its n-th statement. It says whether the process was killed; otherwise the
// migration is through.
func migrateAndDie(t *testing.T, b backend, n int64) bool {
	t.Helper()
	return die(t, killerInput{b.options.MySQL, b.options.Path, n, ""})
}

func die(t *testing.T, in killerInput) bool {
	t.Helper()
	input, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killerEnv+"="+string(input))
	out, err := cmd.CombinedOutput()
	if err == nil {
		return false
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signal() == syscall.SIGKILL {
			return true
		}
	}
	t.Fatalf("statement %d: %v: %s", in.At, err, out)
	return false
}

// killer is the process that migrateAndDie starts.
func killer(input string) error {
	var in killerInput
	if err := json.Unmarshal([]byte(input), &in); err != nil {
		return err
	}
	var statements atomic.Int64
	o := store.Options{MySQL: in.MySQL, Path: in.Path, Timeout: 20 * time.Second, MigrationTimeout: time.Minute, MaxOpen: 2, Lifetime: time.Minute}
	var begun atomic.Bool
	begun.Store(in.Write == "")
	o.Wrap = func(c driver.Connector) driver.Connector {
		return tapped{c, func(string) {
			if begun.Load() && statements.Add(1) == in.At {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		}}
	}
	s, err := store.Open(context.Background(), o)
	if err != nil {
		return err
	}
	if in.Write == "" {
		return s.Migrate(context.Background())
	}
	begun.Store(true)
	return killedWrites[in.Write](context.Background(), s)
}

// tapped tells of every statement before it is sent.
type tapped struct {
	driver.Connector
	tap func(query string)
}

func (c tapped) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &tappedConn{conn, c.tap}, nil
}

type tappedConn struct {
	driver.Conn
	tap func(query string)
}

func (c *tappedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	c.tap(query)
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
}

func (c *tappedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.tap(query)
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

// PrepareContext is no statement of its own: it changes nothing.
func (c *tappedConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	return c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, query)
}

func (c *tappedConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	c.tap("BEGIN")
	return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, o)
}

func (c *tappedConn) Ping(ctx context.Context) error { return c.Conn.(driver.Pinger).Ping(ctx) }

func (c *tappedConn) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.Conn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

func (c *tappedConn) ResetSession(ctx context.Context) error {
	if resetter, ok := c.Conn.(driver.SessionResetter); ok {
		return resetter.ResetSession(ctx)
	}
	return nil
}

// olderSchema is what the older rewrite's ORM makes (accounts.md 4.3, 4.4).
func olderSchema(mysql bool) []string {
	if !mysql {
		return []string{
			"CREATE TABLE `kubernetes_providers` (`name` text,`host` text,`ca_data` text,`bearer_token` text,`token_provider` text NOT NULL DEFAULT \"google\",`namespace` text,PRIMARY KEY (`name`))",
			"CREATE TABLE `kubernetes_resources` (`account_name` text,`id` text,`timestamp` timestamp DEFAULT current_timestamp,`task_id` text,`task_type` text,`api_group` text,`name` text,`artifact_name` text,`namespace` text,`resource` text,`version` text,`kind` text,`spinnaker_app` text,`cluster` text,PRIMARY KEY (`id`))",
			"CREATE INDEX `kind_idx` ON `kubernetes_resources`(`kind`)",
			"CREATE INDEX `task_id_idx` ON `kubernetes_resources`(`task_id`)",
			"CREATE INDEX `account_name_kind_name_spinnaker_app_idx` ON `kubernetes_resources`(`account_name`,`kind`,`name`,`spinnaker_app`)",
			"CREATE TABLE `kubernetes_providers_namespaces` (`account_name` text,`namespace` text)",
			"CREATE UNIQUE INDEX `account_name_namespace_idx` ON `kubernetes_providers_namespaces`(`account_name`,`namespace`)",
			"CREATE TABLE `provider_read_permissions` (`id` text,`account_name` text,`read_group` text,PRIMARY KEY (`id`))",
			"CREATE INDEX `account_name_idx` ON `provider_read_permissions`(`account_name`)",
			"CREATE TABLE `provider_write_permissions` (`id` text,`account_name` text,`write_group` text,PRIMARY KEY (`id`))",
		}
	}
	return []string{
		"CREATE TABLE `kubernetes_providers` (`name` varchar(256),`host` varchar(256),`ca_data` text,`bearer_token` varchar(2048),`token_provider` varchar(128) NOT NULL DEFAULT 'google',`namespace` varchar(253),PRIMARY KEY (`name`))",
		"CREATE TABLE `kubernetes_resources` (`account_name` varchar(256),`id` varchar(256),`timestamp` timestamp DEFAULT current_timestamp,`task_id` varchar(256),`task_type` varchar(256),`api_group` varchar(256),`name` varchar(256),`artifact_name` varchar(256),`namespace` varchar(256),`resource` varchar(256),`version` varchar(256),`kind` varchar(256),`spinnaker_app` varchar(256),`cluster` varchar(256),PRIMARY KEY (`id`),INDEX `account_name_kind_name_spinnaker_app_idx` (`account_name`,`kind`,`name`,`spinnaker_app`),INDEX `task_id_idx` (`task_id`),INDEX `kind_idx` (`kind`))",
		"CREATE TABLE `kubernetes_providers_namespaces` (`account_name` varchar(256),`namespace` varchar(256),UNIQUE INDEX `account_name_namespace_idx` (`account_name`,`namespace`))",
		"CREATE TABLE `provider_read_permissions` (`id` varchar(256),`account_name` varchar(256),`read_group` varchar(256),PRIMARY KEY (`id`),INDEX `account_name_idx` (`account_name`))",
		"CREATE TABLE `provider_write_permissions` (`id` varchar(256),`account_name` varchar(256),`write_group` varchar(256),PRIMARY KEY (`id`),INDEX `account_name_idx` (`account_name`))",
	}
}

// olderVariant makes of the newest older schema one of those before it.
type olderVariant struct {
	name, charset string
	mysql, sqlite []string
}

var olderVariants = []olderVariant{
	{name: "newest", charset: "utf8mb3"},
	{name: "latin1", charset: "latin1"},
	{name: "no indexes", charset: "utf8mb3",
		mysql: []string{
			"DROP INDEX kind_idx ON kubernetes_resources", "DROP INDEX task_id_idx ON kubernetes_resources", "DROP INDEX account_name_kind_name_spinnaker_app_idx ON kubernetes_resources",
			"DROP INDEX account_name_namespace_idx ON kubernetes_providers_namespaces", "DROP INDEX account_name_idx ON provider_read_permissions", "DROP INDEX account_name_idx ON provider_write_permissions",
			"INSERT INTO kubernetes_providers_namespaces (account_name, namespace) VALUES ('twice', 'a'), ('twice', 'a'), ('twice', 'b')",
		},
		sqlite: []string{
			"DROP INDEX kind_idx", "DROP INDEX task_id_idx", "DROP INDEX account_name_kind_name_spinnaker_app_idx", "DROP INDEX account_name_namespace_idx", "DROP INDEX account_name_idx",
			"INSERT INTO kubernetes_providers_namespaces (account_name, namespace) VALUES ('twice', 'a'), ('twice', 'a'), ('twice', 'b')",
		}},
	{name: "indexes made by hand", charset: "utf8mb3",
		mysql: []string{
			"DROP INDEX account_name_kind_name_spinnaker_app_idx ON kubernetes_resources",
			"CREATE INDEX kind_account_name_kind_name_spinnaker_app_idx ON kubernetes_resources(account_name, kind, name, spinnaker_app)",
		},
		sqlite: []string{
			"DROP INDEX account_name_kind_name_spinnaker_app_idx", "DROP INDEX account_name_idx",
			"CREATE INDEX kind_account_name_kind_name_spinnaker_app_idx ON kubernetes_resources(account_name, kind, name, spinnaker_app)",
			"CREATE INDEX account_name_idx ON provider_write_permissions(account_name)",
		}},
	{name: "before namespaces had a table", charset: "utf8mb3", mysql: []string{"DROP TABLE kubernetes_providers_namespaces"}, sqlite: []string{"DROP TABLE kubernetes_providers_namespaces"}},
	{name: "before the namespace", charset: "utf8mb3",
		mysql:  []string{"DROP TABLE kubernetes_providers_namespaces", "ALTER TABLE kubernetes_providers DROP COLUMN namespace"},
		sqlite: []string{"DROP TABLE kubernetes_providers_namespaces", "ALTER TABLE kubernetes_providers DROP COLUMN namespace"}},
	{name: "first generation", charset: "utf8mb3",
		mysql: []string{
			"DROP TABLE kubernetes_providers_namespaces", "ALTER TABLE kubernetes_providers DROP COLUMN namespace, MODIFY name varchar(255), MODIFY ca_data varchar(2048)",
			"ALTER TABLE kubernetes_resources DROP COLUMN cluster, DROP COLUMN task_type, DROP COLUMN artifact_name, MODIFY id varchar(255)",
		},
		sqlite: []string{
			"DROP TABLE kubernetes_providers_namespaces", "ALTER TABLE kubernetes_providers DROP COLUMN namespace",
			"ALTER TABLE kubernetes_resources DROP COLUMN cluster", "ALTER TABLE kubernetes_resources DROP COLUMN task_type", "ALTER TABLE kubernetes_resources DROP COLUMN artifact_name",
		}},
	{name: "utf8mb4 without the long index", charset: "utf8mb4"},
	{name: "only the providers' table", charset: "utf8mb4",
		mysql:  []string{"DROP TABLE kubernetes_providers_namespaces, kubernetes_resources, provider_read_permissions, provider_write_permissions"},
		sqlite: []string{"DROP TABLE kubernetes_providers_namespaces", "DROP TABLE kubernetes_resources", "DROP TABLE provider_read_permissions", "DROP TABLE provider_write_permissions"}},
	{name: "token providers of 32 characters", charset: "utf8mb3", mysql: []string{"ALTER TABLE kubernetes_providers MODIFY token_provider varchar(32) NOT NULL DEFAULT 'google'"}},
}

// fillOlder puts rows in every table that is there: accounts with and without
// namespaces, an orphan of each kind, quotes and nulls.
var fillOlder = []string{
	"INSERT INTO kubernetes_providers (name, host, ca_data, token_provider) VALUES ('plain', 'https://a', 'YQ==', 'google'), ('quo''te \"; --', 'https://b', '', 'rancher'), ('nulls', NULL, NULL, 'google')",
	"UPDATE kubernetes_providers SET namespace = 'legacy' WHERE name = 'plain'",
	"UPDATE kubernetes_providers SET namespace = '  ' WHERE name = 'nulls'",
	"INSERT INTO kubernetes_providers_namespaces (account_name, namespace) VALUES ('plain', 'other'), ('orphan', 'x')",
	"INSERT INTO provider_read_permissions (id, account_name, read_group) VALUES ('1', 'plain', 'ops'), ('2', 'plain', 'dev'), ('3', 'orphan', 'x')",
	"INSERT INTO provider_write_permissions (id, account_name, write_group) VALUES ('1', 'plain', 'ops'), ('2', 'orphan', 'x')",
	"INSERT INTO kubernetes_resources (id, account_name, name, kind, spinnaker_app, timestamp) VALUES ('r1', 'plain', 'web-v001', 'ReplicaSet', 'web', '2024-01-02 03:04:05'), ('r2', 'orphan', 'x', 'Service', NULL, '2024-01-02 03:04:05')",
}

func (v olderVariant) make(t testing.TB, b backend) {
	t.Helper()
	db := b.raw(t)
	defer func() { _ = db.Close() }()
	isMySQL := b.options.MySQL != nil
	statements := olderSchema(isMySQL)
	if isMySQL && v.charset == "utf8mb4" {
		statements[1] = strings.Replace(statements[1], ",INDEX `account_name_kind_name_spinnaker_app_idx` (`account_name`,`kind`,`name`,`spinnaker_app`)", "", 1)
	}
	change := v.sqlite
	if isMySQL {
		change = v.mysql
	}
	for _, s := range append(statements, change...) {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	for _, s := range fillOlder {
		if _, err := db.Exec(s); err != nil && !strings.Contains(err.Error(), "no such") && !strings.Contains(err.Error(), "doesn't exist") && !strings.Contains(err.Error(), "Unknown column") {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// contents are the rows that adoption must not change, and what the store
// reads of them.
var contents = []string{
	"SELECT name, host, ca_data, bearer_token, token_provider FROM kubernetes_providers ORDER BY name",
	"SELECT DISTINCT account_name, namespace FROM kubernetes_providers_namespaces ORDER BY account_name, namespace",
	"SELECT id, account_name, read_group FROM provider_read_permissions ORDER BY id",
	"SELECT id, account_name, write_group FROM provider_write_permissions ORDER BY id",
	"SELECT id, account_name, name, kind, spinnaker_app, timestamp FROM kubernetes_resources ORDER BY id",
}

func snapshot(t testing.TB, b backend) map[string][]string {
	t.Helper()
	db := b.raw(t)
	defer func() { _ = db.Close() }()
	out := map[string][]string{}
	for _, q := range contents {
		table := strings.Fields(q[strings.Index(q, "FROM ")+5:])[0]
		if found, err := db.Query("SELECT 1 FROM " + table); err == nil {
			_ = found.Close()
			out[table] = tableRows(t, db, q)
		}
	}
	return out
}

// expectAdopted compares the rows of before with those of now: nothing is
// lost, and the legacy namespace is where readers look for it.
func expectAdopted(t *testing.T, b backend, before map[string][]string, hadNamespace bool) {
	t.Helper()
	after := snapshot(t, b)
	for table, want := range before {
		have := "\n" + strings.Join(after[table], "\n") + "\n"
		for _, row := range want {
			if !strings.Contains(have, "\n"+row+"\n") {
				t.Errorf("%s: row is gone: %s\nnow: %s", table, row, have)
			}
		}
		if table != "kubernetes_providers_namespaces" && len(after[table]) != len(want) {
			t.Errorf("%s: %d rows, %d before", table, len(after[table]), len(want))
		}
	}
	s := openStore(t, b.options)
	defer s.Close()
	p, err := s.Provider(context.Background(), "plain")
	if err != nil {
		t.Fatal(err)
	}
	want := "[]"
	if hadNamespace {
		want = "[legacy]"
	}
	if before["kubernetes_providers_namespaces"] != nil {
		want = strings.Replace(strings.Replace(want, "]", " other]", 1), "[ ", "[", 1)
	}
	if fmt.Sprint(p.Namespaces) != want {
		t.Errorf("namespaces are %v, want %s", p.Namespaces, want)
	}
}

func (v olderVariant) hasNamespace(isMySQL bool) bool {
	changes := strings.Join(v.sqlite, ";")
	if isMySQL {
		changes = strings.Join(v.mysql, ";")
	}
	return !strings.Contains(changes, "DROP COLUMN namespace")
}

func TestOlderDatabases_AreAdoptedInPlace(t *testing.T) {
	for _, v := range olderVariants {
		onEach(t, v.charset, func(t *testing.T, b backend) {
			t.Run(v.name, func(t *testing.T) {
				v.make(t, b)
				before := snapshot(t, b)
				openStore(t, b.options).Close()
				expectAdopted(t, b, before, v.hasNamespace(b.options.MySQL != nil))

				first := schemaOf(t, b)
				openStore(t, b.options).Close()
				if second := schemaOf(t, b); second != first {
					t.Errorf("a second start changed the schema from\n%s\nto\n%s", first, second)
				}
			})
		})
	}
}

// schemaOf is everything that a second start could change.
func schemaOf(t testing.TB, b backend) string {
	t.Helper()
	db := b.raw(t)
	defer func() { _ = db.Close() }()
	query := "SELECT sql FROM sqlite_master ORDER BY name"
	if b.options.MySQL != nil {
		query = "SELECT table_name, column_name, column_type, collation_name, is_nullable FROM information_schema.columns WHERE table_schema = DATABASE() ORDER BY 1, 2"
		return strings.Join(tableRows(t, db, query), "\n") + strings.Join(tableRows(t, db, "SELECT table_name, index_name, column_name FROM information_schema.statistics WHERE table_schema = DATABASE() ORDER BY 1, 2, 3"), "\n")
	}
	return strings.Join(tableRows(t, db, query), "\n")
}

func TestAdoption_SurvivesSIGKILLAtEveryStatement(t *testing.T) {
	for i, v := range olderVariants {
		// All statements of all variants take minutes: of most variants it is
		// every fourth, unless everything is asked for.
		stride := int64(4)
		if i == 0 || i == 6 || os.Getenv("INTEGRATION_EVERYTHING") != "" {
			stride = 1
		}
		for _, name := range []string{"SQLite", "MariaDB"} {
			t.Run(name+" "+v.name, func(t *testing.T) {
				t.Parallel() // most of the time is spent waiting for the database
				kills := 0
				for n := 1 + int64(i)%stride; ; n += stride {
					b := backend{name, storeOptions(t, nil)}
					if name == "MariaDB" {
						b.options.MySQL = newDatabase(t, v.charset)
					}
					v.make(t, b)
					before := snapshot(t, b)
					killed := migrateAndDie(t, b, n)
					openStore(t, b.options).Close() // the restart
					expectAdopted(t, b, before, v.hasNamespace(b.options.MySQL != nil))
					if !killed {
						break
					}
					kills++
				}
				if kills < 8 {
					t.Errorf("only %d statements were interrupted", kills)
				}
				t.Logf("%s, %s: killed at %d statements, one of every %d", name, v.name, kills, stride)
			})
		}
	}
}

func TestTwoReplicas_MigrateAtOnce(t *testing.T) {
	m := newDatabase(t, "utf8mb4")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s, err := store.Open(context.Background(), storeOptions(t, m))
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			if err := s.Migrate(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
