package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"mime"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-chi/chi/v5"
	"sigs.k8s.io/yaml"

	"github.com/datapunchorg/go-clouddriver/pkg/api"
)

// description is the service's OpenAPI description, with a router of its own:
// what it says is looked up by what callers send, not by our routes.
type description struct {
	doc   *openapi3.T
	paths chi.Router
	seed  maphash.Seed
	known sync.Map // answers that were found to be right
}

var described = sync.OnceValues(func() (*description, error) {
	raw, err := yaml.YAMLToJSON(api.OpenAPI)
	if err != nil {
		return nil, err
	}
	doc, err := openapi3.NewLoader().LoadFromData(raw)
	if err != nil {
		return nil, err
	}
	d := &description{doc: doc, paths: chi.NewRouter(), seed: maphash.MakeSeed()}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			d.paths.MethodFunc(method, strings.Replace(path, "/{object}", "/*", 1), func(http.ResponseWriter, *http.Request) {})
		}
	}
	return d, nil
})

// check compares an answer with the description; nil when it is as described.
func (d *description) check(r *http.Request, status int, header http.Header, body []byte) error {
	path := strings.TrimSuffix(r.URL.EscapedPath(), "/")
	if path == "" {
		path = "/"
	}
	pattern := strings.Replace(d.paths.Find(chi.NewRouteContext(), r.Method, path), "/*", "/{object}", 1)
	schema := d.doc.Components.Schemas["Problem"]
	if pattern != "" {
		operation := d.doc.Paths.Value(pattern).GetOperation(r.Method)
		response := operation.Responses.Status(status)
		switch {
		case response != nil:
		case status == http.StatusNotModified:
			if len(body) > 0 {
				return fmt.Errorf("%s: 304 with a body", pattern)
			}
			return nil
		case status < http.StatusBadRequest || operation.Responses.Default() == nil:
			return fmt.Errorf("%s: status %d is not described", pattern, status)
		default:
			response = operation.Responses.Default()
		}
		if len(body) == 0 && (len(response.Value.Content) == 0 || pattern != "" && strings.HasSuffix(pattern, "{summary}")) {
			return nil
		}
		kind, _, err := mime.ParseMediaType(header.Get("Content-Type"))
		if err != nil {
			return fmt.Errorf("%s: content type %q: %w", pattern, header.Get("Content-Type"), err)
		}
		content := response.Value.Content[kind]
		switch {
		case content == nil:
			return fmt.Errorf("%s: %s with status %d is not described", pattern, kind, status)
		case kind != "application/json":
			return nil
		}
		schema = content.Schema
	} else if status < http.StatusBadRequest {
		return fmt.Errorf("%s %s: status %d, and no such path is described", r.Method, path, status)
	}
	var sum maphash.Hash
	sum.SetSeed(d.seed)
	_, _ = fmt.Fprintln(&sum, pattern, r.Method, status)
	_, _ = sum.Write(body)
	if _, ok := d.known.Load(sum.Sum64()); ok {
		return nil
	}
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		return fmt.Errorf("%s: %w in %.300s", pattern, err, body)
	}
	if err := schema.Value.VisitJSON(value, openapi3.MultiErrors()); err != nil {
		return fmt.Errorf("%s %s, status %d: %w", r.Method, pattern, status, err)
	}
	d.known.Store(sum.Sum64(), struct{}{})
	return nil
}

// copied keeps what is answered.
type copied struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (c *copied) WriteHeader(status int) {
	c.status = status
	c.ResponseWriter.WriteHeader(status)
}

func (c *copied) Write(p []byte) (int, error) {
	if c.Header().Get("Content-Type") != "application/octet-stream" { // any bytes are right
		c.body.Write(p)
	}
	return c.ResponseWriter.Write(p)
}

func (c *copied) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// asDescribed fails the test for every answer that the description does not
// allow. Compressed answers are the same bytes as others, and are passed over.
func asDescribed(t testing.TB, next http.Handler) http.Handler {
	d, err := described()
	if err != nil {
		t.Fatal(err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/stream") {
			next.ServeHTTP(w, r)
			return
		}
		c := &copied{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(c, r)
		if w.Header().Get("Content-Encoding") != "" || w.Header().Get(fakeHeader) != "" || r.Method == http.MethodHead {
			return
		}
		if err := d.check(r, c.status, w.Header(), c.body.Bytes()); err != nil {
			t.Errorf("not as the OpenAPI description says: %v", err)
		}
	})
}
