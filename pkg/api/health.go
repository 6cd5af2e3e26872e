package api

import "net/http"

// health says that the process serves; it asks nobody.
func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", contentType)
	_, _ = w.Write([]byte(`{"status":"UP"}`))
}

// ready turns 200 once every account has synced or failed for the first time,
// and stays so: a cluster that fails later must not take the replica out.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	select {
	case <-s.Fleet.Settled():
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write([]byte(`{"status":"UP"}`))
	default:
		s.fail(w, r, problem{status: http.StatusServiceUnavailable, message: "accounts are being listed for the first time"})
	}
}
