package localkube

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"sigs.k8s.io/yaml"
)

// Apply applies a stream of YAML documents by server-side apply, creating
// namespaces first when they come first.
func (c *Cluster) Apply(ctx context.Context, manifests []byte) error {
	for i, doc := range bytes.Split(manifests, []byte("\n---\n")) {
		if len(bytes.TrimSpace(doc)) == 0 {
			continue
		}
		if err := c.applyOne(ctx, doc); err != nil {
			return fmt.Errorf("manifest %d: %w", i+1, err)
		}
	}
	return nil
}

func (c *Cluster) applyOne(ctx context.Context, doc []byte) error {
	var o struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   struct {
			Name      string `json:"name"`
			Namespace string `json:"namespace"`
		} `json:"metadata"`
	}
	if err := yaml.Unmarshal(doc, &o); err != nil {
		return fmt.Errorf("read the manifest: %w", err)
	}
	base := c.URL + "/apis/" + o.APIVersion
	if o.APIVersion == "v1" {
		base = c.URL + "/api/v1"
	}
	plural, err := c.plural(ctx, base, o.Kind)
	if err != nil {
		return err
	}
	path := base
	if o.Metadata.Namespace != "" {
		path += "/namespaces/" + o.Metadata.Namespace
	}
	path += "/" + plural + "/" + o.Metadata.Name + "?fieldManager=localkube&force=true"
	return c.send(ctx, http.MethodPatch, path, "application/apply-patch+yaml", doc)
}

func (c *Cluster) plural(ctx context.Context, base, kind string) (string, error) {
	body, err := c.call(ctx, http.MethodGet, base, "", nil)
	if err != nil {
		return "", fmt.Errorf("look up kind %s: %w", kind, err)
	}
	var list struct {
		Resources []struct{ Name, Kind string }
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return "", fmt.Errorf("look up kind %s: %w", kind, err)
	}
	for _, r := range list.Resources {
		if r.Kind == kind && !bytes.ContainsRune([]byte(r.Name), '/') {
			return r.Name, nil
		}
	}
	return "", fmt.Errorf("the API server does not know kind %s in %s", kind, base)
}
