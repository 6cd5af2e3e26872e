package integration

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/localkube"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// accountLists measures GET /credentials with many watched accounts against
// writing the same bytes from memory.
func accountLists(b *testing.B, c *localkube.Cluster, t *table) {
	b.Helper()
	const accounts = 1500
	cfg := settings()
	yes := true
	for i := range accounts {
		cfg.Kubernetes.Accounts = append(cfg.Kubernetes.Accounts, config.Account{
			Name: fmt.Sprintf("account-%04d", i), KubeconfigContents: string(c.Kubeconfig()), OnlySpinnakerManaged: &yes,
			Kinds: []string{"job"}, Permissions: map[string][]string{"READ": {"devs", "ops"}, "WRITE": {"ops"}},
		})
	}
	s := start(b, cfg)
	select {
	case <-s.fleet.Settled():
	case <-time.After(10 * time.Minute):
		b.Fatal("the accounts are not settled")
	}
	defer s.stop()
	for _, path := range []string{"/credentials?expand=true", "/credentials"} {
		request := httptest.NewRequest(http.MethodGet, path, nil)
		ask := func(h http.Handler) []byte {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, request)
			if w.Code != http.StatusOK {
				b.Fatal(w.Code, w.Body)
			}
			return w.Body.Bytes()
		}
		body := slices.Clone(ask(s.handler))
		bare := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(body)
		})
		// Watches go on beside, so the quietest of some counts.
		requests := int64(math.MaxInt64)
		ours := best(20, func() time.Duration {
			before := s.requests.Load()
			took := timed(func() { ask(s.handler) })
			requests = min(requests, s.requests.Load()-before)
			return took
		})
		allocs := testing.AllocsPerRun(20, func() { ask(s.handler) })
		memory := best(20, func() time.Duration { return timed(func() { ask(bare) }) })
		t.add(fmt.Sprintf("GET %s, %d accounts", path, accounts),
			fmt.Sprintf("%d bytes, %s (bytes from memory %s), %.0f allocations, %d cluster requests", len(body), round(ours), round(memory), allocs, requests),
			"0 cluster requests", requests == 0)
	}
}

func timed(f func()) time.Duration {
	begin := time.Now()
	f()
	return time.Since(begin)
}

// BenchmarkCleanUp removes old rows of a table of a million while rows are
// inserted at 50 a second.
func BenchmarkCleanUp(b *testing.B) {
	t := &table{}
	cleanUp(b, t, "SQLite", backend{"SQLite", storeOptions(b, nil)})
	cleanUp(b, t, "MariaDB", backend{"MariaDB", storeOptions(b, newDatabase(b, "utf8mb4"))})
	fmt.Print(t)
	for b.Loop() {
	}
}

func cleanUp(b *testing.B, t *table, name string, database backend) {
	b.Helper()
	const (
		rows    = 1_000_000
		objects = 400_000 // each written two or three times
		recent  = 100_000 // the last ones
		rate    = 50
	)
	s, ctx := openStore(b, database.options), context.Background()
	db := database.raw(b)
	defer func() { _ = db.Close() }()
	hasCluster := func(i int) bool { return i%objects%5 != 0 }
	values := `printf('%016d', i), CASE WHEN i < 900000 THEN datetime('now', '-1 day') ELSE datetime('now') END, 'name-' || (i % 400000), CASE WHEN i % 400000 % 5 = 0 THEN '' ELSE 'c' END FROM n`
	fill := `WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999999) `
	if database.options.MySQL != nil {
		values = `LPAD(seq, 16, '0'), CASE WHEN seq < 900000 THEN UTC_TIMESTAMP() - INTERVAL 1 DAY ELSE UTC_TIMESTAMP() END, CONCAT('name-', seq % 400000), CASE WHEN seq % 400000 % 5 = 0 THEN '' ELSE 'c' END FROM seq_0_to_999999`
		fill = ""
	}
	columns := "kubernetes_resources (account_name, kind, api_group, namespace, resource, version, spinnaker_app, id, timestamp, name, cluster)"
	constants := "SELECT 'a', 'Deployment', 'apps', 'ns', 'deployments', 'v1', 'app', "
	statement := fill + "INSERT INTO " + columns + " " + constants + values
	if _, err := db.Exec(statement); err != nil {
		b.Fatal(statement, err)
	}
	p99 := func(until <-chan struct{}) (time.Duration, int) {
		var took []time.Duration
		tick := time.NewTicker(time.Second / rate)
		defer tick.Stop()
		for {
			select {
			case <-until:
				slices.Sort(took)
				return took[len(took)*99/100], len(took)
			case <-tick.C:
				took = append(took, timed(func() {
					id := fmt.Sprintf("new-%d", time.Now().UnixNano())
					if err := s.ReplaceResources(ctx, id, []store.Resource{{AccountName: id, ID: id, Timestamp: time.Now(), Name: "new", Kind: "Pod"}}); err != nil {
						b.Error(err)
					}
				}))
			}
		}
	}
	quietly := make(chan struct{})
	time.AfterFunc(10*time.Second, func() { close(quietly) })
	quiet, _ := p99(quietly)
	runtime.GC()
	var begin runtime.MemStats
	runtime.ReadMemStats(&begin)
	var peak atomic.Uint64
	done := make(chan struct{})
	var removed int64
	var took time.Duration
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		took = timed(func() {
			err := s.CleanResources(ctx, store.CleanUp{OlderThan: 6 * time.Hour, Batch: 500, Pause: 20 * time.Millisecond, Removed: func(n int64) {
				removed += n
				var now runtime.MemStats
				runtime.ReadMemStats(&now)
				peak.Store(max(peak.Load(), now.HeapAlloc))
			}}, func(context.Context) error { return nil })
			if err != nil {
				b.Error(err)
			}
		})
	})
	busy, inserts := p99(done)
	wg.Wait()
	// What the two statements of the older README leave: every recent row, and
	// of the old ones with a cluster the last of each object.
	var want []string
	for i := range rows {
		last := i+objects >= rows
		if i >= rows-recent || hasCluster(i) && last {
			want = append(want, fmt.Sprintf("%016d", i))
		}
	}
	got := ids(b, db, "SELECT id FROM kubernetes_resources WHERE id < 'new' ORDER BY id")
	same := slices.Equal(got, want)
	t.add(name+": clean-up of a million rows", fmt.Sprintf("%d removed in %s, heap +%d KB; %d left", removed, took.Round(time.Second), (max(peak.Load(), begin.HeapAlloc)-begin.HeapAlloc)>>10, len(got)), "as the old statements", same)
	t.add(name+": p99 of an insert, with / without", fmt.Sprintf("%s / %s (%d inserts, 50/s)", round(busy), round(quiet), inserts), "at most 50ms more", busy-quiet <= 50*time.Millisecond)
}

func ids(b *testing.B, db *sql.DB, query string) []string {
	b.Helper()
	rows, err := db.Query(query)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var out []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			b.Fatal(err)
		}
		out = append(out, id)
	}
	return out
}
