package api

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// loggedBody is how much of a body is looked at for the log.
const loggedBody = 256 << 10

// What is logged is named here; everything else may be a secret, or hold one. A
// log is read by more people than a database.
var (
	loggedHeaders = []string{
		"Accept", "Accept-Encoding", "Content-Length", "Content-Type", "If-None-Match", "Last-Event-Id", "User-Agent", "Via",
		"X-Spinnaker-Account", "X-Spinnaker-Accounts", "X-Spinnaker-Anonymous", "X-Spinnaker-Application", "X-Spinnaker-Cloud-Provider",
		"X-Spinnaker-Execution-Id", "X-Spinnaker-Execution-Type", "X-Spinnaker-Request-Id", "X-Spinnaker-User", "X-Spinnaker-User-Origin",
	}
	loggedQuery = []string{
		"account", "applications", "before", "clientRequestId", "cloudProvider", "clusters", "dryRun", "expand", "ids", "includeEvents", "limit", "namespace", "onlyEnabled",
		"page", "pageSize", "platform", "provider", "region", "restricted", "startingAccountName", "type", "validateOldest",
	}
	loggedFields = []string{
		"account", "apiVersion", "app", "application", "cascading", "cloudProvider", "cluster", "credentials", "criteria", "kind", "kinds", "location", "manifestName", "mergeStrategy",
		"moniker", "name", "namespace", "namespaces", "provider", "replicas", "retry", "source", "stack", "strategy", "targetName", "tokenProvider", "type", "versioned",
	}
)

// verbose logs requests for somebody who is looking for a fault.
func (s *Server) verbose(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Only the start is held back; the handler reads all of it.
		start, err := io.ReadAll(io.LimitReader(r.Body, loggedBody))
		if err == nil {
			r.Body = rest{io.MultiReader(bytes.NewReader(start), r.Body), r.Body}
		}
		s.Log.Info("request", "method", r.Method, "path", r.URL.Path, "query", shownQuery(r.URL.Query()), "headers", shownHeaders(r.Header), "body", shownBody(start))
		next.ServeHTTP(w, r)
	})
}

type rest struct {
	io.Reader
	io.Closer
}

// masked stands for what is not shown.
const masked = "***"

func shownHeaders(header http.Header) map[string]string {
	out := map[string]string{}
	for name, values := range header {
		if slices.Contains(loggedHeaders, name) {
			out[name] = strings.Join(values, ", ")
		} else {
			out[name] = masked
		}
	}
	return out
}

func shownQuery(query url.Values) string {
	out := url.Values{}
	for name, values := range query {
		if !slices.Contains(loggedQuery, name) {
			values = []string{masked}
		}
		out[name] = values
	}
	return out.Encode()
}

// shownBody is a JSON body with the fields that are named above; of the others,
// only that they are there. One that is cut off or no JSON is not shown.
func shownBody(body []byte) string {
	if len(body) == 0 {
		return ""
	}
	var model any
	if json.Unmarshal(body, &model) != nil {
		return "(not shown: no JSON, or too long)"
	}
	out, err := json.Marshal(shownModel(model, false))
	if err != nil {
		return "(not shown)"
	}
	return string(out)
}

// opaque are fields whose whole content is the user's own.
var opaque = []string{"artifacts", "requiredArtifacts", "optionalArtifacts", "allArtifacts", "parameters", "patchBody", "data", "stringData", "binaryData", "spec", "annotations", "labels"}

func shownModel(model any, named bool) any {
	switch v := model.(type) {
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = shownModel(v[i], named)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if slices.Contains(opaque, key) {
				out[key] = masked
				continue
			}
			out[key] = shownModel(v[key], slices.Contains(loggedFields, key))
		}
		return out
	case nil:
		return nil
	}
	if named {
		return model
	}
	return masked
}
