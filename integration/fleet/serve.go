package fleet

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// status is a failure as Kubernetes tells it.
type status struct {
	Kind       string         `json:"kind"`
	APIVersion string         `json:"apiVersion"`
	Metadata   map[string]any `json:"metadata"`
	Status     string         `json:"status"`
	Message    string         `json:"message"`
	Reason     string         `json:"reason"`
	Details    map[string]any `json:"details,omitempty"`
	Code       int            `json:"code"`
}

func failure(code int, reason, message string) status {
	return status{Kind: "Status", APIVersion: "v1", Metadata: map[string]any{}, Status: "Failure", Message: message, Reason: reason, Code: code}
}

func fail(w http.ResponseWriter, s status) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(s.Code)
	_ = json.NewEncoder(w).Encode(s)
}

// ServeHTTP answers for the cluster that the path begins with.
func (f *Fleet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/c/"), "/")
	number, err := strconv.Atoi(text)
	if err != nil || number < 0 || number >= len(f.clusters) {
		fail(w, failure(http.StatusNotFound, "NotFound", "there is no such cluster"))
		return
	}
	c := f.clusters[number]
	f.requests.Add(1)
	switch c.is() {
	case Slow:
		select {
		case <-time.After(f.options.Delay):
		case <-r.Context().Done():
			return
		}
	case BlackHoled, Refused: // on a connection from before
		<-r.Context().Done()
		return
	}
	c.serve(counting{w, f}, r, "/"+path)
}

// counting counts the bytes of all answers.
type counting struct {
	http.ResponseWriter
	fleet *Fleet
}

func (c counting) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.fleet.bytes.Add(int64(n))
	return n, err
}

func (c counting) Flush() { c.ResponseWriter.(http.Flusher).Flush() }

func (c *Cluster) serve(w counting, r *http.Request, path string) {
	w.Header().Set("Content-Type", "application/json")
	aggregated := strings.Contains(r.Header.Get("Accept"), "as=APIGroupDiscoveryList")
	switch path {
	case "/version":
		_, _ = fmt.Fprint(w, `{"major":"1","minor":"37","gitVersion":"v1.37.0","platform":"linux/amd64"}`)
		return
	case "/api", "/apis":
		if aggregated {
			w.Header().Set("Content-Type", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
		}
		_, _ = w.Write(discovery(path, aggregated))
		return
	}
	if body := resources(path); body != nil {
		_, _ = w.Write(body)
		return
	}
	q, name, ok := parse(path)
	if !ok {
		http.NotFound(w, r) // as an API server says of what it does not serve
		return
	}
	values := r.URL.Query()
	q.selector = selectorOf(values.Get("labelSelector"))
	metadata := strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadata")
	if strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadataList") == (values.Get("watch") != "") && metadata {
		w.WriteHeader(http.StatusOK) // and nothing, as an API server does when the form does not fit
		return
	}
	switch {
	case name != "":
		c.get(w, q, name)
	case values.Get("watch") != "":
		c.fleet.watching.Add(1)
		defer c.fleet.watching.Add(-1)
		c.watch(w, r, q, metadata)
	default:
		c.fleet.lists.Add(1)
		defer c.lists()()
		c.page(w, r, q, metadata)
	}
}

// parse reads the path of a resource.
func parse(path string) (q query, name string, ok bool) {
	for i, k := range kinds {
		rest, in := strings.CutPrefix(path, k.root()+"/")
		if !in {
			continue
		}
		q := query{kind: i}
		if k.namespaced {
			if below, has := strings.CutPrefix(rest, "namespaces/"); has {
				q.namespace, rest, _ = strings.Cut(below, "/")
			}
		}
		plural, name, _ := strings.Cut(rest, "/")
		if plural == k.plural && !strings.Contains(name, "/") {
			return q, name, true
		}
	}
	return query{}, "", false
}

func (c *Cluster) get(w http.ResponseWriter, q query, name string) {
	all, _ := c.list(q)
	for _, o := range all {
		if o.name() == name {
			var t text
			t.json(o, false)
			_, _ = w.Write(append(t, '\n'))
			return
		}
	}
	k := kinds[q.kind]
	of := failure(http.StatusNotFound, "NotFound", fmt.Sprintf("%s %q not found", grouped(k), name))
	of.Details = map[string]any{"name": name, "kind": k.plural}
	if k.group != "" {
		of.Details["group"] = k.group
	}
	fail(w, of)
}

func grouped(k *kind) string {
	if k.group == "" {
		return k.plural
	}
	return k.plural + "." + k.group
}

// hangs sends the headers and nothing else, where the cluster is like that.
func (c *Cluster) hangs(w counting, r *http.Request) bool {
	if c.is() != Hangs {
		return false
	}
	w.Flush()
	<-r.Context().Done()
	return true
}

// rendered writes an object in the form that was asked for.
func (t *text) rendered(o object, metadata, item bool) {
	if metadata {
		t.partial(o, item)
	} else {
		t.json(o, item)
	}
}

