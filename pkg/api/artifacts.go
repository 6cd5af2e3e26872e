package api

import (
	"encoding/json"
	"io"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/datapunchorg/go-clouddriver/pkg/view"
)

// artifactRoutes answer as a Clouddriver without artifact accounts does
// (artifacts.md 2). Orca sends the fetch with a trailing slash, which the
// router takes off.
func (s *Server) artifactRoutes(r chi.Router) {
	r.Get("/artifacts/credentials", func(w http.ResponseWriter, r *http.Request) { s.json(w, r, []any{}) })
	r.Put("/artifacts/fetch", s.fetchArtifact)
	r.Get("/artifacts/account/{account}/names", s.noArtifacts)
	r.Get("/artifacts/account/{account}/versions", s.noArtifacts)
	r.Get("/artifacts/content-address/{application}/{hash}", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, view.NotFoundError("there is no artifact store"))
	})
}

func (s *Server) fetchArtifact(w http.ResponseWriter, r *http.Request) {
	const most = 16 << 20 // an embedded artifact is in its reference
	var artifact struct{ Type, Name, ArtifactAccount string }
	if err := json.NewDecoder(io.LimitReader(r.Body, most)).Decode(&artifact); err != nil {
		s.fail(w, r, bad("the body must be an artifact: %v", err))
		return
	}
	if artifact.ArtifactAccount == "" {
		s.fail(w, r, bad("An artifact account must be supplied to download this artifact: %s", artifact.Name))
		return
	}
	s.fail(w, r, view.NotFoundError("Credentials '"+artifact.ArtifactAccount+"' supporting artifact type '"+artifact.Type+"' cannot be found"))
}

// noArtifacts answers as for an unknown account: 404 without a body.
func (s *Server) noArtifacts(w http.ResponseWriter, r *http.Request) {
	if !r.URL.Query().Has("type") {
		s.fail(w, r, bad("Required request parameter 'type' is not present"))
		return
	}
	w.WriteHeader(http.StatusNotFound)
}
