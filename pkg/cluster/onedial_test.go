package cluster

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// counting is a listener that says how often somebody has connected.
type counting struct {
	net.Listener
	n *atomic.Int32
}

func (c counting) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.n.Add(1)
	}
	return conn, err
}

func TestOneDial_ManyAtOnceConnectOnceAndAgainAfterAReset(t *testing.T) {
	var connected atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("{}"))
	}))
	s.EnableHTTP2 = true
	s.Listener = counting{s.Listener, &connected}
	s.StartTLS()
	t.Cleanup(s.Close)
	c, err := New(&rest.Config{Host: s.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}, Options{RequestTimeout: 5 * time.Second, PingAfter: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for round := range int32(3) {
		var group sync.WaitGroup
		for range 30 {
			group.Go(func() {
				body, err := c.Open(t.Context(), "/api/v1/pods", nil, true)
				if err != nil {
					t.Error(err)
					return
				}
				_ = body.Close()
			})
		}
		group.Wait()
		if n := connected.Load(); n != round+1 {
			t.Errorf("round %d: %d connections", round, n)
		}
		s.CloseClientConnections()
		for deadline := time.Now().Add(10 * time.Second); open(c) > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the connection is still taken for an open one")
			}
		}
	}
}

func open(c *Client) int {
	d := c.current.Load().watches.dial
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open
}

// hanging is a way that nobody finds until it is told.
type hanging struct {
	asked  atomic.Int32
	answer chan error
}

func (h *hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	h.asked.Add(1)
	select {
	case err := <-h.answer:
		return nil, err
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

func TestOneDial_WhoWaitsHearsWhatTheFirstHasFound(t *testing.T) {
	h := &hanging{answer: make(chan error)}
	d := &oneDial{next: h, alike: true}
	errs := make(chan error, 10)
	ask := func(ctx context.Context) {
		req := httptest.NewRequestWithContext(ctx, http.MethodGet, "http://x/", nil)
		res, err := d.RoundTrip(req)
		if res != nil {
			_ = res.Body.Close()
		}
		errs <- err
	}
	for range 10 {
		go ask(t.Context())
	}
	broken := errors.New("no route")
	h.answer <- broken // the first
	for heard := 0; heard < 10; {
		select {
		case err := <-errs:
			heard++
			if !errors.Is(err, broken) {
				t.Error(err)
			}
		case h.answer <- broken: // one that came when the first was through
		}
	}
	// One that gives up says nothing to the others: the next one looks.
	ctx, cancel := context.WithCancel(t.Context())
	before := h.asked.Load()
	go ask(ctx)
	for deadline := time.Now().Add(10 * time.Second); h.asked.Load() == before && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
	}
	cancel()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	go ask(t.Context())
	h.answer <- broken
	if err := <-errs; !errors.Is(err, broken) {
		t.Error(err)
	}
}
