package artifact

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// Templates are Front50's pipeline templates; front50.Client has them.
type Templates interface {
	Template(ctx context.Context, id, tag, digest string) (json.RawMessage, error)
	Templates(ctx context.Context) ([]map[string]any, error)
}

// front50 fetches managed pipeline templates (artifacts.md 5.3).
type front50 struct{ templates Templates }

var errNoFront50 = errors.New("there is no Front50 to ask: set services.front50.baseUrl")

func (f front50) fetch(ctx context.Context, a spinnaker.Artifact) (Content, error) {
	id, tag, digest, err := templateOf(a.Reference)
	if err != nil {
		return Content{}, err
	}
	if f.templates == nil {
		return Content{}, errNoFront50
	}
	template, err := f.templates.Template(ctx, id, tag, digest)
	if err != nil {
		return Content{}, err
	}
	return Content{io.NopCloser(bytes.NewReader(template)), int64(len(template))}, nil
}

// templateOf takes a reference apart: spinnaker://id, id:tag or id@sha256:digest.
func templateOf(reference string) (id, tag, digest string, err error) {
	rest, ok := strings.CutPrefix(reference, "spinnaker://")
	if !ok || rest == "" {
		return "", "", "", refused("'front50/pipelineTemplate' artifacts must be prefixed with 'spinnaker://': %s", reference)
	}
	malformed := refused("Malformed Front50 artifact reference: %s", reference)
	if id, digest, ok = strings.Cut(rest, "@sha256:"); ok {
		if id == "" || digest == "" || strings.ContainsAny(id+digest, ":@") {
			return "", "", "", malformed
		}
		return id, "", digest, nil
	}
	id, tag, ok = strings.Cut(rest, ":")
	if id == "" || ok && tag == "" || strings.ContainsAny(id+tag, ":@") {
		return "", "", "", malformed
	}
	return id, tag, "", nil
}

func (f front50) names(ctx context.Context) ([]string, error) {
	if f.templates == nil {
		return nil, errNoFront50
	}
	all, err := f.templates.Templates(ctx)
	if err != nil {
		return nil, err
	}
	out := []string{}
	for _, template := range all {
		metadata, _ := template["metadata"].(map[string]any)
		scopes, _ := metadata["scopes"].([]any)
		id, _ := template["id"].(string)
		if id != "" && slices.Contains(scopes, any("global")) && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out, nil
}
