package api

import (
	"context"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
)

// probeRoutes answer whoever asks whether the service is there (read-rest.md
// 3.7). Broken clusters never take it down.
func (s *Server) probeRoutes(r chi.Router) {
	r.Get("/health", s.health)
	r.Get("/health/liveness", func(w http.ResponseWriter, r *http.Request) { s.json(w, r, map[string]string{"status": "UP"}) })
	r.Get("/health/readiness", func(w http.ResponseWriter, r *http.Request) { s.probe(w, r, "OUT_OF_SERVICE") })
	r.Get("/readyz", s.ready)
	r.Get("/info", func(w http.ResponseWriter, r *http.Request) {
		s.json(w, r, map[string]any{"build": map[string]string{"version": s.Version}})
	})
}

// probeTimeout bounds the question whether the database answers.
const probeTimeout = 2 * time.Second

func (s *Server) health(w http.ResponseWriter, r *http.Request) { s.probe(w, r, "DOWN") }

func (s *Server) probe(w http.ResponseWriter, r *http.Request, down string) {
	if s.Down != nil {
		ctx, cancel := context.WithTimeout(r.Context(), probeTimeout)
		defer cancel()
		if err := s.Down(ctx); err != nil {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(http.StatusServiceUnavailable)
			s.json(w, r, map[string]any{"status": down, "details": map[string]string{"reason": err.Error()}})
			return
		}
	}
	s.json(w, r, map[string]string{"status": "UP"})
}

// ready turns 200 once every account has synced or failed for the first time,
// and stays so: a cluster that fails later must not take the replica out.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	select {
	case <-s.Fleet.Settled():
		s.json(w, r, map[string]string{"status": "UP"})
	default:
		s.fail(w, r, problem{status: http.StatusServiceUnavailable, message: "accounts are being listed for the first time"})
	}
}
