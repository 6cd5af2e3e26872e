package integration

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"

	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

const (
	// mariadbImage is used where it can be pulled; mariadbLocal is made of
	// Debian's packages where it cannot.
	mariadbImage = "mariadb:11"
	mariadbLocal = "clouddriver-test/mariadb:bookworm"
)

var mariadb struct {
	once    sync.Once
	address string
	err     error
}

// startMariaDB runs one server for the whole package. MySQL itself cannot be
// had from Debian; MariaDB speaks its protocol and is what we test on.
func startMariaDB(t testing.TB) string {
	t.Helper()
	mariadb.once.Do(func() {
		var c testcontainers.Container
		c, mariadb.address, mariadb.err = runMariaDB(testcontainers.WithTmpfs(map[string]string{"/var/lib/mysql": "rw"}))
		if c != nil {
			stopMariaDB = func() { _ = c.Terminate(context.Background()) } // at the end there is nobody to tell
		}
	})
	needEngine(t, mariadb.err)
	return mariadb.address
}

var stopMariaDB = func() {}

var errNoEngine = errors.New("no Docker engine for the MySQL tests")

func needEngine(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, errNoEngine) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// privateMariaDB is a server of the test's own, which comes back after a kill
// once the hold is lifted.
func privateMariaDB(t testing.TB) (address string, run func(script string)) {
	t.Helper()
	c, address, err := runMariaDB()
	if c != nil {
		t.Cleanup(func() { _ = c.Terminate(context.Background()) }) // at the end there is nobody to tell
	}
	needEngine(t, err)
	return address, func(script string) {
		t.Helper()
		code, out, err := c.Exec(context.Background(), []string{"sh", "-c", script})
		if err != nil || code != 0 {
			text, _ := io.ReadAll(out)
			t.Fatalf("%s: %d %v %s", script, code, err, text)
		}
	}
}

// pulledOrMade is an image that the engine has or pulls, else the one of a kind
// that is made of Debian's packages.
func pulledOrMade(image, kind, made string) (string, error) {
	if err := exec.Command("docker", "info").Run(); err != nil {
		return "", fmt.Errorf("%w: %w", errNoEngine, err)
	}
	has := func(image string) bool { return exec.Command("docker", "image", "inspect", image).Run() == nil }
	if has(image) || exec.Command("docker", "pull", "-q", image).Run() == nil {
		return image, nil
	}
	if has(made) {
		return made, nil
	}
	if out, err := exec.Command("./debian-image.sh", kind, made).CombinedOutput(); err != nil {
		return "", fmt.Errorf("make the image %s of Debian's packages: %w: %s", made, err, out[max(0, len(out)-2000):])
	}
	return made, nil
}

func runMariaDB(options ...testcontainers.ContainerCustomizer) (testcontainers.Container, string, error) {
	image, err := pulledOrMade(mariadbImage, "mariadb", mariadbLocal)
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for name, value := range map[string]string{
		"TESTCONTAINERS_RYUK_DISABLED": "true", // its image cannot be pulled everywhere; the tests clean up
		"TESTCONTAINERS_HOST_OVERRIDE": "127.0.0.1",
	} {
		if os.Getenv(name) != "" {
			continue // for an engine elsewhere
		}
		if err := os.Setenv(name, value); err != nil {
			return nil, "", err
		}
	}
	c, err := testcontainers.Run(ctx, image, append(options,
		testcontainers.WithEntrypoint("sh", "-c", `set -e
mkdir -p /run/mysqld /var/lib/mysql && chown mysql /run/mysqld /var/lib/mysql
[ -d /var/lib/mysql/mysql ] || mariadb-install-db --user=mysql > /dev/null
cat > /tmp/init.sql <<'END'
CREATE USER IF NOT EXISTS clouddriver@'%' IDENTIFIED BY 'secret';
GRANT ALL ON *.* TO clouddriver@'%';
CREATE USER IF NOT EXISTS reader@'%' IDENTIFIED BY 'secret';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, INDEX, ALTER, DROP ON *.* TO reader@'%';
END
set +e
trap 'kill $(cat /run/mysqld/server.pid); exit' TERM
while :; do
  [ -e /tmp/hold ] || mariadbd --user=mysql --init-file=/tmp/init.sql --bind-address=0.0.0.0 --skip-name-resolve --max-connections=500 --pid-file=/run/mysqld/server.pid &
  wait
  sleep 0.1
done`),
		testcontainers.WithExposedPorts("3306/tcp"),
		testcontainers.WithWaitStrategyAndDeadline(time.Minute, wait.ForListeningPort("3306/tcp").SkipInternalCheck()))...)
	if err != nil {
		return c, "", fmt.Errorf("start %s: %w", image, err)
	}
	address, err := c.PortEndpoint(ctx, "3306/tcp", "")
	return c, address, err
}

// backend is a database for one test.
type backend struct {
	name    string
	options store.Options
}

var databases atomic.Int64

// onEach runs a test on SQLite and on MariaDB. charset is MariaDB's for the
// database.
func onEach(t *testing.T, charset string, test func(t *testing.T, b backend)) {
	t.Helper()
	t.Run("SQLite", func(t *testing.T) {
		test(t, backend{"SQLite", storeOptions(t, nil)})
	})
	t.Run("MariaDB", func(t *testing.T) {
		test(t, backend{"MariaDB", storeOptions(t, newDatabase(t, charset))})
	})
}

func newDatabase(t testing.TB, charset string) *store.MySQL {
	t.Helper()
	return newDatabaseAt(t, startMariaDB(t), charset)
}

func newDatabaseAt(t testing.TB, address, charset string) *store.MySQL {
	t.Helper()
	m := &store.MySQL{Host: address, Name: fmt.Sprintf("test%d", databases.Add(1)), User: "clouddriver", Password: "secret", ConnectTimeout: 5 * time.Second}
	db, err := sql.Open("mysql", fmt.Sprintf("%s:%s@tcp(%s)/", m.User, m.Password, m.Host))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	eventually(t, 30*time.Second, func() error {
		_, err := db.Exec("CREATE DATABASE IF NOT EXISTS " + m.Name + " CHARACTER SET " + charset)
		return err
	})
	return m
}

func storeOptions(t testing.TB, m *store.MySQL) store.Options {
	t.Helper()
	return store.Options{
		MySQL: m, Path: filepath.Join(t.TempDir(), "clouddriver.db"),
		Timeout: 20 * time.Second, MigrationTimeout: time.Minute, MaxOpen: 10, MaxIdle: 4, Lifetime: time.Minute,
	}
}

func openStore(t testing.TB, o store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.Migrate(context.Background()); err != nil {
		t.Fatal(err)
	}
	return s
}

// raw is a connection that knows nothing of the store.
func (b backend) raw(t testing.TB) *sql.DB {
	t.Helper()
	name, dsn := "sqlite", "file:"+(&url.URL{Path: b.options.Path}).EscapedPath()
	if m := b.options.MySQL; m != nil {
		c := mysql.NewConfig()
		c.Net, c.Addr, c.User, c.Passwd, c.DBName, c.MultiStatements = "tcp", m.Host, m.User, m.Password, m.Name, true
		name, dsn = "mysql", c.FormatDSN()
	}
	db, err := sql.Open(name, dsn)
	if err != nil {
		t.Fatal(err)
	}
	return db
}
