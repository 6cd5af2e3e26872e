package api

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"

	"github.com/datapunchorg/go-clouddriver/pkg/view"
)

// The artifact routes answer as a Clouddriver without artifact accounts does
// (artifacts.md 2).

// builtIn are the artifact accounts that are there without configuration, by
// their names (artifacts.md 4; java-run.md).
var builtIn = []map[string]any{
	{"name": "custom-artifact", "types": []string{"custom/object"}, "type": "artifacts-custom"},
	{"name": "docker-registry", "types": []string{"docker/image"}, "type": "artifacts-docker"},
	{"name": embeddedAccount, "types": []string{"embedded/base64", "remote/base64"}, "type": "artifacts-embedded"},
	{"name": "front50ArtifactCredentials", "types": []string{"front50/pipelineTemplate"}, "type": "artifacts-front50"},
}

const embeddedAccount = "embedded-artifact"

func (s *Server) artifactAccounts(*request) (reply, error) { return model(builtIn) }

func (s *Server) noStoredArtifact(*request) (reply, error) {
	return reply{}, view.NotFoundError("there is no artifact store")
}

// fetchArtifact is sent by Orca with a trailing slash, which the router takes
// off.
func (s *Server) fetchArtifact(r *request) (reply, error) {
	const most = 16 << 20 // an embedded artifact is in its reference
	var artifact struct{ Type, Name, Reference, ArtifactAccount string }
	if err := json.NewDecoder(io.LimitReader(r.Body, most)).Decode(&artifact); err != nil {
		return reply{}, bad("the body must be an artifact: %v", err)
	}
	if artifact.Type == "embedded/base64" && (artifact.ArtifactAccount == "" || artifact.ArtifactAccount == embeddedAccount) {
		content, err := base64.StdEncoding.DecodeString(artifact.Reference)
		if err != nil {
			return reply{}, bad("reference: %v", err)
		}
		return reply{answer: &answer{body: content}, mediaType: "application/octet-stream"}, nil
	}
	if artifact.ArtifactAccount == "" {
		return reply{}, bad("An artifact account must be supplied to download this artifact: %s", artifact.Name)
	}
	return reply{}, view.NotFoundError("Credentials '" + artifact.ArtifactAccount + "' supporting artifact type '" + artifact.Type + "' cannot be found")
}

// noArtifacts answers as for an unknown account: 404 without a body.
func (s *Server) noArtifacts(r *request) (reply, error) {
	if !r.URL.Query().Has("type") {
		return reply{}, bad("Required request parameter 'type' is not present")
	}
	return reply{status: http.StatusNotFound}, nil
}
