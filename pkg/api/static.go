package api

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/datapunchorg/go-clouddriver/pkg/operation"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
)

// static is a route whose answer never changes: what Java Clouddriver's other
// controllers answer when Kubernetes is the only provider (read-rest.md 3.6).
type static struct{ pattern, body string }

const (
	emptyList   = "[]"
	emptyObject = "{}"
	nothing     = ""
)

var statics = []static{
	{"/subnets", emptyList}, {"/subnets/{provider}", emptyList},
	{"/networks", emptyObject}, {"/networks/{provider}", emptyList}, {"/vpcs", emptyList},
	{"/elasticIps/{account}", emptyList}, {"/keyPairs", emptyList}, {"/instanceTypes", emptyList},
	{"/certificates", emptyList}, {"/certificates/{provider}", emptyList},
	{"/functions", emptyList}, {"/applications/{application}/functions", emptyList},
	{"/tags", emptyList}, {"/storage", emptyList},
	// Registries may be configured in another Clouddriver; here they have nothing.
	{"/dockerRegistry/images/find", emptyList}, {"/dockerRegistry/images/tags", emptyList},
	{"/reports/reservation", emptyList}, {"/reports/reservation/{name}", emptyList},
	{"/servicebroker/{account}/services", emptyList}, {"/servicebroker/{account}/serviceInstance", nothing},
}

// absences are routes of other providers whose objects are not there.
var absences = map[string]string{
	"/tags/{id}":                     "No EntityTags found w/ id = '{id}'",
	"/images/{provider}/{id}":        "ImageProvider for provider {provider} not found.",
	"/v1/data/static/{id}":           "No data available (id: {id})",
	"/v1/data/adhoc/{id}/{bucket}/*": "No data available (groupId: {id})",
}

// isStatic says whether a route belongs to other providers.
func isStatic(pattern string) bool {
	_, absent := absences[pattern]
	return absent || slices.ContainsFunc(statics, func(s static) bool { return s.pattern == pattern })
}

func (s *Server) staticRoutes(r chi.Router) {
	for _, route := range statics {
		r.Get(route.pattern, func(w http.ResponseWriter, _ *http.Request) {
			if route.body != nothing {
				w.Header().Set("Content-Type", contentType)
			}
			_, _ = io.WriteString(w, route.body) // the caller may be gone
		})
	}
	for pattern, text := range absences {
		r.Get(pattern, func(w http.ResponseWriter, r *http.Request) {
			p, err := segments(r, "id", "provider")
			if err == nil {
				err = view.NotFoundError(strings.NewReplacer("{id}", p[0], "{provider}", p[1]).Replace(text))
			}
			s.fail(w, r, err)
		})
	}
	for _, pattern := range []string{"/cloudMetrics/{provider}/{account}/{region}", "/cloudMetrics/{provider}/{account}/{region}/{metric}/statistics"} {
		r.Get(pattern, func(w http.ResponseWriter, r *http.Request) {
			p, err := segments(r, "provider")
			if err == nil {
				err = bad("No provider found named '%s' that supports cloud metrics", p[0])
			}
			s.fail(w, r, err)
		})
	}
	r.Get("/installedPlugins", func(w http.ResponseWriter, r *http.Request) { s.json(w, r, []any{}) })
	r.Get("/features/stages", s.features)
	r.Get("/cache/introspection", s.introspection)
	r.Get("/cache/{provider}/{type}", func(w http.ResponseWriter, r *http.Request) { s.json(w, r, []any{}) })
	r.Post("/cache/{provider}/{type}", s.refreshCache)
}

// features lists the operations. Orca looks for an enabled upsertEntityTags,
// which must not be there (read-rest.md 3.4).
func (s *Server) features(w http.ResponseWriter, r *http.Request) {
	type stage struct {
		Name    string `json:"name"`
		Enabled bool   `json:"enabled"`
	}
	out := []stage{}
	for _, name := range operation.Names() {
		out = append(out, stage{name, true})
	}
	s.json(w, r, out)
}

// refreshCache answers what callers of polled caches wait for: that nothing is
// pending. What is shown here is never behind what was written (read-rest.md
// 3.5).
func (s *Server) refreshCache(w http.ResponseWriter, r *http.Request) {
	const most = 1 << 20
	var body map[string]any
	if err := json.NewDecoder(io.LimitReader(r.Body, most)).Decode(&body); err != nil || body == nil {
		s.fail(w, r, bad("the body must be a JSON object"))
		return
	}
	s.json(w, r, map[string]any{"cachedIdentifiersByType": map[string]any{}})
}

// introspection tells of every watch as Java Clouddriver tells of its caching
// agents.
func (s *Server) introspection(w http.ResponseWriter, r *http.Request) {
	type agent struct {
		ID                      string `json:"id"`
		Provider                string `json:"provider"`
		TotalAdditions          uint64 `json:"totalAdditions"`
		TotalEvictions          uint64 `json:"totalEvictions"`
		LastExecutionDurationMs int64  `json:"lastExecutionDurationMs"`
		LastExecutionStartMs    int64  `json:"lastExecutionStartMs"`
		LastExecutionStartDate  string `json:"lastExecutionStartDate"`
		LastError               string `json:"lastError,omitempty"`
	}
	out := []agent{}
	for _, a := range s.Fleet.Status() {
		for _, k := range a.Kinds {
			out = append(out, agent{
				ID: strings.Join([]string{a.Account, k.Kind, k.Namespace}, "/"), Provider: kubernetes, TotalAdditions: k.Events,
				LastExecutionStartMs: a.Since.UnixMilli(), LastExecutionStartDate: a.Since.UTC().Format(time.RFC3339), LastError: k.Message,
			})
		}
	}
	s.json(w, r, out)
}
