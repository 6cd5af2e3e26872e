package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// rows is a database that holds these.
type rows struct {
	mu   sync.Mutex
	all  []store.Write
	away bool
}

func (r *rows) LastWrite(context.Context) (int64, error) { return 0, nil }

func (r *rows) WritesAfter(_ context.Context, seq int64, _ []int64, most int) (out []store.Write, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away {
		return nil, errors.New("away")
	}
	for _, w := range r.all {
		if w.Seq > seq && len(out) < most {
			out = append(out, w)
		}
	}
	return out, nil
}

func (r *rows) AccountWritesAfter(ctx context.Context, _ string, seq int64, also []int64) ([]store.Write, error) {
	return r.WritesAfter(ctx, seq, also, 1000)
}

// shown is an index that shows the versions of some objects.
type shown struct {
	mu       sync.Mutex
	versions map[string]string
	gone     []string
}

func (s *shown) Written(_, _ string, o *unstructured.Unstructured) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.versions[o.GetName()] = o.GetResourceVersion()
}

func (s *shown) Gone(_, _, _, name, _ string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = append(s.gone, name)
}

func (s *shown) Confirms(w index.Write) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.Version == "" {
		return slices.Contains(s.gone, w.Name)
	}
	return s.versions[w.Name] >= w.Version && s.versions[w.Name] != ""
}

func (s *shown) UID(_, _, _, _ string) string { return "" }

// served is a cluster that answers for some objects.
type served struct {
	mu    sync.Mutex
	reads []string
	get   func(name string) (string, error)
}

func (s *served) Catalog(context.Context) (*cluster.Catalog, error) {
	return cluster.NewCatalog(cluster.Resource{Version: "v1", Plural: "configmaps", Kind: "ConfigMap", Namespaced: true, Watchable: true, Gettable: true}), nil
}

func (s *served) Rediscover(ctx context.Context) (*cluster.Catalog, error) { return s.Catalog(ctx) }

func (s *served) Get(_ context.Context, _ cluster.Resource, namespace, name string) (*unstructured.Unstructured, error) {
	s.mu.Lock()
	s.reads = append(s.reads, name)
	s.mu.Unlock()
	version, err := s.get(name)
	if err != nil {
		return nil, err
	}
	o := &unstructured.Unstructured{Object: map[string]any{}}
	o.SetName(name)
	o.SetNamespace(namespace)
	o.SetUID("u")
	o.SetResourceVersion(version)
	return o, nil
}

func row(seq int64, app, name, version string) store.Write {
	return store.Write{Seq: seq, Written: time.Now(), Account: "a", Kind: "configMap", Namespace: "ns", Name: name, UID: "u", ResourceVersion: version, Application: app}
}

func followed(get func(string) (string, error), all ...store.Write) (*Ledger, *rows, *shown, *served) {
	db, ix, c := &rows{all: all}, &shown{versions: map[string]string{}}, &served{get: get}
	live := NewLive(ix, func(string) (Cluster, error) { return c, nil })
	return New(db, ix, live, time.Millisecond, slog.New(slog.DiscardHandler)), db, ix, c
}

func ofApp(app string) func(store.Write) bool {
	return func(w store.Write) bool { return w.Application == app }
}

// TestBehind_TellsOnlyOfWhatTheCallerShows and of the newest write of each
// object, whoever else waits.
func TestBehind_TellsOnlyOfWhatTheCallerShows(t *testing.T) {
	all := []store.Write{row(1, "mine", "x", "3"), row(2, "mine", "x", "5"), row(3, "mine", "known", "4")}
	for i := range 100 {
		all = append(all, row(int64(10+i), "theirs", fmt.Sprint("other-", i), "9"))
	}
	l, db, ix, c := followed(func(string) (string, error) { return "5", nil }, all...)
	ix.versions["known"] = "4"
	got, err := l.Behind(t.Context(), "a", ofApp("mine"))
	if err != nil || len(got) != 1 || got[0].Name != "x" || got[0].ResourceVersion != "5" || len(c.reads) != 0 {
		t.Fatalf("%+v %v, %d reads", got, err, len(c.reads))
	}
	if err := l.Settle(t.Context(), got[0]); err != nil || len(c.reads) != 1 {
		t.Errorf("%v, %d reads", err, len(c.reads))
	}
	if got, err = l.Behind(t.Context(), "a", ofApp("mine")); err != nil || len(got) != 0 {
		t.Errorf("%+v %v", got, err)
	}
	db.away = true
	if _, err = l.Behind(t.Context(), "a", ofApp("mine")); err == nil {
		t.Error("a database that is away proves something")
	}
}

// TestRun_ARowThatCannotBeReadKeepsNoOther and stays in doubt, whatever the
// clock of who wrote it says.
func TestRun_ARowThatCannotBeReadKeepsNoOther(t *testing.T) {
	bad := row(1, "app", "bad", "9")
	bad.Written = time.Now().Add(-1000 * time.Hour)
	l, _, ix, _ := followed(func(name string) (string, error) {
		if name == "bad" {
			return "", errors.New("no")
		}
		return "9", nil
	}, bad, row(2, "app", "good", "9"))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	for deadline := time.Now().Add(10 * time.Second); ; {
		ix.mu.Lock()
		there := ix.versions["good"] == "9"
		ix.mu.Unlock()
		if there {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the other row is not read")
		}
		time.Sleep(time.Millisecond)
	}
	got, err := l.Behind(t.Context(), "a", ofApp("app"))
	if err != nil || len(got) != 1 || got[0].Name != "bad" {
		t.Errorf("%+v %v", got, err)
	}
	if err := l.Settle(t.Context(), bad); err == nil {
		t.Error("what cannot be read is settled")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestSettle_AVersionOfAnotherHistoryCostsOneRead: after a restore no version
// ever reaches it.
func TestSettle_AVersionOfAnotherHistoryCostsOneRead(t *testing.T) {
	l, _, _, c := followed(func(string) (string, error) { return "1", nil }, row(1, "app", "x", "9"))
	if err := l.follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		got, err := l.Behind(t.Context(), "a", ofApp("app"))
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range got {
			if err := l.Settle(t.Context(), w); err != nil {
				t.Error(err)
			}
		}
	}
	if len(c.reads) != 1 {
		t.Errorf("%d reads", len(c.reads))
	}
}

// TestLive_WhoAsksBeforeAReadingBeginsSharesIt, and nobody one that had begun.
func TestLive_WhoAsksBeforeAReadingBeginsSharesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		l, _, _, c := followed(func(string) (string, error) {
			<-hold
			return "1", nil
		})
		var asking sync.WaitGroup
		ask := func() {
			asking.Go(func() {
				if _, err := l.live.Get(t.Context(), "a", "configMap", "ns", "x"); err != nil {
					t.Error(err)
				}
			})
		}
		ask()
		synctest.Wait()
		for range 20 {
			ask()
		}
		synctest.Wait()
		close(hold)
		asking.Wait()
		synctest.Wait()
		if n := len(c.reads); n != 2 {
			t.Errorf("%d readings, want 2", n)
		}
	})
}
