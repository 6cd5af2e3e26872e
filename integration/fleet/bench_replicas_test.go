package fleet

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// soon is how long a small fleet may take.
const soon = 2 * time.Minute

// replicas is what API servers have of one, three and five replicas: each watches all
// of them. Their database is no part of it, so each has its own here.
func replicas(b *testing.B, t *table) {
	b.Helper()
	const size, rest = 60, 30 * time.Second
	var alone Stats
	for _, n := range []int{1, 3, 5} {
		f := fleetOf(b, size)
		running := make([]*process, n)
		for i := range running {
			running[i] = serve(b, f, b.TempDir())
		}
		for _, p := range running {
			p.awaitCalm(b, soon)
		}
		began := f.Stats()
		during(rest, func(ctx context.Context) { <-ctx.Done() })
		rested := f.Stats()
		most := int64(0)
		for i, old := range running {
			running[i] = serve(b, f, b.TempDir())
			running[i].awaitCalm(b, soon)
			most = max(most, f.Stats().Watches)
			old.stop()
		}
		updated := f.Stats()
		for _, p := range running {
			p.stop()
		}
		_ = f.Close()
		each := func(n int64) float64 { return float64(n) / size }
		minutes := rest.Minutes()
		t.add(fmt.Sprintf("%d replicas, of each cluster", n), fmt.Sprintf(
			"start of all: %.0f requests, %.0f KiB, at most %d lists at once; at rest: %.0f watches, %.1f requests and %.1f KiB a minute; rolling update: %.0f requests, %.0f KiB, at most %.0f watches",
			each(began.Requests), each(began.Bytes)/1024, began.Crowd, each(rested.Watches), each(rested.Requests-began.Requests)/minutes, each(rested.Bytes-began.Bytes)/1024/minutes,
			each(updated.Requests-rested.Requests), each(updated.Bytes-rested.Bytes)/1024, each(most)),
			"as many times one replica's", n == 1 || began.Requests <= int64(n)*alone.Requests*11/10 && rested.Watches <= int64(n)*alone.Watches)
		if n == 1 {
			alone = began
			alone.Watches = rested.Watches
		}
	}
}

// halves splits the accounts between two services, of which the first asks the second
// for its part, and compares with one that has all.
func halves(b *testing.B, t *table) {
	b.Helper()
	const size = 300
	f := fleetOf(b, size)
	defer func() { _ = f.Close() }()
	measure := func(p *process) (lists, all []time.Duration, failed int) {
		during(5*time.Second, func(ctx context.Context) { _, _ = p.reads(ctx, listPath, 100) })
		during(10*time.Second, func(ctx context.Context) { lists, failed = p.reads(ctx, listPath, 100) })
		during(5*time.Second, func(ctx context.Context) {
			var more int
			all, more = p.reads(ctx, func() string { return "/applications" }, 10)
			failed += more
		})
		return lists, all, failed
	}
	one := serve(b, f, b.TempDir())
	one.awaitCalm(b, soon)
	listsOne, allOne, failedOne := measure(one)
	whole := one.used()
	one.stop()
	second := serveSome(b, f, f.Clusters()[size/2:], b.TempDir())
	defer second.stop()
	first := serveSome(b, f, f.Clusters()[:size/2], b.TempDir(), "FALLBACK_URL="+second.URL)
	defer first.stop()
	second.awaitCalm(b, soon)
	first.awaitCalm(b, soon)
	lists, all, failed := measure(first)
	t.add("two halves joined by FALLBACK_URL", fmt.Sprintf("list views p50 %s, p99 %s (one: %s, %s); /applications p50 %s (one: %s); %d and %d MiB at the peak (one: %d); %d failed (%d)",
		ms(median(lists)), ms(p99(lists)), ms(median(listsOne)), ms(p99(listsOne)), ms(median(all)), ms(median(allOne)), first.used().top/mib, second.used().top/mib, whole.top/mib, failed, failedOne), "none fails", failed+failedOne == 0)
}
