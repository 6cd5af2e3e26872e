package api

import (
	"context"
	"net/http"
	"time"
)

// The probes answer whoever asks whether the service is there (read-rest.md
// 3.7). Broken clusters never take it down.

// probeTimeout bounds the question whether the database answers.
const probeTimeout = 2 * time.Second

func (s *Server) health(r *request) (reply, error) { return s.probe(r, "DOWN") }

func (s *Server) liveness(*request) (reply, error) { return model(map[string]string{"status": "UP"}) }

func (s *Server) readiness(r *request) (reply, error) { return s.probe(r, "OUT_OF_SERVICE") }

// probe answers with the state of the service; registries that cannot be read leave
// it as it is.
func (s *Server) probe(r *request, down string) (reply, error) {
	if s.Down != nil {
		ctx, cancel := context.WithTimeout(r.Context(), probeTimeout)
		defer cancel()
		if err := s.Down(ctx); err != nil {
			rep, failed := model(map[string]any{"status": down, "details": map[string]string{"reason": err.Error()}})
			rep.status = http.StatusServiceUnavailable
			return rep, failed
		}
	}
	if registries := s.registryHealth(); registries != nil {
		return model(map[string]any{"status": "UP", "details": map[string]any{"docker": map[string]any{"status": "UP", "details": registries}}})
	}
	return model(map[string]string{"status": "UP"})
}

func (s *Server) info(*request) (reply, error) {
	return model(map[string]any{"build": map[string]string{"version": s.Version}})
}

// ready turns 200 once every account has synced or failed for the first time,
// and stays so until the service stops: a cluster that fails later must not take
// the replica out.
func (s *Server) ready(*request) (reply, error) {
	if s.stopping() {
		return reply{}, problem{status: http.StatusServiceUnavailable, message: "the service stops"}
	}
	select {
	case <-s.Fleet.Settled():
		return model(map[string]string{"status": "UP"})
	default:
		return reply{}, problem{status: http.StatusServiceUnavailable, message: "accounts are being listed for the first time"}
	}
}

// stopping says whether the service has begun to stop.
func (s *Server) stopping() bool {
	select {
	case <-s.Closing:
		return true
	default:
		return false
	}
}

// metrics hands the connection to Prometheus' own handler.
func (s *Server) metrics(r *request) (reply, error) {
	return reply{open: func(w http.ResponseWriter) { s.Metrics.ServeHTTP(w, r.Request) }}, nil
}
