package api

import (
	_ "embed"
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

func (s *Server) openAPI(*request) (reply, error) {
	body, err := openAPIJSON()
	if err != nil {
		return reply{}, err
	}
	return reply{answer: unnamed(body)}, nil
}
