package api

import (
	"context"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/datapunchorg/go-clouddriver/pkg/auth"
)

// oneSlash makes the router see the path as it was sent, so that an escaped
// slash stays inside its segment, and accepts one trailing slash.
func oneSlash(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		escaped := r.URL.EscapedPath()
		if short, cut := strings.CutSuffix(escaped, "/"); cut && short != "" {
			escaped, r.URL.Path = short, strings.TrimSuffix(r.URL.Path, "/")
		}
		r.URL.RawPath = escaped
		next.ServeHTTP(w, r)
	})
}

type callerKey struct{}

// identify lets calls to other services of Spinnaker say who asks.
func identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if caller := auth.Headers(r.Header); caller != nil {
			r = r.WithContext(context.WithValue(r.Context(), callerKey{}, caller))
		}
		next.ServeHTTP(w, r)
	})
}

// CallerHeaders are the X-SPINNAKER headers of the request that a context
// belongs to (accounts.md 8.7).
func CallerHeaders(ctx context.Context) http.Header {
	caller, _ := ctx.Value(callerKey{}).(http.Header)
	return caller
}

// recorder remembers the status for the metrics.
type recorder struct {
	http.ResponseWriter
	status int
	// lasting answers take as long as their readers like, so that their time
	// tells nothing.
	lasting bool
}

func (w *recorder) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (s *Server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		rec := &recorder{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(rec, r)
		route := chi.RouteContext(r.Context()).RoutePattern()
		if route == "" {
			route = "none"
		}
		if !rec.lasting {
			s.Observe(route, method(r), rec.status, time.Since(begin))
		}
	})
}

// method is a request's, for the metrics: one that nobody knows would be a
// series of its own.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return r.Method
	}
	return "other"
}

// unrouted is the row of what fails before its route is known.
var unrouted = &route{fresh: constant}

// recover answers a request whose handler panicked. What it was is for the log:
// a cause may carry a stack trace.
func (s *Server) recover(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if cause := recover(); cause != nil {
				if cause == http.ErrAbortHandler { //nolint:errorlint // net/http's own sentinel, compared as it does
					panic(cause)
				}
				s.Log.Error("a request panicked", "path", r.URL.Path, "cause", cause, "stack", string(debug.Stack()))
				s.fail(w, &request{Request: r, route: unrouted}, problem{status: http.StatusInternalServerError, message: "internal error; the service's log has the cause"})
			}
		}()
		next.ServeHTTP(w, r)
	})
}
