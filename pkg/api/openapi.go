package api

import (
	_ "embed"
	"net/http"
	"sync"

	"sigs.k8s.io/yaml"
)

// OpenAPI describes every route. The tests hold it against the routes and
// against whatever they are answered.
//
//go:embed openapi.yaml
var OpenAPI []byte

// openAPIJSON spares clients YAML's anchors.
var openAPIJSON = sync.OnceValues(func() ([]byte, error) { return yaml.YAMLToJSON(OpenAPI) })

func (s *Server) openAPI(w http.ResponseWriter, r *http.Request) {
	body, err := openAPIJSON()
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", contentType)
	_, _ = w.Write(body) // the caller may be gone
}
