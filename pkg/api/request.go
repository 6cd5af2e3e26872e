package api

import (
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/go-chi/chi/v5"
)

// segments decodes path parameters by name.
func segments(r *http.Request, names ...string) ([]string, error) {
	out := make([]string, len(names))
	for i, name := range names {
		decoded, err := url.PathUnescape(chi.URLParam(r, name))
		if err != nil {
			return nil, problem{status: http.StatusBadRequest, message: "path parameter '" + name + "' is not percent-encoded correctly"}
		}
		if !utf8.ValidString(decoded) || strings.ContainsRune(decoded, 0) {
			return nil, problem{status: http.StatusBadRequest, message: "path parameter '" + name + "' is not valid UTF-8 text"}
		}
		out[i] = decoded
	}
	return out, nil
}

// boolean reads a query parameter: the text true in any case, or the default
// when it is not there.
func boolean(q url.Values, name string, byDefault bool) bool {
	if !q.Has(name) {
		return byDefault
	}
	return strings.EqualFold(q.Get(name), "true")
}

// list reads a query parameter that may be repeated, joined by commas, or
// both. present is true also for an empty one.
func list(q url.Values, name string) (values []string, present bool) {
	for _, joined := range q[name] {
		for _, v := range strings.Split(joined, ",") {
			if v = strings.TrimSpace(v); v != "" {
				values = append(values, v)
			}
		}
	}
	return values, q.Has(name)
}
