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

// TestSameCluster_AfterARestartIsAskedOnceWhenAllIsServed for all watches that go on from
// before it.
func TestSameCluster_AfterARestartIsAskedOnceWhenAllIsServed(t *testing.T) {
	var asked atomic.Int64
	s := identified(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"kube-system","uid":"c"}}`))
	}))
	s.recalls, s.recalled = newRecalls(), map[watcherKey]PastStream{}
	s.recalls.begin()
	s.recalls.seal()
	var watches errgroup.Group
	for range 13 {
		last := s.lastDoubted()
		watches.Go(func() error { return s.sameCluster(t.Context()) })
		for s.lastDoubted().Equal(last) {
			runtime.Gosched()
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("it was asked %d times before all was served", n)
	}
	s.recalls.end(true)
	if err := watches.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("it was asked %d times", n)
	}
}
