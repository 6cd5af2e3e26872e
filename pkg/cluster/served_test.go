package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// api is an API server that serves one kind, in one version at a time.
type api struct {
	version     atomic.Value // "" for none
	silent      atomic.Bool  // about what it serves
	discoveries atomic.Int64
	objects     map[string]bool
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Audit-Id", "1")
	version, _ := a.version.Load().(string)
	status := func(code int, name string) {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "code": code, "reason": "NotFound", "message": "not found", "details": map[string]string{"name": name}})
	}
	switch path := r.URL.Path; {
	case path == "/api" || path == "/apis":
		if a.silent.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if path == "/api" {
			_, _ = io.WriteString(w, `{"kind":"APIGroupDiscoveryList","items":[]}`)
			return
		}
		a.discoveries.Add(1)
		item := ""
		if version != "" {
			one := fmt.Sprintf(`{"metadata":{"name":"x.io"},"versions":[{"version":%q,"freshness":"Current","resources":[{"resource":"things","responseKind":{"kind":"Thing"},"scope":"Namespaced","verbs":["get","list","watch","delete"]}]}]}`, version)
			item = one + "," + one // some list a group twice
		}
		_, _ = io.WriteString(w, `{"kind":"APIGroupDiscoveryList","items":[`+item+`]}`)
	case version != "" && strings.HasPrefix(path, "/apis/x.io/"+version+"/namespaces/ns/things/"):
		name := path[strings.LastIndex(path, "/")+1:]
		if !a.objects[name] {
			status(http.StatusNotFound, name)
			return
		}
		if r.Method == http.MethodDelete {
			delete(a.objects, name)
		}
		_, _ = fmt.Fprintf(w, `{"apiVersion":"x.io/%s","kind":"Thing","metadata":{"name":%q}}`, version, name)
	default:
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "404 page not found")
	}
}

func serve(t *testing.T, h http.Handler, timeout time.Duration) *Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	c, err := New(&rest.Config{Host: server.URL}, Options{RequestTimeout: timeout, PingAfter: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

var thingV1 = Resource{Group: "x.io", Version: "v1", Plural: "things", Kind: "Thing", Namespaced: true, Watchable: true, Gettable: true}

// TestServed_NoSuchKindIsNotNoSuchObject: a path that is not served any more is
// looked for anew before anybody believes that the object is gone.
func TestServed_NoSuchKindIsNotNoSuchObject(t *testing.T) {
	a := &api{objects: map[string]bool{"a": true}}
	a.version.Store("v1")
	c := serve(t, a, 5*time.Second)
	get := func(name string) error {
		_, err := c.Get(t.Context(), thingV1, "ns", name)
		return err
	}
	if err := get("a"); err != nil {
		t.Fatal(err)
	}
	if err := get("b"); !Is(err, NotFound) || a.discoveries.Load() != 0 {
		t.Errorf("an object that is not there: %v, %d discoveries", err, a.discoveries.Load())
	}
	a.version.Store("v2")
	if err := get("a"); err != nil {
		t.Errorf("in another version: %v", err)
	}
	if err := get("b"); !Is(err, NotFound) {
		t.Errorf("not there in another version: %v", err)
	}
	if err := c.Delete(t.Context(), thingV1, "ns", "a", metav1.DeleteOptions{}); err != nil || a.objects["a"] {
		t.Errorf("deleted in another version: %v, there %v", err, a.objects["a"])
	}
	a.version.Store("")
	if err := get("a"); !Is(err, NoKind) {
		t.Errorf("a kind that is gone: %v", err)
	}
	a.silent.Store(true)
	if err := get("a"); !Is(err, Unavailable) {
		t.Errorf("a cluster that does not say what it serves: %v", err)
	}
	if catalog, err := c.Discover(t.Context()); err == nil {
		t.Errorf("%v", catalog)
	}
}

func TestDiscovery_AGroupThatIsListedTwiceIsTakenOnce(t *testing.T) {
	a := &api{}
	a.version.Store("v1")
	catalog, err := serve(t, a, 5*time.Second).Discover(t.Context())
	if err != nil || len(catalog.Watchable()) != 1 {
		t.Errorf("%v %v", catalog, err)
	}
}

// TestOpen_HasADeadlineUntilTheHeaders and none after them.
func TestOpen_HasADeadlineUntilTheHeaders(t *testing.T) {
	ended := make(chan struct{})
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/answers" {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			time.Sleep(500 * time.Millisecond) // longer than the deadline
			_, _ = io.WriteString(w, "{}\n")
			return
		}
		select {
		case <-r.Context().Done():
		case <-ended:
		}
	}), 200*time.Millisecond)
	t.Cleanup(func() { close(ended) })
	begin := time.Now()
	_, err := c.Open(t.Context(), "/hangs", nil, true)
	if !Is(err, Unavailable) || time.Since(begin) > 5*time.Second {
		t.Errorf("%v after %s", err, time.Since(begin))
	}
	body, err := c.Open(t.Context(), "/answers", nil, true)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(body)
	if closed := body.Close(); string(text) != "{}\n" || errors.Join(err, closed) != nil {
		t.Errorf("%q %v", text, err)
	}
}

