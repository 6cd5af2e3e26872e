package index

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unique"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// filled is an index with objects of a few kinds, as searches see them.
func filled(accounts, perKind int, mixed bool) *Index {
	ix := New(nil)
	r := rand.New(rand.NewPCG(1, 2))
	for a := range accounts {
		opened := newAccount(&account.Account{Name: fmt.Sprintf("prod-%d", a)}, ix)
		ix.accounts[opened.Name] = opened
		for _, kind := range []*Kind{{Text: "pod", Class: spinnaker.Instances}, {Text: "replicaSet", Class: spinnaker.ServerGroups}, {Text: "service", Class: spinnaker.LoadBalancers}} {
			k := &kindObjects{kind: kind}
			opened.kinds[kind.Text] = k
			for i := range perKind {
				app := fmt.Sprintf("app%d", r.IntN(50))
				if kind.Text == "service" && mixed && r.IntN(3) == 0 {
					app = "App" + app[3:] // as names of some kinds may be
				}
				o := &Object{Kind: kind, Namespace: fmt.Sprintf("team-%d", r.IntN(20)), Name: fmt.Sprintf("%s-%x-%d", app, r.IntN(1<<20), i)}
				o.moniker = unique.Make(spinnaker.Moniker{App: strings.ToUpper(app[:1]) + app[1:], Cluster: "deployment " + app})
				k.table.add(o)
			}
		}
	}
	return ix
}

// brute is the search as the contract says it, without any shortcut.
func (ix *Index) brute(q Search) (out []string, total int) {
	var hits []Hit
	text := strings.ToLower(q.Text)
	for _, a := range ix.accounts {
		for _, k := range a.kinds {
			if !slices.Contains(q.Classes, k.kind.Class) && !slices.Contains(q.Kinds, k.kind.Text) {
				continue
			}
			for o := range k.table.objects() {
				if q.Account != "" && q.Account != a.Name || q.Namespace != "" && q.Namespace != o.Namespace {
					continue
				}
				rank := noMatch
				for _, field := range []string{k.kind.Text, a.Name, o.Namespace, o.Name, o.Moniker().App, o.Moniker().Cluster} {
					if strings.Contains(strings.ToLower(field), text) {
						rank = elsewhere
					}
				}
				switch name := strings.ToLower(o.Name); {
				case rank == noMatch:
					continue
				case name == text, text != "" && strings.ToLower(o.Namespace) == text:
					rank = exact
				case strings.HasPrefix(name, text):
					rank = prefix
				case strings.Contains(name, text):
					rank = substring
				}
				hits = append(hits, Hit{a.Name, o, rank})
			}
		}
	}
	slices.SortFunc(hits, Hit.compare)
	total = len(hits)
	hits = hits[min(q.Skip, total):min(q.Skip+q.Most, total)]
	for _, h := range hits {
		out = append(out, h.Account+" "+h.Namespace+" "+h.Name)
	}
	return out, total
}

func TestSearch_EqualsABruteForceScan(t *testing.T) {
	ix := filled(3, 300, true)
	r := rand.New(rand.NewPCG(3, 4))
	texts := []string{"", "app7", "APP7", "team-3", "prod-1", "replica", "deployment app1", "nothing at all", "f", "service", "-1", "team-1"}
	for i := range 500 {
		q := Search{Text: texts[r.IntN(len(texts))], Classes: []spinnaker.Class{[]spinnaker.Class{spinnaker.ServerGroups, spinnaker.Instances, spinnaker.Configs}[r.IntN(3)]}, Skip: r.IntN(3) * 20, Most: 1 + r.IntN(50)}
		if r.IntN(2) == 0 {
			q.Kinds = []string{"service"}
		}
		if r.IntN(3) == 0 {
			q.Account = "prod-1"
		}
		if r.IntN(3) == 0 {
			q.Namespace = "team-3"
		}
		want, wantTotal := ix.brute(q)
		hits, total := ix.Search(q)
		var got []string
		for _, h := range hits {
			got = append(got, h.Account+" "+h.Namespace+" "+h.Name)
		}
		if total != wantTotal || !slices.Equal(got, want) {
			t.Fatalf("%d %+v: %d hits %v\nwant %d %v", i, q, total, got, wantTotal, want)
		}
	}
}

// searchMost is how long the 99th of 100 searches may take.
const searchMost = 5 * time.Millisecond

// BenchmarkSearch looks through 100,800 objects, for the first 500 hits of each
// text, against the limit and against a scan that gives the same hits.
func BenchmarkSearch(b *testing.B) {
	ix := filled(4, 8_400, false)
	for _, text := range []string{"app7", "team-3", "", "nothing at all"} {
		b.Run("text="+text, func(b *testing.B) {
			q := Search{Text: text, Classes: []spinnaker.Class{spinnaker.ServerGroups, spinnaker.Instances, spinnaker.LoadBalancers}, Most: 500}
			begin := time.Now()
			want, wantTotal := ix.brute(q)
			scan := time.Since(begin)
			var took []time.Duration
			var hits []Hit
			total := 0
			for b.Loop() {
				begin := time.Now()
				hits, total = ix.Search(q)
				took = append(took, time.Since(begin))
			}
			var got []string
			for _, h := range hits {
				got = append(got, h.Account+" "+h.Namespace+" "+h.Name)
			}
			if total != wantTotal || !slices.Equal(got, want) {
				b.Errorf("%d hits of %d, want %d of %d, or in another order", len(got), total, len(want), wantTotal)
			}
			slices.Sort(took)
			p99 := took[(len(took)*99+99)/100-1]
			if p99 > searchMost {
				b.Errorf("p99 %s of %d searches, at most %s is wanted", p99, len(took), searchMost)
			}
			b.ReportMetric(p99.Seconds()*1e3, "p99-ms")
			b.ReportMetric(float64(p99)/float64(searchMost), "p99/limit")
			b.ReportMetric(float64(scan)/float64(took[len(took)/2]), "scan/p50")
		})
	}
}
