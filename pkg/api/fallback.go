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
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/datapunchorg/go-clouddriver/pkg/fallback"
	"github.com/datapunchorg/go-clouddriver/pkg/operation"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// Fallback is another Clouddriver, which has the accounts and providers that
// this one has not; fallback.Fallback is one.
type Fallback interface {
	HandOver(w http.ResponseWriter, r *http.Request, fail func(error))
	List(r *http.Request, route string) (fallback.Answer, error)
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
	"/applications/{application}/serverGroups":        mergeByPlace,
	"/applications/{application}/serverGroupManagers": mergeByPlace,
	"/applications/{application}/loadBalancers":       mergeByName,
	"/applications/{application}/rawResources":        mergeByPlace,
	"/serverGroups":                                   mergeByPlace,
	"/securityGroups":                                 mergeObjects,
	"/search":                                         mergeSearch,
	"/credentials":                                    mergeUnique,
	"/artifacts/credentials":                          mergeUnique,
	"/features/stages":                                mergeUnique,
	"/projects/{project}/clusters":                    mergeProjects,
	"/task":                                           mergeByPlace, // tasks have none and stay in order
}

// neverTheirs are the first segments of paths that tell about a process of
// Java's, or change it: Spring's actuators, and the routes of administrators.
var neverTheirs = []string{
	"actuator", "admin", "aop-metrics", "auditevents", "autoconfig", "beans", "caches", "conditions", "configprops", "dump", "env", "flyway", "health", "heapdump",
	"httpexchanges", "httptrace", "info", "integrationgraph", "jolokia", "liquibase", "logfile", "loggers", "mappings", "metrics", "openapi.json", "pause", "prometheus",
	"quartz", "readyz", "refresh", "resolvedenv", "restart", "resume", "sbom", "scheduledtasks", "sessions", "shutdown", "spectator", "startup", "threaddump", "trace", "version",
}

// handOver lets the fallback answer for what this service has not. routes
// matches requests to patterns.
func (s *Server) handOver(routes chi.Routes) func(http.Handler) http.Handler {
	over := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		freeSlot(r) // one that does not answer must not use up our own
		s.Fallback.HandOver(w, r, func(err error) {
			w.Header().Set("Retry-After", "5")
			s.fail(w, r, problem{status: http.StatusServiceUnavailable, message: err.Error()})
		})
	})
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if fallback.Passed(r) { // it asks us for what we ask it for
				next.ServeHTTP(w, r)
				return
			}
			matched := chi.NewRouteContext()
			pattern := routes.Find(matched, r.Method, r.URL.RawPath)
			who, err := s.whose(r, pattern, matched.URLParam)
			if err == nil && pattern == "" && who == theirs && s.isOurPath(routes, r) {
				who = ours // only the method is wrong
			}
			switch {
			case err != nil:
				s.fail(w, r, err)
			case who == theirs:
				chi.RouteContext(r.Context()).RoutePatterns = []string{pattern} // for the metrics
				over.ServeHTTP(w, r)
			case who == oursFirst:
				s.oursFirst(w, r, next, over)
			case who == merged:
				s.merged(w, r, next, pattern)
			default:
				next.ServeHTTP(w, r)
			}
		})
	}
}

// isOurPath says whether a path that has no route for the request's method is
// ours for another.
func (s *Server) isOurPath(routes chi.Routes, r *http.Request) bool {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch} {
		matched := chi.NewRouteContext()
		pattern := routes.Find(matched, method, r.URL.RawPath)
		if pattern == "" {
			continue
		}
		asked := r.Clone(r.Context())
		asked.Method, asked.Body = method, http.NoBody
		if who, err := s.whose(asked, pattern, matched.URLParam); err == nil && who != theirs {
			return true
		}
	}
	return false
}

// handedOver are the segments of a path as Java reads it, which takes off what
// follows a semicolon; ok is false where the path leads elsewhere.
func handedOver(path string) (segments []string, ok bool) {
	for segment := range strings.SplitSeq(path, "/") {
		segment, _, _ = strings.Cut(segment, ";")
		switch segment {
		case "":
		case ".", "..":
			return nil, false
		default:
			segments = append(segments, strings.ToLower(segment))
		}
	}
	return segments, len(segments) > 0
}

