package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// TestCleanUp_LeavesWhatTheOlderReadmesStatementsLeave compares our clean-up
// with the two statements that the older rewrite has people run, on random
// rows with many duplicates.
func TestCleanUp_LeavesWhatTheOlderReadmesStatementsLeave(t *testing.T) {
	const count = 1500
	onEach(t, "utf8mb4", func(t *testing.T, b backend) {
		s := openStore(t, b.options)
		random := rand.New(rand.NewPCG(1, 2))
		pick := func(prefix string, n int) string { return fmt.Sprint(prefix, random.IntN(n)) }
		var rows []store.Resource
		for range count {
			r := store.Resource{
				AccountName: "a", ID: fmt.Sprintf("%016x", random.Uint64()), Timestamp: time.Now().Add(-time.Duration(random.IntN(12*60)+5) * time.Minute),
				Name: pick("n", 40), Namespace: pick("ns", 2), Kind: pick("k", 2), Version: "v1", Resource: "r", APIGroup: pick("", 2),
			}
			if random.IntN(3) > 0 {
				r.Cluster = pick("c", 2)
			}
			// None within a minute of the limit, so that both sides see the same.
			if age := time.Since(r.Timestamp); age > 359*time.Minute && age < 362*time.Minute {
				r.Timestamp = r.Timestamp.Add(10 * time.Minute)
			}
			rows = append(rows, r)
		}
		if err := s.ReplaceResources(context.Background(), "a", rows); err != nil {
			t.Fatal(err)
		}
		db := b.raw(t)
		defer func() { _ = db.Close() }()
		statements := []string{
			"CREATE TABLE expected AS SELECT * FROM kubernetes_resources",
			"DELETE FROM expected WHERE cluster = '' AND timestamp < (UTC_TIMESTAMP() - INTERVAL 6 HOUR)",
			`DELETE t1 FROM expected t1 INNER JOIN expected t2 WHERE t1.id < t2.id AND t1.account_name = t2.account_name AND
				t1.api_group = t2.api_group AND t1.name = t2.name AND t1.namespace = t2.namespace AND t1.resource = t2.resource AND
				t1.version = t2.version AND t1.kind = t2.kind AND t1.cluster = t2.cluster AND t1.timestamp < (UTC_TIMESTAMP() - INTERVAL 6 HOUR)`,
		}
		if b.options.MySQL == nil {
			statements[1] = "DELETE FROM expected WHERE cluster = '' AND timestamp < datetime('now', '-6 hours')"
			statements[2] = `DELETE FROM expected AS t1 WHERE timestamp < datetime('now', '-6 hours') AND EXISTS (SELECT 1 FROM kubernetes_resources t2 WHERE
				t1.id < t2.id AND t1.account_name = t2.account_name AND t1.api_group = t2.api_group AND t1.name = t2.name AND t1.namespace = t2.namespace AND
				t1.resource = t2.resource AND t1.version = t2.version AND t1.kind = t2.kind AND t1.cluster = t2.cluster)`
		}
		for _, statement := range statements {
			if _, err := db.Exec(statement); err != nil {
				t.Fatal(statement, err)
			}
		}
		var removed int64
		err := s.CleanResources(context.Background(), store.CleanUp{OlderThan: 6 * time.Hour, Batch: 200, Removed: func(n int64) { removed += n }},
			func(context.Context) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		want, got := tableRows(t, db, "SELECT id FROM expected ORDER BY id"), tableRows(t, db, "SELECT id FROM kubernetes_resources ORDER BY id")
		if !slices.Equal(got, want) {
			t.Errorf("%d rows are left, want %d; first of each: %s, %s", len(got), len(want), strings.Join(got[:1], ""), strings.Join(want[:1], ""))
		}
		if removed != int64(count-len(got)) || removed == 0 {
			t.Errorf("%d rows reported as removed, %d are", removed, count-len(got))
		}
		t.Logf("%s: %d of %d rows left", b.name, len(got), count)
	})
}

func TestLease_HasOneOwnerAndFencesTheOneBefore(t *testing.T) {
	onEach(t, "utf8mb4", func(t *testing.T, b backend) {
		s, ctx := openStore(t, b.options), context.Background()
		first, err := s.Acquire(ctx, "work", "one", 300*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Acquire(ctx, "work", "two", time.Minute); err == nil {
			t.Error("two owners at once")
		}
		if err := first.Renew(ctx); err != nil {
			t.Error(err)
		}
		var second *store.Lease
		eventually(t, 10*time.Second, func() error { // the first one's life ends
			second, err = s.Acquire(ctx, "work", "two", time.Minute)
			return err
		})
		if second.Fence <= first.Fence {
			t.Errorf("fence %d after %d", second.Fence, first.Fence)
		}
		if err := first.Renew(ctx); err == nil {
			t.Error("a lease that was lost is renewed")
		}
		if err := second.Release(ctx); err != nil {
			t.Error(err)
		}
		if _, err := s.Acquire(ctx, "work", "one", time.Minute); err != nil {
			t.Error("a released lease cannot be had:", err)
		}
	})
}