// page answers a list. A page goes on from where its predecessor has ended, in the
// order of namespaces and names.
func (c *Cluster) page(w counting, r *http.Request, q query, metadata bool) {
	if c.hangs(w, r) {
		return
	}
	all, version := c.list(q)
	values := r.URL.Query()
	from, limit := 0, len(all)
	if text := values.Get("continue"); text != "" {
		decoded, err := base64.RawURLEncoding.DecodeString(text)
		if err == nil {
			_, err = fmt.Sscanf(string(decoded), "%d:%d", &version, &from)
		}
		if err != nil {
			fail(w, failure(http.StatusBadRequest, "BadRequest", "continue key is not valid"))
			return
		}
		if c.compacted(version) {
			fail(w, failure(http.StatusGone, "Expired", "The provided continue parameter is too old to display a consistent list result."))
			return
		}
	}
	if n, err := strconv.Atoi(values.Get("limit")); err == nil && n > 0 {
		limit = n
	}
	from = min(from, len(all))
	to := min(from+limit, len(all))
	kind, apiVersion := kinds[q.kind].name+"List", kinds[q.kind].apiVersion()
	if metadata {
		kind, apiVersion = "PartialObjectMetadataList", "meta.k8s.io/v1"
	}
	var t text
	t.put(`{"kind":"`, kind, `","apiVersion":"`, apiVersion, `","metadata":{"resourceVersion":"`, strconv.FormatUint(version, 10), `"`)
	if to < len(all) {
		next := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d:%d", version, to))
		t.put(`,"continue":"`, next, `","remainingItemCount":`)
		t.number(len(all) - to)
	}
	t.put(`},"items":[`)
	for i, o := range all[from:to] {
		if i > 0 {
			t.put(",")
		}
		t.rendered(o, metadata, !metadata)
		if len(t) > 32<<10 {
			_, _ = w.Write(t)
			t = t[:0]
		}
	}
	t.put("]}\n")
	_, _ = w.Write(t)
}

func (c *Cluster) compacted(version uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return version < c.oldest
}

// event writes one of a watch, whose object write writes.
func (t *text) event(kind string, write func()) {
	t.put(`{"type":"`, kind, `","object":`)
	write()
	t.put("}\n")
}

func (t *text) expired(since, oldest uint64) {
	body, _ := json.Marshal(failure(http.StatusGone, "Expired", fmt.Sprintf("too old resource version: %d (%d)", since, oldest)))
	t.event("ERROR", func() { t.put(string(body)) })
}

func (t *text) bookmark(k *kind, version uint64, ends, metadata bool) {
	name, apiVersion := k.name, k.apiVersion()
	if metadata {
		name, apiVersion = "PartialObjectMetadata", "meta.k8s.io/v1"
	}
	annotations := ""
	if ends {
		annotations = `,"annotations":{"k8s.io/initial-events-end":"true"}`
	}
	t.event("BOOKMARK", func() {
		t.put(`{"kind":"`, name, `","apiVersion":"`, apiVersion, `","metadata":{"resourceVersion":"`, strconv.FormatUint(version, 10), `"`, annotations, `}}`)
	})
}

// watch answers a watch: what there is, or what has changed since a version, and
// then what changes.
func (c *Cluster) watch(w counting, r *http.Request, q query, metadata bool) {
	if c.hangs(w, r) {
		return
	}
	values := r.URL.Query()
	since, _ := strconv.ParseUint(values.Get("resourceVersion"), 10, 64)
	initial := values.Get("sendInitialEvents") == "true"
	if initial {
		since = 0
	}
	var t text
	flush := func() {
		_, _ = w.Write(t)
		w.Flush()
		t = t[:0]
	}
	open, missed, version, ok := c.open(q, since)
	if !ok {
		t.expired(since, version)
		flush()
		return
	}
	defer c.close(open)
	listed := func() {}
	if initial {
		listed = c.lists()
		defer listed()
	}
	for _, o := range missed {
		kind := "MODIFIED"
		if since == 0 {
			kind = "ADDED"
		}
		t.event(kind, func() { t.rendered(o, metadata, false) })
		_, _ = w.Write(t) // one by one, as API servers do
		t = t[:0]
	}
	if initial {
		t.bookmark(kinds[q.kind], version, true, metadata)
	}
	flush()
	listed()
	t = nil // a watch that is quiet is to cost little
	lasting, err := strconv.Atoi(values.Get("timeoutSeconds"))
	if err != nil {
		lasting = 1800
	}
	over := time.NewTimer(time.Duration(lasting) * time.Second)
	defer over.Stop()
	mark := time.NewTicker(bookmarkEvery)
	defer mark.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-over.C:
			return
		case <-open.expired:
			t.expired(since, c.now())
			flush()
			return
		case o := <-open.events:
			t.event("MODIFIED", func() { t.rendered(o, metadata, false) })
			version = o.resourceVersion
			c.fleet.sent.Add(1)
		case <-mark.C:
			if len(open.events) > 0 {
				continue // it is to be of what was sent
			}
			version = max(version, c.settled(open))
			t.bookmark(kinds[q.kind], version, false, metadata)
		}
		flush()
	}
}

// settled is a version up to which a watch has been sent everything, 0 for none.
func (c *Cluster) settled(w *watch) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(w.events) > 0 {
		return 0
	}
	return c.version
}
