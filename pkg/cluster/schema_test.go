package cluster

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// newerDocument describes a kind with a list that no struct of ours has.
const newerDocument = `{"paths":{"/apis/apps/v1/namespaces/{namespace}/deployments/{name}":{"patch":{
"x-kubernetes-group-version-kind":{"group":"apps","version":"v1","kind":"Deployment"},
"requestBody":{"content":{"application/strategic-merge-patch+json":{},"application/json-patch+json":{}}}}},
"/apis/apps/v1/things/{name}":{"patch":{"x-kubernetes-group-version-kind":{"group":"apps","version":"v1","kind":"Thing"},"requestBody":{"content":{"application/merge-patch+json":{}}}}}},
"components":{"schemas":{
"Deployment":{"type":"object","description":"long","x-kubernetes-group-version-kind":[{"group":"apps","version":"v1","kind":"Deployment"}],"properties":{"spec":{"allOf":[{"$ref":"#/components/schemas/Spec"}]}}},
"Spec":{"type":"object","properties":{"newer":{"type":"array","x-kubernetes-patch-merge-key":"name","x-kubernetes-patch-strategy":"merge","items":{"allOf":[{"$ref":"#/components/schemas/Item"}]}}}},
"Item":{"type":"object","properties":{"name":{"type":"string"},"value":{"type":"string"}}},
"Thing":{"type":"object","x-kubernetes-group-version-kind":[{"group":"apps","version":"v1","kind":"Thing"}]}}}}`

func TestPatchMeta_IsWhatTheClusterSays(t *testing.T) {
	asked := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked[r.URL.Path]++
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/openapi/v3":
			_, _ = fmt.Fprint(w, `{"paths":{"apis/apps/v1":{"serverRelativeURL":"/openapi/v3/apis/apps/v1?hash=TEST"}}}`)
		case "/openapi/v3/apis/apps/v1":
			_, _ = fmt.Fprint(w, newerDocument)
		}
	}))
	defer server.Close()
	for range 2 { // the second cluster has the document of the first
		c, err := New(&rest.Config{Host: server.URL}, Options{RequestTimeout: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for range 3 {
			meta := c.PatchMeta(t.Context(), Resource{Group: "apps", Version: "v1", Plural: "deployments", Kind: "Deployment"})
			if meta == nil {
				t.Fatal("nothing is known")
			}
			spec, _, err := meta.LookupPatchMetadataForStruct("spec")
			if err != nil {
				t.Fatal(err)
			}
			_, list, err := spec.LookupPatchMetadataForSlice("newer")
			if err != nil || list.GetPatchMergeKey() != "name" {
				t.Errorf("%+v, %v", list, err)
			}
		}
		for _, kind := range []string{"Thing", "Unheard"} {
			if meta := c.PatchMeta(t.Context(), Resource{Group: "apps", Version: "v1", Kind: kind}); meta != nil {
				t.Errorf("%s: %v", kind, meta)
			}
		}
		if meta := c.PatchMeta(t.Context(), Resource{Group: "other", Version: "v1", Kind: "X"}); meta != nil {
			t.Errorf("%v", meta)
		}
	}
	if asked["/openapi/v3"] != 2 || asked["/openapi/v3/apis/apps/v1"] != 1 {
		t.Errorf("%v", asked)
	}
}

func TestFind_TakesTheNamesThatKubectlTakes(t *testing.T) {
	c := NewCatalog(
		Resource{Version: "v1", Plural: "events", Kind: "Event", Watchable: true, Gettable: true, Also: " event ev "},
		Resource{Group: "apps", Version: "v1", Plural: "statefulsets", Kind: "StatefulSet", Watchable: true, Gettable: true, Also: " statefulset sts "},
		Resource{Group: "events.k8s.io", Version: "v1", Plural: "events", Kind: "Event", Watchable: true, Gettable: true, Also: " event ev "},
	)
	for text, want := range map[string]string{
		"sts": "apps/v1", "statefulsets": "apps/v1", "StatefulSets.apps": "apps/v1", "ev": "v1", "events": "v1", "events.events.k8s.io": "events.k8s.io/v1", "statefulset": "apps/v1",
		"st": "", "": "", "sts.other": "",
	} {
		found, _ := c.Find(text)
		if got := found.APIVersion(); found.Kind != "" && got != want || (found.Kind == "") != (want == "") {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
