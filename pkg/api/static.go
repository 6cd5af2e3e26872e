package api

import (
	"encoding/json"
	"io"
	"strings"
	"time"

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
	{"/reports/reservation", emptyList}, {"/reports/reservation/{name}", emptyList},
	{"/servicebroker/{account}/services", emptyList}, {"/servicebroker/{account}/serviceInstance", nothing},
}

// absences are routes of other providers whose objects are not there.
var absences = map[string]string{
	"/tags/{id}":              "No EntityTags found w/ id = '{id}'",
	"/images/{provider}/{id}": "ImageProvider for provider {provider} not found.",
	"/{provider}/images/{account}/{region}/{id}": "Image not found (id: {id})",
	"/{provider}/charts/{account}/{region}/{id}": "Chart not found (id: {id})",
	"/v1/data/static/{id}":                       "No data available (id: {id})",
	"/v1/data/adhoc/{id}/{bucket}/*":             "No data available (groupId: {id})",
}

// answer implements a handler.
func (c static) answer(*Server, *request) (reply, error) {
	if c.body == nothing {
		return reply{}, nil
	}
	return reply{answer: unnamed([]byte(c.body))}, nil
}

func absent(text string) handler {
	return func(_ *Server, r *request) (reply, error) {
		p := r.segments("id", "provider")
		return reply{}, view.NotFoundError(strings.NewReplacer("{id}", p[0], "{provider}", p[1]).Replace(text))
	}
}

func constantly(answer any) handler {
	return func(*Server, *request) (reply, error) { return model(answer) }
}

func (s *Server) noCloudMetrics(r *request) (reply, error) {
	return reply{}, bad("No provider found named '%s' that supports cloud metrics", r.path["provider"])
}

// features lists the operations. Orca looks for an enabled upsertEntityTags,
// which must not be there (read-rest.md 3.4).
func (s *Server) features(*request) (reply, error) {
	type stage struct {
		Name    string `json:"name"`
		Enabled bool   `json:"enabled"`
	}
	out := []stage{}
	for _, name := range operation.Names() {
		if name == "destroyJob" { // not a stage: only Orca's way to cancel one
			continue
		}
		out = append(out, stage{name, true})
	}
	return model(out)
}

// refreshCache answers what callers of polled caches wait for: that nothing is
// pending. What is shown here is never behind what was written (read-rest.md
// 3.5).
func (s *Server) refreshCache(r *request) (reply, error) {
	const most = 1 << 20
	var body map[string]any
	if err := json.NewDecoder(io.LimitReader(r.Body, most)).Decode(&body); err != nil || body == nil {
		return reply{}, bad("the body must be a JSON object")
	}
	return model(map[string]any{"cachedIdentifiersByType": map[string]any{}})
}

// introspection tells of every watch as Java Clouddriver tells of its caching
// agents.
func (s *Server) introspection(r *request) (reply, error) {
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
		if !s.sees(r).account(a.Account) {
			continue
		}
		for _, k := range a.Kinds {
			out = append(out, agent{
				ID: strings.Join([]string{a.Account, k.Kind, k.Namespace}, "/"), Provider: kubernetes, TotalAdditions: k.Events,
				LastExecutionStartMs: a.Since.UnixMilli(), LastExecutionStartDate: a.Since.UTC().Format(time.RFC3339), LastError: k.Message,
			})
		}
	}
	return model(out)
}
