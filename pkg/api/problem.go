package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"

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
}

func (p problem) Error() string { return p.message }

func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problem{status: http.StatusInternalServerError, message: err.Error()}
	var notFound view.NotFoundError
	if !errors.As(err, &p) && errors.As(err, &notFound) {
		p = problem{status: http.StatusNotFound, message: notFound.Error()}
	}
	reason := http.StatusText(p.status)
	if p.status >= http.StatusInternalServerError {
		id := uuid.NewString()
		reason += " (error ID: " + id + ")"
		s.Log.Warn("request failed", "path", r.URL.Path, "status", p.status, "error", p.message, "errorID", id)
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(p.status)
	fields := map[string]any{"error": reason, "message": p.message, "status": p.status, "timestamp": time.Now().UnixMilli()}
	if p.errors != nil {
		fields["errors"] = p.errors
	}
	body, err := json.Marshal(fields)
	if err == nil {
		_, _ = w.Write(body) // the caller may be gone
	}
}
