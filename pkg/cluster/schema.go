package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// PatchMeta is what the cluster itself says about merging objects of a kind:
// which lists are merged, and by what key. nil says that it takes no strategic
// merge patch for the kind, or does not say, for whatever reason: as with
// kubectl, others may know then (kubernetes/kubectl,
// pkg/cmd/apply/patcher.go).
func (c *Client) PatchMeta(ctx context.Context, r Resource) strategicpatch.LookupPatchMeta {
	index, err := c.schemaIndex(ctx)
	if err != nil {
		return nil
	}
	path := "apis/" + r.APIVersion()
	if r.Group == "" {
		path = "api/" + r.Version
	}
	at := index.at[path]
	if at == "" {
		return nil
	}
	d, err := c.document(ctx, at)
	if err != nil {
		return nil
	}
	return d.meta(r)
}

// schemaIndex says where a cluster has the description of each group and
// version. The address changes with the content.
type schemaIndex struct {
	until time.Time
	at    map[string]string
}

// How long a cluster's index of its schemas is believed, and that it has none.
// Only an upgrade of the API server changes those of its own kinds.
const (
	schemasFor   = 10 * time.Minute
	noSchemasFor = time.Minute
)

func (c *Client) schemaIndex(ctx context.Context) (*schemaIndex, error) {
	if known := c.schemas.Load(); known != nil && time.Now().Before(known.until) {
		return known, nil
	}
	return c.indexing.Do(ctx, struct{}{}, func() (*schemaIndex, error) {
		fresh := &schemaIndex{until: time.Now().Add(schemasFor), at: map[string]string{}}
		body, err := c.call(context.WithoutCancel(ctx), http.MethodGet, "/openapi/v3", nil, "", nil)
		var index struct {
			Paths map[string]struct {
				ServerRelativeURL string `json:"serverRelativeURL"`
			} `json:"paths"`
		}
		if err != nil || json.Unmarshal(body, &index) != nil {
			fresh.until = time.Now().Add(noSchemasFor)
		}
		for path, document := range index.Paths {
			fresh.at[path] = document.ServerRelativeURL
		}
		c.schemas.Store(fresh)
		return fresh, nil
	})
}

// document reads one, or takes it from another cluster of the same content:
// the address holds its hash.
func (c *Client) document(ctx context.Context, at string) (*document, error) {
	u, err := url.Parse(at)
	if err != nil {
		return nil, &Error{Reason: Unavailable, Err: fmt.Errorf("the address of a schema: %w", err)}
	}
	hashed := u.Query().Get("hash") != ""
	if d := documents.get(at); d != nil && hashed {
		return d, nil
	}
	body, err := c.call(ctx, http.MethodGet, u.Path, u.Query(), "", nil)
	if err != nil {
		return nil, fmt.Errorf("read the cluster's schemas: %w", err)
	}
	d := &document{}
	if err := json.Unmarshal(body, d); err != nil {
		return nil, &Error{Reason: Unavailable, Err: fmt.Errorf("decode a schema: %w", err)}
	}
	d.strip()
	if hashed {
		documents.put(at, d)
	}
	return d, nil
}

// document is OpenAPI v3 of one group and version, as far as used.
type document struct {
	Components struct {
		Schemas map[string]*spec.Schema `json:"schemas"`
	} `json:"components"`
	Paths map[string]struct {
		Patch *struct {
			Kind        kindOfSchema `json:"x-kubernetes-group-version-kind"`
			RequestBody struct {
				Content map[string]json.RawMessage `json:"content"`
			} `json:"requestBody"`
		} `json:"patch"`
	} `json:"paths"`
	strategic map[kindOfSchema]*spec.Schema
}

type kindOfSchema struct {
	Group   string `json:"group"`
	Version string `json:"version"`
	Kind    string `json:"kind"`
}

// strip keeps what merging needs: the kinds that take a strategic merge patch,
// and no descriptions, which are most of a document.
func (d *document) strip() {
	d.strategic = map[kindOfSchema]*spec.Schema{}
	for _, path := range d.Paths {
		if path.Patch != nil && path.Patch.RequestBody.Content["application/strategic-merge-patch+json"] != nil {
			d.strategic[path.Patch.Kind] = nil
		}
	}
	d.Paths = nil
	for _, schema := range d.Components.Schemas {
		undescribed(schema)
		for _, kind := range kindsOf(schema) {
			if _, ok := d.strategic[kind]; ok {
				d.strategic[kind] = schema
			}
		}
	}
}

func undescribed(s *spec.Schema) {
	s.Description, s.Default = "", nil
	for name, property := range s.Properties {
		undescribed(&property)
		s.Properties[name] = property
	}
	if s.Items != nil && s.Items.Schema != nil {
		undescribed(s.Items.Schema)
	}
}

// kindsOf are those that a schema says that it describes.
func kindsOf(s *spec.Schema) []kindOfSchema {
	list, _ := s.Extensions["x-kubernetes-group-version-kind"].([]any)
	var out []kindOfSchema
	for _, one := range list {
		m, _ := one.(map[string]any)
		text := func(key string) string { v, _ := m[key].(string); return v }
		out = append(out, kindOfSchema{text("group"), text("version"), text("kind")})
	}
	return out
}

func (d *document) meta(r Resource) strategicpatch.LookupPatchMeta {
	for kind, schema := range d.strategic {
		if schema != nil && kind.Kind == r.Kind && kind.Version == r.Version && strings.EqualFold(kind.Group, r.Group) {
			return strategicpatch.PatchMetaFromOpenAPIV3{SchemaList: d.Components.Schemas, Schema: schema}
		}
	}
	return nil
}

// documents are shared by all clusters: a fleet has few versions of Kubernetes.
var documents = documentCache{most: 48, held: map[string]*document{}}

type documentCache struct {
	most int
	mu   sync.Mutex
	held map[string]*document
}

func (c *documentCache) get(at string) *document {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held[at]
}

func (c *documentCache) put(at string, d *document) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.held) >= c.most {
		clear(c.held) // what is in use comes back with the next deploy
	}
	c.held[at] = d
}