// TestOpen_TheConnectionTellsWhenItWasHeard: pings find one that is half-open.
func TestOpen_TheConnectionTellsWhenItWasHeard(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	c, err := New(&rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}, Options{RequestTimeout: 5 * time.Second, PingAfter: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	body, err := c.Open(t.Context(), "/x", nil, true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = body.Close() }()
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		_, _ = io.ReadAll(body) // pings are sent while somebody reads
	}()
	line, _ := body.(*Body)
	first, ok := line.Heard()
	if !ok {
		t.Fatal("an HTTP/2 connection says nothing of its life")
	}
	for deadline := time.Now().Add(5 * time.Second); ; {
		if at, _ := line.Heard(); at.After(first) {
			break // the answer to a ping
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing was heard of a connection that is pinged")
		}
		time.Sleep(5 * time.Millisecond)
	}
	_ = body.Close()
	<-reading
}

// TestRotate_NewRequestsHaveTheNewCredentials, and open watches go on.
func TestRotate_NewRequestsHaveTheNewCredentials(t *testing.T) {
	var last atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		last.Store(r.Header.Get("Authorization"))
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/watch" {
			w.WriteHeader(http.StatusOK)
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, "{}\n")
				w.(http.Flusher).Flush()
				time.Sleep(time.Millisecond)
			}
		}
	}))
	t.Cleanup(server.Close)
	c, err := New(&rest.Config{Host: server.URL, BearerToken: "old"}, Options{RequestTimeout: 5 * time.Second, PingAfter: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	open, err := c.Open(t.Context(), "/watch", nil, true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = open.Close() }()
	if err := c.Rotate(&rest.Config{Host: server.URL, BearerToken: "new"}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(open, make([]byte, 100)); err != nil {
		t.Errorf("the open watch: %v", err)
	}
	next, err := c.Open(t.Context(), "/x", nil, false)
	if err != nil {
		t.Fatal(err)
	}
	_ = next.Close()
	if got := last.Load(); got != "Bearer new" {
		t.Errorf("sent %q", got)
	}
}

func TestRetryAfter_IsTakenFromEveryRefusal(t *testing.T) {
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"kind":"Status","code":429,"reason":"TooManyRequests","message":"slow down"}`)
	}), time.Second)
	_, get := c.Get(t.Context(), thingV1, "ns", "x")
	_, open := c.Open(t.Context(), "/x", nil, true)
	for _, err := range []error{get, open} {
		var e *Error
		if !errors.As(err, &e) || e.Reason != Throttled || e.RetryAfter != 7 {
			t.Errorf("%+v", err)
		}
	}
}
