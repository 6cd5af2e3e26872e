package cluster

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

func TestCatalog_FindsWhatCanBeFollowedFirst(t *testing.T) {
	c := NewCatalog(
		Resource{Group: "image.openshift.io", Version: "v1", Plural: "imagestreamtags", Kind: "ImageStreamTag", Gettable: true},
		Resource{Version: "v1", Plural: "bindings", Kind: "Binding"},
		Resource{Group: "x.io", Version: "v1", Plural: "things", Kind: "Thing", Gettable: true}, Resource{Group: "x.io", Version: "v1beta1", Plural: "things", Kind: "Thing", Watchable: true, Gettable: true},
	)
	if r, ok := c.Find("ImageStreamTag.image.openshift.io"); !ok || r.Plural != "imagestreamtags" {
		t.Error(r, ok)
	}
	if r, ok := c.Find("Thing.x.io"); !ok || r.Version != "v1beta1" {
		t.Error(r, ok)
	}
	if r, ok := c.Find("binding"); ok {
		t.Error(r, "which can only be created")
	}
}

// TestDiscovery_KeepsWhatAnAggregatedAPIServedWhileItDoesNotAnswer has the answer
// of an API server whose metrics server is down.
func TestDiscovery_KeepsWhatAnAggregatedAPIServedWhileItDoesNotAnswer(t *testing.T) {
	var list groupList
	text := `{"kind":"APIGroupDiscoveryList","items":[{"metadata":{"name":"metrics.k8s.io"},"versions":[{"version":"v1beta1","freshness":"Stale"}]},
		{"metadata":{"name":"apps"},"versions":[{"version":"v1","freshness":"Current","resources":[{"resource":"deployments","responseKind":{"kind":"Deployment"},"scope":"Namespaced","verbs":["get","list","watch"]}]}]}]}`
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	metrics := Resource{Group: "metrics.k8s.io", Version: "v1beta1", Plural: "pods", Kind: "PodMetrics", Namespaced: true, Gettable: true}
	got, stale := list.resources(NewCatalog(metrics, Resource{Group: "gone.io", Version: "v1", Plural: "x", Kind: "X"}))
	if !stale || len(got) != 2 || got[0] != metrics || got[1].Plural != "deployments" || !got[1].Watchable || !got[1].Gettable {
		t.Errorf("%v %+v", stale, got)
	}
}

// TestRefusal_OfSomethingInBetweenSaysNothingAboutObjects: a load balancer
// without its backend answers 404, too.
func TestRefusal_OfSomethingInBetweenSaysNothingAboutObjects(t *testing.T) {
	var kubernetes atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if kubernetes.Load() { // as for a path that is not served
			w.Header().Set("Audit-Id", "1")
		}
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "404 page not found")
	}))
	t.Cleanup(server.Close)
	c, err := New(&rest.Config{Host: server.URL}, Options{RequestTimeout: time.Second, PingAfter: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for _, want := range []Reason{Unavailable, NoKind} {
		_, get := c.Get(t.Context(), Resource{Version: "v1", Plural: "pods", Namespaced: true}, "a", "b")
		_, discover := c.Discover(t.Context())
		_, open := c.Open(t.Context(), "/api/v1/pods", nil, true)
		if !Is(get, Unavailable) { // the cluster does not say whether it serves pods
			t.Errorf("get: %v", get)
		}
		for _, err := range []error{discover, open} {
			var e *Error
			if !errors.As(err, &e) || e.Reason != want {
				t.Errorf("%v, want %s", err, want)
			}
		}
		kubernetes.Store(true)
	}
}
