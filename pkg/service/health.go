package service

import (
	"net/http"
	"time"
)

// probed are the paths of the port for probes.
var probed = map[string]bool{"/health": true, "/health/liveness": true, "/health/readiness": true, "/readyz": true, "/metrics": true}

// probes answers what probes and Prometheus ask for, and nothing else.
func probes(door http.Handler) *http.Server {
	return &http.Server{ReadHeaderTimeout: 10 * time.Second, WriteTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !probed[r.URL.Path] || r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.NotFound(w, r)
			return
		}
		door.ServeHTTP(w, r)
	})}
}
