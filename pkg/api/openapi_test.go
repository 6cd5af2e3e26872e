package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-chi/chi/v5"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/page"
)

func description(t *testing.T) *openapi3.T {
	t.Helper()
	raw, err := openAPIJSON()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(raw)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestOpenAPI_DescribesEveryRoute compares the description with the router,
// both ways.
func TestOpenAPI_DescribesEveryRoute(t *testing.T) {
	doc := description(t)
	if err := doc.Validate(t.Context()); err != nil {
		t.Error(err)
	}
	described := map[string]bool{}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			described[method+" "+path] = true
		}
	}
	router, err := newRouter(Options{Limits: config.Server{MaxInFlight: 1, MaxStreams: 1}, Metrics: http.NotFoundHandler(), Pages: &page.Pages{}})
	if err != nil {
		t.Fatal(err)
	}
	err = chi.Walk(router, func(method, pattern string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if pattern != "/" {
			pattern = strings.TrimSuffix(strings.Replace(pattern, "/*", "/{object}", 1), "/")
		}
		route := method + " " + pattern
		if !described[route] {
			t.Errorf("%s is not described", route)
		}
		delete(described, route)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	left := make([]string, 0, len(described))
	for route := range described {
		left = append(left, route)
	}
	if slices.Sort(left); len(left) > 0 {
		t.Errorf("described, but no route: %q", left)
	}
}