// whose decides by the route, the account and the provider.
func (s *Server) whose(r *http.Request, pattern string, param func(string) string) (whose, error) {
	parts, ok := handedOver(r.URL.Path)
	accountName, err := url.PathUnescape(param("account"))
	provider := param("provider")
	switch {
	case err != nil, !ok, slices.Contains(neverTheirs, parts[0]), len(parts) > 1 && parts[0] == "v1" && parts[1] == kubernetes:
		return ours, nil //nolint:nilerr // the handler says what is wrong
	case pattern == "":
		return theirs, nil
	case r.Method == http.MethodPost && (strings.HasSuffix(pattern, "/ops") || strings.HasSuffix(pattern, "/ops/{name}")):
		return s.whoseOperations(r, provider, param("name"))
	case r.Method == http.MethodPost && pattern == "/cache/{provider}/{type}" && provider == kubernetes:
		return s.whoseCache(r)
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

// again reads a body and puts it back.
func again(r *http.Request, most int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, most))
	if err != nil {
		return nil, bad("read the body: %v", err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return body, nil
}

// whoseOperations reads a request of operations, which all have to belong to
// one of both. A single one is named in the path.
func (s *Server) whoseOperations(r *http.Request, provider, single string) (whose, error) {
	if provider != "" && provider != kubernetes {
		return theirs, nil
	}
	body, err := again(r, bodyLimit)
	if err != nil {
		return ours, err
	}
	requests := []operation.Request{{Name: single, Body: body}}
	if single == "" {
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
		bare, _, _ := strings.Cut(request.Name, "@")
		nameless := name == "" && (provider == kubernetes || slices.Contains(operation.Names(), bare))
		if cmp.Or(provider, d.CloudProvider, kubernetes) == kubernetes && (known || nameless) {
			mine = append(mine, cmp.Or(name, "(no account)"))
		} else {
			other = append(other, cmp.Or(name, request.Name))
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

// whoseCache gives the refresh of an object to who has its account.
func (s *Server) whoseCache(r *http.Request) (whose, error) {
	const most = 1 << 20
	body, err := again(r, most)
	if err != nil {
		return ours, err
	}
	var d struct{ Account, Credentials string }
	if json.Unmarshal(body, &d) != nil {
		return ours, nil //nolint:nilerr // the handler says what is wrong
	}
	name := cmp.Or(d.Account, d.Credentials)
	if _, known := s.Accounts.Get(name); name != "" && !known {
		return theirs, nil
	}
	return ours, nil
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
	body, err := again(r, bodyLimit)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	mine := newBuffered()
	next.ServeHTTP(mine, r)
	if mine.status != http.StatusNotFound {
		mine.send(w)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	over.ServeHTTP(w, r)
}

// merged answers with what both have. Where the fallback's part is missing, a
// list is ours alone and a header says so. What we do not know and could not
// ask for is not said to be absent: Orca takes that for leave to delete.
func (s *Server) merged(w http.ResponseWriter, r *http.Request, next http.Handler, pattern string) {
	j := joint{query: r.URL.Query(), isOurs: func(name string) bool {
		_, known := s.Accounts.Get(name)
		return known
	}}
	type part struct {
		fallback.Answer
		err error
	}
	asked := make(chan part, 1)
	if theirPart := j.question(r, pattern); theirPart == nil {
		asked <- part{Answer: fallback.Answer{Status: http.StatusNotFound}} // it has nothing to add
	} else {
		go func() {
			a, err := s.Fallback.List(theirPart, pattern)
			asked <- part{a, err}
		}()
	}
	mine := newBuffered()
	plain := r.Clone(r.Context())
	plain.Header.Del("If-None-Match")
	plain.Header.Del("Accept-Encoding")
	next.ServeHTTP(mine, plain)
	found := mine.status == http.StatusOK
	if !found && mine.status != http.StatusNotFound {
		mine.send(w)
		return
	}
	other := <-asked
	body, failed := s.join(j, pattern, mine, other.Answer, other.err)
	header := w.Header()
	for _, name := range []string{FallbackHeader, StaleHeader} {
		if all := slices.Concat(mine.header.Values(name), other.Header.Values(name)); len(all) > 0 {
			header.Set(name, strings.Join(all, ","))
		}
	}
	switch {
	case failed == nil && body == nil: // nobody has it
		mine.send(w)
	case failed == nil:
		s.send(w, r, &watch.Health{}, newAnswer(body))
	case !found && other.err == nil && other.Status >= http.StatusBadRequest && other.Status < http.StatusInternalServerError:
		header.Set("Content-Type", other.Header.Get("Content-Type"))
		w.WriteHeader(other.Status) // what it refuses
		_, _ = w.Write(other.Body)  // the caller may be gone
	case !found:
		header.Set("Retry-After", "5")
		s.fail(w, r, problem{status: http.StatusServiceUnavailable, message: "not known here, and the fallback could not be asked: " + failed.Error()})
	default:
		if !errors.Is(failed, fallback.ErrResting) {
			s.Log.Warn("a list goes without the fallback's part", "path", r.URL.Path, "error", failed)
		}
		header.Set(FallbackHeader, "unavailable")
		s.send(w, r, &watch.Health{}, newAnswer(body))
	}
}

// keptFor is how long accounts of a fallback that does not answer are shown:
// Fiat and Gate load them seldom, and take one that is missing for gone.
const keptFor = time.Hour

type keptPart struct {
	body []byte
	at   time.Time
}

// join makes one body of both parts, nil where nobody has anything. With an
// error it is what we have ourselves, or have known of the other.
func (s *Server) join(j joint, pattern string, mine *buffered, other fallback.Answer, err error) (body []byte, failed error) {
	var own []byte
	if mine.status == http.StatusOK {
		own = mine.body.Bytes()
	}
	if err == nil && other.Status == http.StatusOK {
		if body, err = merges[pattern](j, own, other.Body); err == nil {
			s.remember(j, pattern, other.Body)
			return body, nil
		}
	}
	if err == nil && other.Status == http.StatusNotFound {
		return own, nil
	}
	if err == nil {
		err = fmt.Errorf("it answers with status %d", other.Status)
	}
	if kept, ok := s.lastParts.Load(j.kind(pattern)); ok {
		if part, _ := kept.(keptPart); time.Since(part.at) < keptFor {
			if body, merging := merges[pattern](j, own, part.body); merging == nil {
				return body, err
			}
		}
	}
	return own, err
}

func (s *Server) remember(j joint, pattern string, body []byte) {
	if key := j.kind(pattern); key != "" {
		s.lastParts.Store(key, keptPart{body, time.Now()})
	}
}
