package api

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/datapunchorg/go-clouddriver/pkg/fallback"
	"github.com/datapunchorg/go-clouddriver/pkg/operation"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// Fallback is another Clouddriver, which has the accounts and providers that
// this one has not; fallback.Fallback is one.
type Fallback interface {
	HandOver(w http.ResponseWriter, r *http.Request, fail func(error))
	List(r *http.Request) (status int, body []byte, err error)
}

// FallbackHeader says that a list goes without what the fallback has.
const FallbackHeader = "X-Clouddriver-Fallback"

// whose says who answers a route.
type whose int

const (
	ours whose = iota
	theirs
	// oursFirst is theirs where we know nothing.
	oursFirst
	merged
)

// merges are the lists that both serve, by the pattern of their route.
var merges = map[string]merge{
	"/applications":                                   mergeApplications,
	"/applications/{application}":                     mergeObjects,
	"/applications/{application}/clusters":            mergeObjects,
	"/applications/{application}/serverGroups":        mergeByAccount,
	"/applications/{application}/serverGroupManagers": mergeByAccount,
	"/applications/{application}/loadBalancers":       mergeByAccount,
	"/applications/{application}/rawResources":        mergeByAccount,
	"/serverGroups":                                   mergeByAccount,
	"/securityGroups":                                 mergeObjects,
	"/search":                                         mergeSearch,
	"/credentials":                                    mergeByName,
	"/artifacts/credentials":                          mergeByName,
	"/features/stages":                                mergeByName,
	"/projects/{project}/clusters":                    mergeProjects,
	"/task":                                           mergeByAccount, // which drops nothing: tasks have none
}

// neverTheirs are the first segments of paths that are no routes of Clouddriver
// but tell about its process, or are ours alone.
var neverTheirs = []string{
	"actuator", "aop-metrics", "auditevents", "autoconfig", "beans", "caches", "conditions", "configprops", "dump", "env", "flyway", "health", "heapdump",
	"httptrace", "info", "jolokia", "liquibase", "logfile", "loggers", "mappings", "metrics", "prometheus", "refresh", "resolvedenv", "restart",
	"scheduledtasks", "sessions", "shutdown", "spectator", "startup", "threaddump", "trace", "version",
}

// handOver lets the fallback answer for what this service has not. routes
// matches requests to patterns.
func (s *Server) handOver(routes chi.Routes) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		over := s.shed(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.Fallback.HandOver(w, r, func(err error) {
				s.fail(w, r, problem{status: http.StatusServiceUnavailable, message: err.Error()})
			})
		}))
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if fallback.Passed(r) { // it asks us for what we ask it for
				next.ServeHTTP(w, r)
				return
			}
			matched := chi.NewRouteContext()
			pattern := routes.Find(matched, r.Method, r.URL.RawPath)
			who, err := s.whose(r, pattern, matched.URLParam)
			switch {
			case err != nil:
				s.fail(w, r, err)
			case who == theirs:
				chi.RouteContext(r.Context()).RoutePatterns = []string{pattern} // for the metrics
				over.ServeHTTP(w, r)
			case who == oursFirst:
				s.oursFirst(w, r, next, over)
			case who == merged:
				s.merged(w, r, next, merges[pattern])
			default:
				next.ServeHTTP(w, r)
			}
		})
	}
}

