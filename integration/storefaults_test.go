package integration

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// TestFullDisk_RefusesWritesAndGoesOnReading keeps SQLite on a file system of
// 2 MB.
func TestFullDisk_RefusesWritesAndGoesOnReading(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		if os.Getenv("CI") == "" {
			t.Skip("a tmpfs can only be mounted by root:", err)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	o := storeOptions(t, nil)
	o.Path = filepath.Join(dir, "clouddriver.db")
	arcade, _ := fakeArcade(t, "x")
	s := startReplica(t, o, arcade)
	ca := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("c", 30<<10)))
	provider := func(i int) string { return fmt.Sprintf(`{"name":"p%d","caData":%q,"namespaces":["a","b"]}`, i, ca) }
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 256<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	created, refused := 0, response{}
	for i := range 100 {
		if r := s.send(t, "POST", providersPath, provider(i)); r.status != http.StatusCreated {
			refused = r
			break
		}
		created++
	}
	if refused.status != http.StatusServiceUnavailable || !strings.Contains(refused.body, "full") || refused.header.Get("Retry-After") == "" {
		t.Errorf("after %d providers: %d %q", created, refused.status, refused.body)
	}
	var listed []map[string]any
	s.get(t, "/credentials").into(t, &listed)
	if len(listed) != created {
		t.Errorf("%d accounts, %d were created", len(listed), created)
	}
	if r := s.get(t, providersPath+fmt.Sprint("/p", created)); r.status != http.StatusNotFound {
		t.Errorf("the refused one: %d %s", r.status, r.body)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if r := s.send(t, "POST", providersPath, provider(created)); r.status != http.StatusCreated {
		t.Errorf("with space again: %d %s", r.status, r.body)
	}
}

func TestReadOnlyDatabase_RefusesWritesWithTheReason(t *testing.T) {
	address, run := privateMariaDB(t)
	m := newDatabaseAt(t, address, "utf8mb4")
	m.User = "reader" // who may not write when the server is read-only
	arcade, _ := fakeArcade(t, "x")
	s := startReplica(t, storeOptions(t, m), arcade)
	if r := s.send(t, "POST", providersPath, `{"name":"before","namespaces":["a"]}`); r.status != http.StatusCreated {
		t.Fatal(r.status, r.body)
	}
	run(`mariadb -e 'SET GLOBAL read_only = 1'`)
	for method, path := range map[string]string{"POST": "", "PUT": "", "DELETE": "/before"} {
		r := s.send(t, method, providersPath+path, `{"name":"during"}`)
		if r.status != http.StatusServiceUnavailable || !strings.Contains(r.body, "read-only") || r.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", method, r.status, r.body)
		}
	}
	if r := s.get(t, providersPath+"/before"); r.status != http.StatusOK || !strings.Contains(r.body, `"namespaces":["a"]`) {
		t.Errorf("read: %d %s", r.status, r.body)
	}
	run(`mariadb -e 'SET GLOBAL read_only = 0'`)
	if r := s.send(t, "POST", providersPath, `{"name":"after"}`); r.status != http.StatusCreated {
		t.Errorf("writable again: %d %s", r.status, r.body)
	}
}

// TestMySQLKilledUnderLoad_LeavesNothingHalfDone replaces providers, each with
// namespaces and groups that carry one number, while the server is killed.
func TestMySQLKilledUnderLoad_LeavesNothingHalfDone(t *testing.T) {
	const writers = 6
	address, run := privateMariaDB(t)
	o := storeOptions(t, newDatabaseAt(t, address, "utf8mb4"))
	o.Timeout = 2 * time.Second
	arcade, _ := fakeArcade(t, "x")
	s := startReplica(t, o, arcade)
	var stop atomic.Bool
	var answered, refused, reads atomic.Int64
	last := make([]int, writers) // the last number that was answered with 200
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := 1; !stop.Load(); n++ {
				body := fmt.Sprintf(`{"name":"p%d","host":"https://h%d","namespaces":["a%d","b%d"],"permissions":{"read":["r%d","w%d"],"write":["w%d"]}}`, w, n, n, n, n, n, n)
				switch r := s.send(t, "PUT", providersPath, body); r.status {
				case http.StatusOK:
					last[w] = n
					answered.Add(1)
				case http.StatusServiceUnavailable:
					refused.Add(1)
				default:
					t.Error(r.status, r.body)
				}
			}
		})
	}
	wg.Go(func() {
		for !stop.Load() {
			if r := s.get(t, "/applications"); r.status != http.StatusOK {
				t.Error("a read from memory:", r.status, r.body)
			}
			reads.Add(1)
			time.Sleep(10 * time.Millisecond)
		}
	})
	more := func(n int64, counter *atomic.Int64) {
		t.Helper()
		until := counter.Load() + n
		eventually(t, time.Minute, func() error {
			if counter.Load() < until {
				return errors.New("no progress")
			}
			return nil
		})
	}
	for range 3 {
		more(20, &answered)
		run(`touch /tmp/hold; kill -9 $(cat /run/mysqld/server.pid)`)
		more(5, &refused)
		run(`rm /tmp/hold`)
		more(20, &answered)
	}
	stop.Store(true)
	wg.Wait()
	for w := range writers {
		var p struct {
			Host        string
			Namespaces  []string
			Permissions struct{ Read, Write []string }
		}
		r := s.get(t, fmt.Sprint(providersPath, "/p", w))
		if err := json.Unmarshal([]byte(r.body), &p); err != nil || r.status != http.StatusOK {
			t.Fatal(r.status, r.body)
		}
		var n int
		if _, err := fmt.Sscanf(p.Host, "https://h%d", &n); err != nil || n < last[w] {
			t.Errorf("provider %d is at %s, %d was answered", w, p.Host, last[w])
		}
		whole := fmt.Sprintf("[a%d b%d] [r%d w%d] [w%d]", n, n, n, n, n)
		if got := fmt.Sprint(p.Namespaces, p.Permissions.Read, p.Permissions.Write); strings.ReplaceAll(got, "] [", "][") != strings.ReplaceAll(whole, "] [", "][") {
			t.Errorf("half done: %s", r.body)
		}
	}
	t.Logf("%d writes answered, %d refused, %d reads from memory", answered.Load(), refused.Load(), reads.Load())
}

