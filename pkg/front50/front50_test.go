package front50

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestLists_AreAskedForOnceByAllWhoSearch(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = io.WriteString(w, `[{"name":"web"}]`)
	}))
	t.Cleanup(server.Close)
	c := New(server.URL, 5*time.Second, nil)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if list, err := c.Applications(t.Context()); err != nil || len(list) != 1 || list[0]["name"] != "web" {
				t.Error(list, err)
			}
		})
	}
	all.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	// An older list is answered at once, while a newer one is asked for.
	c.mu.Lock()
	for path, have := range c.kept {
		c.kept[path] = kept{have.list, time.Now().Add(-2 * fresh)}
	}
	c.mu.Unlock()
	if list, err := c.Applications(t.Context()); err != nil || len(list) != 1 {
		t.Error(list, err)
	}
	for deadline := time.Now().Add(5 * time.Second); asked.Load() != 2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("asked %d times", asked.Load())
		}
	}
}

func TestLists_DoNotHoldUpWhoCannotWait(t *testing.T) {
	hold := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-hold
		_, _ = io.WriteString(w, `[{"name":"web"}]`)
	}))
	t.Cleanup(server.Close)
	c := New(server.URL, 30*time.Second, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Projects(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	close(hold) // what was asked for is there for the next one
	if list, err := c.Projects(t.Context()); err != nil || len(list) != 1 {
		t.Error(list, err)
	}
}
