package api

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/go-chi/chi/v5"

	"github.com/datapunchorg/go-clouddriver/pkg/auth"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// request is what a handler answers: its path is decoded.
type request struct {
	*http.Request
	route *route
	path  map[string]string
	// caller is who asks, and what they may.
	caller *auth.Caller
	// health is how the accounts were before anything was read.
	health *watch.Health
	// doubt is why a set may lack something, nil when it is proved. One that is
	// partial lacks what its objects show of others.
	doubt   error
	partial bool
	// about is the account that a change is of, for the audit log.
	about string
	// body is the request's, read whole; handlers that decode it as it comes have
	// r.Body.
	body []byte
	// done gives back the place that the request takes.
	done func()
}

// decoded takes a request apart. The error names a parameter that is none.
func decoded(rt *route, r *http.Request) (*request, error) {
	out := &request{Request: r, route: rt, path: map[string]string{}, health: &watch.Health{}}
	params := chi.RouteContext(r.Context()).URLParams
	for i, name := range params.Keys {
		text, err := url.PathUnescape(params.Values[i])
		if err != nil {
			return nil, problem{status: http.StatusBadRequest, message: "path parameter '" + name + "' is not percent-encoded correctly"}
		}
		if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return nil, problem{status: http.StatusBadRequest, message: "path parameter '" + name + "' is not valid UTF-8 text"}
		}
		out.path[name] = text
	}
	return out, withinQuery(r.URL)
}

// mostValues bounds a list in a query.
const mostValues = 1000

func withinQuery(u *url.URL) error {
	if len(u.RawQuery) < mostValues { // as nearly all are: each value takes a byte at least
		return nil
	}
	for name, values := range u.Query() {
		n := len(values)
		for _, joined := range values {
			n += strings.Count(joined, ",")
		}
		if n > mostValues {
			return bad("query parameter '%s' has %d values, more than %d", name, n, mostValues)
		}
	}
	return nil
}

// rewind lets the body be read from its begin.
func (r *request) rewind() {
	if r.body != nil {
		r.Body = io.NopCloser(bytes.NewReader(r.body))
	}
}

// within is the body, if it has no more than so many bytes.
func (r *request) within(most int) ([]byte, error) {
	if len(r.body) > most {
		return nil, bad("the body has more than %d bytes", most)
	}
	return r.body, nil
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
// both; each value is taken once. present is true also for an empty one.
func list(q url.Values, name string) (values []string, present bool) {
	taken := map[string]bool{}
	for _, joined := range q[name] {
		for v := range strings.SplitSeq(joined, ",") {
			if v = strings.TrimSpace(v); v != "" && !taken[v] {
				taken[v] = true
				values = append(values, v)
			}
		}
	}
	return values, q.Has(name)
}

// segments are path parameters by name, "" for one that the route has not.
func (r *request) segments(names ...string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = r.path[name]
	}
	return out
}

// accountName is the account that the path names, "" for none.
func (r *request) accountName() string {
	if r.route.errors == providerAPI {
		return r.path["name"]
	}
	return r.path["account"]
}
