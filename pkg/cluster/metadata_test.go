package cluster

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// An API server ends a watch at once whose form is that of lists.
func TestMetadata_AsksForTheFormOfWhatIsAsked(t *testing.T) {
	var accept string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		accept = r.Header.Get("Accept")
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("{}"))
	}))
	t.Cleanup(s.Close)
	c, err := New(&rest.Config{Host: s.URL}, Options{RequestTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for form, query := range map[string]url.Values{"PartialObjectMetadataList": {"limit": {"1"}}, "PartialObjectMetadata": {"watch": {"true"}, "sendInitialEvents": {"true"}}} {
		for _, watching := range []bool{false, true} {
			body, err := Metadata{c}.Open(t.Context(), "/apis/x/v1/y", query, watching)
			if err != nil {
				t.Fatal(err)
			}
			_ = body.Close()
			if accept != metadataOf(form) {
				t.Errorf("%v on the connection of watches %v: %s", query, watching, accept)
			}
		}
	}
}
