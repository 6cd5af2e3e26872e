package service

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/api"
)

// front stands before the API. Orca repeats a POST that is answered 503, and
// never one whose connection broke, so it answers whenever the process is there.
type front struct {
	behind  atomic.Pointer[http.Handler]
	closing atomic.Bool

	mu       sync.Mutex
	refusing string // why nothing is handed on; "" while it is
	inFlight int
	idle     chan struct{} // closed when nothing is in flight while refusing
}

func newFront() *front { return &front{refusing: "the service starts", idle: make(chan struct{})} }

// open hands requests on from now.
func (f *front) open(h http.Handler) {
	f.behind.Store(&h)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refusing = ""
}

// close lets connections end with the next answer, so that callers have none
// open when the process goes.
func (f *front) close() { f.closing.Store(true) }

// refuse hands nothing on any more and waits until what was is answered, or the
// context is over. It returns how many requests are left.
func (f *front) refuse(ctx context.Context) int {
	f.mu.Lock()
	f.refusing = "the service stops"
	if f.inFlight == 0 {
		close(f.idle)
	}
	f.mu.Unlock()
	select {
	case <-f.idle:
		return 0
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.inFlight
}

func (f *front) enter() (why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refusing == "" {
		f.inFlight++
	}
	return f.refusing
}

func (f *front) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inFlight--
	if f.inFlight == 0 && f.refusing != "" {
		close(f.idle)
	}
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.closing.Load() {
		w.Header().Set("Connection", "close")
	}
	why := f.enter()
	if why == "" {
		defer f.leave()
		(*f.behind.Load()).ServeHTTP(w, r)
		return
	}
	if r.URL.Path == "/health/liveness" {
		w.Header().Set("Content-Type", "application/json;charset=UTF-8")
		_, _ = w.Write([]byte(`{"status":"UP"}`)) // the caller may be gone
		return
	}
	header := w.Header()
	header.Set("Content-Type", "application/json;charset=UTF-8")
	header.Set("Retry-After", "1")
	header.Set("Connection", "close")
	w.WriteHeader(http.StatusServiceUnavailable)
	body, err := json.Marshal(map[string]any{
		"error": http.StatusText(http.StatusServiceUnavailable), "message": why, "status": http.StatusServiceUnavailable, "timestamp": api.Timestamp(time.Now()),
	})
	if err == nil {
		_, _ = w.Write(body) // the caller may be gone
	}
}
