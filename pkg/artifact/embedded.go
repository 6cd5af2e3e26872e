package artifact

import (
	"context"
	"encoding/base64"
	"io"
	"strings"

	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// EmbeddedAccount is the account of what artifacts hold themselves.
const EmbeddedAccount = "embedded-artifact"

const embeddedPrefix = "embedded/"

// builtIn are the accounts that are there without configuration (artifacts.md 4;
// java-run.md).
func builtIn(templates Templates) []*Account {
	return []*Account{
		{Name: "custom-artifact", Types: []string{"custom/object"}, Type: "artifacts-custom"},
		{Name: "docker-registry", Types: []string{spinnaker.DockerImage}, Type: "artifacts-docker"},
		{Name: EmbeddedAccount, Types: []string{"embedded/base64", "remote/base64"}, Type: "artifacts-embedded", by: embedded{}, any: []string{embeddedPrefix, "remote/"}},
		{Name: "front50ArtifactCredentials", Types: []string{"front50/pipelineTemplate"}, Type: "artifacts-front50", by: front50{templates}},
		{Name: "kubernetes", Types: []string{"kubernetes/configMap", "kubernetes/deployment", "kubernetes/replicaSet", "kubernetes/secret"}, Type: "artifacts-kubernetes"},
	}
}

// embedded decodes what a reference holds. Java's decoder takes texts without
// padding, Go's those with line breaks; both are right here.
type embedded struct{}

func (embedded) fetch(_ context.Context, a spinnaker.Artifact) (Content, error) {
	if strings.HasPrefix(a.Reference, "ref://") {
		return Content{}, unsupported("unable to retrieve artifact %s since there's no artifact store configured", a.Reference)
	}
	text := strings.NewReplacer("\r", "", "\n", "").Replace(a.Reference)
	text = strings.TrimRight(text, "=")
	// The length of what is decoded is known, so that it need not be held twice.
	size := base64.RawStdEncoding.DecodedLen(len(text))
	if n, err := io.Copy(io.Discard, base64.NewDecoder(base64.RawStdEncoding, strings.NewReader(text))); err != nil || n != int64(size) {
		return Content{}, refused("reference is not base64 text: %v", err)
	}
	return Content{io.NopCloser(base64.NewDecoder(base64.RawStdEncoding, strings.NewReader(text))), int64(size)}, nil
}
