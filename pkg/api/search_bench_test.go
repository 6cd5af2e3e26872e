package api

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// unread is a caller that keeps nothing.
type unread struct {
	header http.Header
	status int
}

func (u *unread) Header() http.Header         { return u.header }
func (u *unread) WriteHeader(status int)      { u.status = status }
func (u *unread) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkSearch asks GET /search as Deck does, over 100,800 objects of four
// accounts, and compares whole answers with the limit that the search itself
// has to keep (pkg/index).
func BenchmarkSearch(b *testing.B) {
	const limit = 5 * time.Millisecond
	ix, handler := bare(b, config.Server{MaxInFlight: 10, MaxStreams: 1, NotSyncedDeadline: time.Second})
	r := rand.New(rand.NewPCG(1, 2))
	for a := range 4 {
		open := ix.Open(&account.Account{Name: fmt.Sprintf("prod-%d", a), DeriveNames: true})
		for _, kind := range []cluster.Resource{
			{Version: "v1", Plural: "pods", Kind: "Pod", Namespaced: true, Watchable: true}, {Group: "apps", Version: "v1", Plural: "replicasets", Kind: "ReplicaSet", Namespaced: true, Watchable: true},
			{Version: "v1", Plural: "services", Kind: "Service", Namespaced: true, Watchable: true},
		} {
			decode, stream := open.Open(kind, &watch.Stream{Kind: kind.KindText()})
			for i := range 8_400 {
				app := fmt.Sprintf("app%d", r.IntN(50))
				text := fmt.Sprintf(`{"metadata":{"name":"%s-%x-%d","namespace":"team-%d","uid":"%d-%s-%d","resourceVersion":"%d","annotations":{"moniker.spinnaker.io/application":%q,"moniker.spinnaker.io/cluster":"deployment %s"}}}`,
					app, r.IntN(1<<20), i, r.IntN(20), a, kind.Kind, i, i+1, app, app)
				o, err := decode([]byte(text))
				if err != nil {
					b.Fatal(err)
				}
				stream.Upsert(o)
			}
		}
	}
	for _, text := range []string{"app7", "team-3", "prod", "nothing+at+all"} {
		b.Run("q="+text, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				w, r := &unread{header: http.Header{}, status: http.StatusOK}, httptest.NewRequest(http.MethodGet, "/search?type=serverGroups,instances,loadBalancers&platform=kubernetes&pageSize=500&page=1&q="+text, nil)
				begin := time.Now()
				handler.ServeHTTP(w, r)
				took = append(took, time.Since(begin))
				if w.status != http.StatusOK {
					b.Fatal(w.status)
				}
			}
			slices.Sort(took)
			p99 := took[(len(took)*99+99)/100-1]
			b.ReportMetric(p99.Seconds()*1e3, "p99-ms")
			b.ReportMetric(float64(p99)/float64(limit), "p99/limit")
		})
	}
}
