package fleet

import (
	"bytes"
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
			_, _ = w.Write(append(o.json(false), '\n'))
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

// partial is an object without all but its metadata.
func partial(o object, item bool) []byte {
	var b strings.Builder
	b.WriteString(`{`)
	if !item {
		b.WriteString(`"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1",`)
	}
	o.metadata(&b)
	b.WriteString(`}`)
	return []byte(b.String())
}

func rendered(o object, metadata, item bool) []byte {
	if metadata {
		return partial(o, item)
	}
	return o.json(item)
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
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"kind":%q,"apiVersion":%q,"metadata":{"resourceVersion":"%d"`, kind, apiVersion, version)
	if to < len(all) {
		next := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d:%d", version, to))
		fmt.Fprintf(&b, `,"continue":%q,"remainingItemCount":%d`, next, len(all)-to)
	}
	b.WriteString(`},"items":[`)
	for i, o := range all[from:to] {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(rendered(o, metadata, !metadata))
		if b.Len() > 32<<10 {
			_, _ = w.Write(b.Bytes())
			b.Reset()
		}
	}
	b.WriteString("]}\n")
	_, _ = w.Write(b.Bytes())
}

func (c *Cluster) compacted(version uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return version < c.oldest
}

func event(b *bytes.Buffer, kind string, object []byte) {
	fmt.Fprintf(b, `{"type":%q,"object":`, kind)
	b.Write(object)
	b.WriteString("}\n")
}

func expired(b *bytes.Buffer, since, oldest uint64) {
	body, _ := json.Marshal(failure(http.StatusGone, "Expired", fmt.Sprintf("too old resource version: %d (%d)", since, oldest)))
	event(b, "ERROR", body)
}

func bookmark(b *bytes.Buffer, k *kind, version uint64, ends, metadata bool) {
	name, apiVersion := k.name, k.apiVersion()
	if metadata {
		name, apiVersion = "PartialObjectMetadata", "meta.k8s.io/v1"
	}
	annotations := ""
	if ends {
		annotations = `,"annotations":{"k8s.io/initial-events-end":"true"}`
	}
	event(b, "BOOKMARK", fmt.Appendf(nil, `{"kind":%q,"apiVersion":%q,"metadata":{"resourceVersion":"%d"%s}}`, name, apiVersion, version, annotations))
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
	var b bytes.Buffer
	flush := func() {
		_, _ = w.Write(b.Bytes())
		w.Flush()
		b.Reset()
	}
	open, missed, version, ok := c.open(q, since)
	if !ok {
		expired(&b, since, version)
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
		event(&b, kind, rendered(o, metadata, false))
		_, _ = w.Write(b.Bytes()) // one by one, as API servers do
		b.Reset()
	}
	if initial {
		bookmark(&b, kinds[q.kind], version, true, metadata)
	}
	flush()
	listed()
	b = bytes.Buffer{} // a watch that is quiet is to cost little
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
			expired(&b, since, c.now())
			flush()
			return
		case o := <-open.events:
			event(&b, "MODIFIED", rendered(o, metadata, false))
			version = o.resourceVersion
			c.fleet.sent.Add(1)
		case <-mark.C:
			if len(open.events) > 0 {
				continue // it is to be of what was sent
			}
			version = max(version, c.settled(open))
			bookmark(&b, kinds[q.kind], version, false, metadata)
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
