package watch

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
)

// identified is an account of a server that is asked who it is.
func identified(t *testing.T, server http.Handler) *supervisor {
	t.Helper()
	at := httptest.NewServer(server)
	t.Cleanup(at.Close)
	a := &account.Account{Name: "a", REST: &rest.Config{Host: at.URL}}
	o := Options{StartWithin: time.Minute, Log: slog.New(slog.DiscardHandler), Timing: Timing{RequestTimeout: 10 * time.Second}, Client: cluster.Options{RequestTimeout: 10 * time.Second, PingAfter: time.Second}}
	s := newSupervisor(a, remembering{}, shared{lists: NewSlots(1), returning: newReturning(1)}, o, func(*supervisor) {})
	t.Cleanup(s.hush)
	t.Cleanup(s.client.Close)
	return s
}

func TestSameCluster_IsAskedOnceForAllThatBreakAtOnce(t *testing.T) {
	var asked atomic.Int64
	var uid atomic.Value
	uid.Store("one")
	s := identified(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/namespaces/kube-system" {
			http.NotFound(w, r)
			return
		}
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"kube-system","uid":"` + uid.Load().(string) + `"}}`))
	}))
	other, err := s.shared.returning.acquire(t.Context(), anyone)
	if err != nil {
		t.Fatal(err)
	}
	var watches errgroup.Group
	for range 13 {
		last := s.lastDoubted()
		watches.Go(func() error { return s.sameCluster(t.Context()) })
		for s.lastDoubted().Equal(last) {
			runtime.Gosched()
		}
	}
	other.release()
	if err := watches.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := asked.Load(); n != 1 || s.cluster != "one" {
		t.Errorf("it was asked %d times and is %q", n, s.cluster)
	}
	uid.Store("another")
	if err := s.sameCluster(t.Context()); !errors.Is(err, errRelist) {
		t.Error("it is another cluster:", err)
	}
	if n := asked.Load(); n != 2 || s.cluster != "another" {
		t.Errorf("it was asked %d times and is %q", n, s.cluster)
	}
}

func (s *supervisor) lastDoubted() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.doubted
}

// TestSameCluster_OneThatDoesNotSay is asked again by each that breaks: one that is away
// may be another one when it is back.
func TestSameCluster_OneThatDoesNotSay(t *testing.T) {
	var asked atomic.Int64
	s := identified(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	for range 2 {
		before := asked.Load()
		if err := s.sameCluster(t.Context()); err == nil {
			t.Error("a cluster that is away is taken for the one that was listed")
		}
		if asked.Load() == before {
			t.Error("it was not asked")
		}
	}
}

// TestSameCluster_NothingIsAskedOfAnAccountThatIsOver though it waits for its turn.
func TestSameCluster_NothingIsAskedOfAnAccountThatIsOver(t *testing.T) {
	var asked atomic.Int64
	s := identified(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	life, end := context.WithCancel(t.Context())
	s.life = life
	other, err := s.shared.returning.acquire(t.Context(), anyone)
	if err != nil {
		t.Fatal(err)
	}
	end()
	if err := s.sameCluster(t.Context()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	other.release()
	if n := asked.Load(); n != 0 {
		t.Errorf("it was asked %d times", n)
	}
}

func TestComeBack_AsksOnceForTheWatchesThatWait(t *testing.T) {
	pods := cluster.Resource{Version: "v1", Plural: "pods", Kind: "Pod", Namespaced: true, Watchable: true}
	for _, away := range []bool{false, true} {
		var asked atomic.Int64
		s := identified(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			w.Header().Set("Content-Type", "application/json")
			if away {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			_, _ = w.Write([]byte(`{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"kube-system","uid":"c"}}`))
		}))
		s.recalls = newRecalls()
		s.recalls.seal()
		s.recalled = map[watcherKey]PastStream{{kind: "pod"}: {Resource: pods, Version: "17", Heard: time.Now()}}
		resumed, fresh := s.newWatcher(watcherKey{kind: "pod"}, pods), s.newWatcher(watcherKey{kind: "service"}, pods)
		for kind, w := range map[string]*watcher{"pod": resumed, "service": fresh} {
			s.resume(watcherKey{kind: kind}, w)
			s.watchers[watcherKey{kind: kind}] = w
		}
		waits, end := context.WithCancel(t.Context())
		end()
		s.awaitTurn(waits) // of one that ends
		s.comeBack(t.Context())
		s.awaitTurn(t.Context())
		if resumed.reflector.vouched == away || fresh.reflector.vouched {
			t.Errorf("away %v: vouched for what is resumed %v, for what is not %v", away, resumed.reflector.vouched, fresh.reflector.vouched)
		}
		if asked.Load() == 0 {
			t.Errorf("away %v: the cluster was not asked", away)
		}
		before := asked.Load()
		if _, err := resumed.reflector.verify(t.Context(), "17"); err == nil {
			t.Error("a namespace is no list")
		}
		if n := asked.Load() - before; !away && n != 1 {
			t.Errorf("%d requests for the version of a watch that was vouched for", n)
		}
		if resumed.reflector.vouched {
			t.Error("it is vouched for twice")
		}
	}
}
