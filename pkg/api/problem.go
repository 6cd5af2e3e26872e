package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/datapunchorg/go-clouddriver/pkg/store"
	"github.com/datapunchorg/go-clouddriver/pkg/task"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
)

// problem is an answer that is not 200. Its body is the one that Spinnaker's
// services read (accounts.md 1.7; homedepot/go-clouddriver,
// internal/middleware).
type problem struct {
	status  int
	message string
	// errors are the findings of a validation.
	errors []string
	// retryAfter is in seconds, 0 for none; 503 has one in any case.
	retryAfter int
}

func (p problem) Error() string { return p.message }

// Timestamp is a time in an error body, as Java Clouddriver writes it
// (java-run.md).
func Timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000+00:00") }

// problemOf makes a problem of any error, in one place.
func problemOf(err error) problem {
	var p problem
	var notFound view.NotFoundError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &notFound):
		return problem{status: http.StatusNotFound, message: notFound.Error()}
	case errors.Is(err, task.ErrNotFound):
		return problem{status: http.StatusNotFound, message: "Task not found"}
	case errors.Is(err, task.ErrNotRetryable), errors.Is(err, task.ErrOtherAccounts):
		return problem{status: http.StatusBadRequest, message: err.Error()}
	case errors.Is(err, store.ErrTooLarge):
		return problem{status: http.StatusRequestEntityTooLarge, message: "the request is " + err.Error() + ": raise that, or deploy in parts"}
	case errors.Is(err, task.ErrRunning):
		return problem{status: http.StatusConflict, message: err.Error()}
	}
	return problem{status: http.StatusInternalServerError, message: err.Error()}
}

// samples keep a log readable while everything fails: of each status so many are
// logged in a second, and the next one says how many were not.
type samples struct {
	mu sync.Mutex
	of map[int]*sample
}

type sample struct {
	second  time.Time
	logged  int
	skipped int
}

// loggedASecond is how many failures of a status are logged in a second.
const loggedASecond = 10

func (s *samples) admit(status int, now time.Time) (skipped int, log bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[int]*sample{}
	}
	one := s.of[status]
	if one == nil {
		one = &sample{}
		s.of[status] = one
	}
	if now.Sub(one.second) >= time.Second {
		one.second, one.logged = now, 0
	}
	if one.logged >= loggedASecond {
		one.skipped++
		return 0, false
	}
	one.logged++
	skipped, one.skipped = one.skipped, 0
	return skipped, true
}

// fail answers with an error, in the shape of the route.
func (s *Server) fail(w http.ResponseWriter, r *request, err error) {
	p := problemOf(err)
	fields := map[string]any{}
	mediaType := contentType
	if r.route.errors == providerAPI {
		p, mediaType = providerProblem(err), contentTypeV1
		fields["error"] = p.message
	} else {
		fields = map[string]any{"error": http.StatusText(p.status), "message": p.message, "status": p.status, "timestamp": Timestamp(time.Now())}
		if p.errors != nil {
			fields["errors"] = p.errors
		}
	}
	if p.status >= http.StatusInternalServerError {
		id := uuid.NewString()
		if r.route.errors == spinnakers {
			fields["error"] = http.StatusText(p.status) + " (error ID: " + id + ")"
		}
		if more, log := s.failures.admit(p.status, time.Now()); log {
			s.Log.Warn("request failed", "path", r.URL.Path, "status", p.status, "error", p.message, "errorID", id, "notLogged", more)
		}
	}
	header := w.Header()
	if r.route.errors == people {
		s.showProblem(w, p)
		return
	}
	if r.health != nil && r.caller != nil && r.route.fresh == memory {
		r.markStale(header, nil)
	}
	if p.retryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(p.retryAfter))
	} else if p.status == http.StatusServiceUnavailable {
		header.Set("Retry-After", "5")
	}
	header.Set("Content-Type", mediaType)
	w.WriteHeader(p.status)
	body, err := json.Marshal(fields)
	if err == nil {
		_, _ = w.Write(body) // the caller may be gone
	}
}