// whose decides by the route, the account and the provider.
func (s *Server) whose(r *http.Request, pattern string, param func(string) string) (whose, error) {
	first, _, _ := strings.Cut(strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/"), "/")
	first, _, _ = strings.Cut(first, ";")
	accountName, err := url.PathUnescape(param("account"))
	provider := param("provider")
	switch {
	case err != nil, slices.Contains(neverTheirs, strings.ToLower(first)), strings.HasPrefix(pattern, "/v1/kubernetes"):
		return ours, nil //nolint:nilerr // the handler says what is wrong
	case pattern == "":
		return theirs, nil
	case r.Method == http.MethodPost && (strings.HasSuffix(pattern, "/ops") || strings.HasSuffix(pattern, "/ops/{name}")):
		return s.whoseOperations(r, provider, strings.HasSuffix(pattern, "/{name}"))
	case r.Method == http.MethodGet && merges[pattern] != nil:
		return merged, nil
	case isStatic(pattern), strings.HasPrefix(pattern, "/artifacts/"):
		return theirs, nil
	case accountName != "":
		if _, known := s.Accounts.Get(accountName); !known {
			return theirs, nil
		}
	case provider != "" && provider != kubernetes:
		return theirs, nil
	case strings.Contains(pattern, "/task/{id}"):
		return oursFirst, nil
	}
	return ours, nil
}

// whoseOperations reads a request of operations, which all have to belong to
// one of both. A single one is named in the path.
func (s *Server) whoseOperations(r *http.Request, provider string, single bool) (whose, error) {
	if provider != "" && provider != kubernetes {
		return theirs, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, bodyLimit))
	if err != nil {
		return ours, bad("read the body: %v", err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	requests := []operation.Request{{Body: body}}
	if !single {
		if requests, err = operation.Split(body); err != nil {
			return ours, nil //nolint:nilerr // the handler says what is wrong
		}
	}
	var mine, other []string
	for _, request := range requests {
		var d struct{ Account, Credentials, CloudProvider string }
		if json.Unmarshal(request.Body, &d) != nil {
			return ours, nil //nolint:nilerr // as above
		}
		name := cmp.Or(d.Account, d.Credentials)
		_, known := s.Accounts.Get(name)
		kind := cmp.Or(provider, d.CloudProvider, kubernetes)
		if kind == kubernetes && (known || name == "") {
			mine = append(mine, name)
		} else {
			other = append(other, name)
		}
	}
	switch {
	case len(other) == 0:
		return ours, nil
	case len(mine) == 0:
		return theirs, nil
	}
	return ours, bad("credentials: this service has %s, and the fallback %s: send their operations in requests of their own", strings.Join(mine, ", "), strings.Join(other, ", "))
}

// buffered is an answer that is looked at before it is sent.
type buffered struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func newBuffered() *buffered { return &buffered{header: http.Header{}, status: http.StatusOK} }

func (b *buffered) Header() http.Header         { return b.header }
func (b *buffered) WriteHeader(status int)      { b.status = status }
func (b *buffered) Write(p []byte) (int, error) { return b.body.Write(p) }

func (b *buffered) send(w http.ResponseWriter) {
	maps.Copy(w.Header(), b.header)
	w.WriteHeader(b.status)
	_, _ = w.Write(b.body.Bytes()) // the caller may be gone
}

// oursFirst asks the fallback where we answer 404.
func (s *Server) oursFirst(w http.ResponseWriter, r *http.Request, next, over http.Handler) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, bodyLimit))
	if err != nil {
		s.fail(w, r, bad("read the body: %v", err))
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	mine := newBuffered()
	next.ServeHTTP(mine, r)
	if mine.status != http.StatusNotFound {
		mine.send(w)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	over.ServeHTTP(w, r)
}

// merged answers with what both have. Without the fallback's part, ours is the
// answer and a header says so.
func (s *Server) merged(w http.ResponseWriter, r *http.Request, next http.Handler, merge merge) {
	type part struct {
		status int
		body   []byte
		err    error
	}
	asked := make(chan part, 1)
	go func() {
		status, body, err := s.Fallback.List(r)
		asked <- part{status, body, err}
	}()
	mine := newBuffered()
	plain := r.Clone(r.Context())
	plain.Header.Del("If-None-Match")
	plain.Header.Del("Accept-Encoding")
	next.ServeHTTP(mine, plain)
	other := <-asked
	body, found := mine.body.Bytes(), mine.status == http.StatusOK
	switch {
	case other.err != nil || !found && mine.status != http.StatusNotFound:
	case other.status == http.StatusOK && found:
		body, other.err = merge(body, other.body, func(name string) bool {
			_, known := s.Accounts.Get(name)
			return known
		})
	case other.status == http.StatusOK && json.Valid(other.body):
		body, found = other.body, true
	case other.status != http.StatusNotFound:
		other.err = fmt.Errorf("it answers with status %d", other.status)
	}
	if other.err != nil {
		if !errors.Is(other.err, fallback.ErrResting) {
			s.Log.Warn("a list goes without the fallback's part", "path", r.URL.Path, "error", other.err)
		}
		mine.header.Set(FallbackHeader, "unavailable")
		body = mine.body.Bytes()
	}
	if !found {
		mine.send(w)
		return
	}
	for _, name := range []string{FallbackHeader, StaleHeader} {
		if v := mine.header.Get(name); v != "" {
			w.Header().Set(name, v)
		}
	}
	s.send(w, r, &watch.Health{}, newAnswer(body))
}