// TestProviderInput_IsRefusedOrHeldApart: what no text of accounts.md 3.3
// covers.
func TestProviderInput_IsRefusedOrHeldApart(t *testing.T) {
	arcade, _ := fakeArcade(t, "x")
	s := startReplica(t, storeOptions(t, nil), arcade)
	// The older rewrite takes any base64; the account says what is wrong.
	if r := s.send(t, "POST", providersPath, `{"name":"no-pem","host":"https://127.0.0.1:1","caData":"dGVzdA=="}`); r.status != http.StatusCreated {
		t.Fatal(r.status, r.body)
	}
	eventually(t, 10*time.Second, func() error {
		if a := statusOf(s, "no-pem"); !strings.Contains(a.Message, "caData") {
			return fmt.Errorf("%+v", a)
		}
		return nil
	})
	if r := s.get(t, "/credentials/no-pem"); r.status != http.StatusOK {
		t.Error(r.status, r.body)
	}
}

// killedWrites are the kinds of provider write.
var killedWrites = map[string]func(context.Context, *store.Store) error{
	"create": func(ctx context.Context, s *store.Store) error {
		return s.CreateProvider(ctx, store.Provider{Name: "p", Host: "h", TokenProvider: "x", Namespaces: []string{"a", "b"}, ReadGroups: []string{"r"}, WriteGroups: []string{"r"}})
	},
	"put": func(ctx context.Context, s *store.Store) error {
		return s.PutProvider(ctx, store.Provider{Name: "p", Host: "h2", Namespaces: []string{"c"}, ReadGroups: []string{"s", "t"}, Sealed: store.Sealed{KeyID: "k", Text: "s"}})
	},
	"replace resources": func(ctx context.Context, s *store.Store) error {
		return s.ReplaceResources(ctx, "p", []store.Resource{{ID: "1", AccountName: "p", Kind: "Pod"}, {ID: "2", AccountName: "p", Kind: "Pod"}})
	},
	"delete": func(ctx context.Context, s *store.Store) error { return s.DeleteProvider(ctx, "p") },
}

// TestProviderWrites_SurviveAKill kills the process before each statement of
// every kind of provider write: all of it is there afterwards, or nothing.
func TestProviderWrites_SurviveAKill(t *testing.T) {
	onEach(t, "utf8mb4", func(t *testing.T, b backend) {
		first, err := store.Open(context.Background(), b.options)
		if err != nil {
			t.Fatal(err)
		}
		err = first.Migrate(context.Background())
		first.Close()
		if err != nil {
			t.Fatal(err)
		}
		db := b.raw(t)
		defer func() { _ = db.Close() }()
		state := func() string {
			var out []string
			for _, table := range []string{"kubernetes_providers", "kubernetes_providers_namespaces", "provider_read_permissions", "provider_write_permissions", "clouddriver_tokens", "clouddriver_markers", "kubernetes_resources"} {
				out = append(out, table)
				out = append(out, tableRows(t, db, "SELECT * FROM "+table)...)
			}
			return strings.Join(out, "\n")
		}
		kills := 0
		for _, write := range []string{"create", "replace resources", "put", "delete"} {
			before := state()
			for n := int64(1); die(t, killerInput{b.options.MySQL, b.options.Path, n, write}); n++ {
				kills++
				if after := state(); after != before {
					t.Errorf("%s killed before statement %d left\n%s\nof\n%s", write, n, after, before)
				}
			}
			if state() == before {
				t.Errorf("%s changed nothing", write)
			}
		}
		t.Logf("%s: killed before %d statements", b.name, kills)
	})
}
