package api

import (
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/budget"
)

const (
	// bodiesAtOnce is how many bodies are read at once.
	bodiesAtOnce = 512
	// bodyGrace and bodyRate bound how slowly a body may come: so long for its
	// begin, and then so many bytes a second.
	bodyGrace = 5 * time.Second
	bodyRate  = 16 << 10
	// bodyWithin is how long a body may take at all.
	bodyWithin = time.Minute
	// answerWithin is what is left for the handler after the body.
	answerWithin = time.Minute
)

// places bound how many requests do something at once, and how many of them come
// from one address.
type places struct {
	all, each int

	mu    sync.Mutex
	taken int
	by    map[string]int
}

// newPlaces are places that anybody may take all of, newShares those of which
// nobody takes more than three quarters.
func newPlaces(all int) *places { return &places{all: all, each: all, by: map[string]int{}} }

func newShares(all int) *places { return &places{all: all, each: all - all/4, by: map[string]int{}} }

// take takes a place for a caller; false when there is none.
func (s *places) take(caller string) (free func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken >= s.all || s.by[caller] >= s.each {
		return func() {}, false
	}
	s.taken++
	s.by[caller]++
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.taken--
		if s.by[caller]--; s.by[caller] == 0 {
			delete(s.by, caller)
		}
	}), true
}

func callerAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// readBody reads the body once, into memory that it takes first; free gives that back.
func (s *Server) readBody(w http.ResponseWriter, r *request) (free func(), err error) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		r.Body = http.NoBody // nobody here reads one
		r.ContentLength = 0
	}
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return func() {}, nil
	}
	done, ok := s.bodies.take(callerAddress(r.Request))
	defer done()
	if !ok {
		return func() {}, problem{status: http.StatusServiceUnavailable, message: "too many bodies are being sent at once", retryAfter: 1}
	}
	connection, begun := http.NewResponseController(w), time.Now()
	content, free, err := s.Memory.ReadAll(r.Body, bodyLimit, func(soFar int64) {
		late := min(bodyGrace+time.Duration(soFar)*time.Second/bodyRate, bodyWithin)
		_ = connection.SetReadDeadline(begun.Add(late)) // a recorder has none
	})
	if err != nil {
		w.Header().Set("Connection", "close") // the rest is not waited for
		return free, bodyProblem(err)
	}
	_ = connection.SetReadDeadline(time.Now().Add(answerWithin))
	r.body = content
	r.rewind()
	return free, nil
}

// bodyProblem is the answer to a body that cannot be read.
func bodyProblem(err error) error {
	var late net.Error
	switch {
	case errors.Is(err, budget.ErrTooLong):
		return problem{status: http.StatusRequestEntityTooLarge, message: "the body: " + err.Error()}
	case errors.Is(err, budget.ErrFull), errors.Is(err, budget.ErrNever):
		return memoryProblem(err)
	case errors.As(err, &late) && late.Timeout():
		return problem{status: http.StatusRequestTimeout, message: "the body comes too slowly"}
	}
	return bad("read the body: %v", err)
}

// memoryProblem is the answer where the memory of requests is taken.
func memoryProblem(err error) error {
	if errors.Is(err, budget.ErrNever) {
		return problem{status: http.StatusRequestEntityTooLarge, message: "the request takes more memory than server.memory: " + err.Error()}
	}
	return problem{status: http.StatusServiceUnavailable, message: err.Error() + " (server.memory)", retryAfter: 1}
}
