package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/datapunchorg/go-clouddriver/integration/fleet"
)

// asked is one API server, as a client sees it.
type asked struct {
	client *http.Client
	base   string
}

func askedOf(t *testing.T, kubeconfig []byte) asked {
	t.Helper()
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	return asked{client, strings.TrimSuffix(config.Host, "/")}
}

func (a asked) open(t *testing.T, path, accept string) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	res, err := a.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

const plainJSON = "application/json"

func (a asked) get(t *testing.T, path, accept string) (status int, of map[string]any) {
	t.Helper()
	res := a.open(t, path, accept)
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, &of); err != nil {
		t.Fatalf("%s: %v: %.200s", path, err, body)
	}
	return res.StatusCode, of
}

// frames reads a watch up to the first event of a type.
func (a asked) frames(t *testing.T, path, until string) (types []string, last map[string]any) {
	t.Helper()
	lines := bufio.NewReader(a.open(t, path, plainJSON).Body)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			t.Fatalf("%s: %q and then %v", path, types, err)
		}
		var f struct {
			Type   string
			Object map[string]any
		}
		if err := json.Unmarshal(line, &f); err != nil {
			t.Fatal(err)
		}
		if types = append(types, f.Type); f.Type == until {
			return types, f.Object
		}
	}
}

func keys(of any) []string {
	m, _ := of.(map[string]any)
	return slices.Sorted(maps.Keys(m))
}

func under(of any, fields ...string) any {
	for _, f := range fields {
		m, _ := of.(map[string]any)
		of = m[f]
	}
	return of
}

// served are the kinds of an aggregated discovery, each with what is read of it.
func served(of map[string]any) map[string]string {
	out := map[string]string{}
	groups, _ := of["items"].([]any)
	for _, g := range groups {
		versions, _ := under(g, "versions").([]any)
		for _, v := range versions {
			resources, _ := under(v, "resources").([]any)
			for _, r := range resources {
				name := fmt.Sprint(under(g, "metadata", "name"), "/", under(v, "version"), "/", under(r, "resource"))
				verbs, _ := under(r, "verbs").([]any)
				out[name] = fmt.Sprint(under(r, "responseKind", "kind"), under(r, "scope"), under(r, "singularResource"), under(r, "shortNames"), slices.Contains(verbs, any("list")), slices.Contains(verbs, any("watch")), under(v, "freshness"))
			}
		}
	}
	return out
}

// TestFleet_AnswersAsAControlPlaneDoes holds the simulator of the benchmarks against
// a real one in all that is read of a cluster, so that it does not drift.
func TestFleet_AnswersAsAControlPlaneDoes(t *testing.T) {
	cluster := pool.Shared(t, 1)[0]
	f, err := fleet.Start(fleet.Options{Clusters: 1, Applications: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	config := append(f.Kubeconfig(), "current-context: c0000\n"...)
	truth, ours := askedOf(t, cluster.Kubeconfig()), askedOf(t, config)

	const aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
	for _, path := range []string{"/api", "/apis"} {
		_, want := truth.get(t, path, aggregated)
		_, got := ours.get(t, path, aggregated)
		if want["kind"] != got["kind"] || want["apiVersion"] != got["apiVersion"] {
			t.Errorf("%s: %v %v", path, got["kind"], got["apiVersion"])
		}
		really := served(want)
		for name, text := range served(got) {
			if really[name] != text && !strings.HasPrefix(name, "example.com/") { // which are the simulator's own
				t.Errorf("%s: %s: %s, and really %s", path, name, text, really[name])
			}
		}
		_, want = truth.get(t, path, plainJSON)
		_, got = ours.get(t, path, plainJSON)
		if want["kind"] != got["kind"] {
			t.Errorf("%s: %v instead of %v", path, got["kind"], want["kind"])
		}
	}
	_, want := truth.get(t, "/apis/apps/v1", plainJSON)
	_, got := ours.get(t, "/apis/apps/v1", plainJSON)
	if want["kind"] != got["kind"] || want["groupVersion"] != got["groupVersion"] {
		t.Errorf("%v", got)
	}

	for _, path := range []string{
		"/api/v1/namespaces?limit=1", "/api/v1/namespaces", "/api/v1/namespaces?limit=1&labelSelector=kubernetes.io/metadata.name",
		"/apis/apps/v1/namespaces/none/deployments", "/api/v1/namespaces/kube-system", "/api/v1/namespaces/none", "/apis/apps/v1/namespaces/default/deployments/none", "/version",
	} {
		wantStatus, want := truth.get(t, path, plainJSON)
		gotStatus, got := ours.get(t, path, plainJSON)
		for _, part := range [][]string{{"metadata"}, {"details"}} {
			if strings.Contains(path, "labelSelector") || path == "/api/v1/namespaces/kube-system" {
				continue // the one is without a count, the other has more metadata than is read
			}
			if a, b := keys(under(got, part...)), keys(under(want, part...)); !reflect.DeepEqual(a, b) {
				t.Errorf("%s: %v has %q, and really %q", path, part, a, b)
			}
		}
		for _, field := range []string{"kind", "apiVersion", "status", "reason", "code", "message"} {
			if !reflect.DeepEqual(got[field], want[field]) && path != "/api/v1/namespaces/kube-system" && path != "/version" {
				t.Errorf("%s: %s is %v, and really %v", path, field, got[field], want[field])
			}
		}
		if gotStatus != wantStatus {
			t.Errorf("%s: %d, and really %d", path, gotStatus, wantStatus)
		}
		wantItems, _ := want["items"].([]any)
		gotItems, _ := got["items"].([]any)
		if len(wantItems) > 0 && (len(gotItems) == 0 || (under(wantItems[0], "kind") == nil) != (under(gotItems[0], "kind") == nil)) {
			t.Errorf("%s: the items have a kind or they have none", path)
		}
	}

	const unserved = "/apis/none.example.com/v1/things"
	if a, b := ours.open(t, unserved, plainJSON), truth.open(t, unserved, plainJSON); a.StatusCode != b.StatusCode || a.Header.Get("Content-Type") != b.Header.Get("Content-Type") {
		t.Errorf("what is not served: %d %s, and really %d %s", a.StatusCode, a.Header.Get("Content-Type"), b.StatusCode, b.Header.Get("Content-Type"))
	}
	for _, selector := range []string{
		"kubernetes.io/metadata.name=default", "kubernetes.io/metadata.name==default", "kubernetes.io/metadata.name!=default", "kubernetes.io/metadata.name in (default,kube-system)", "kubernetes.io/metadata.name notin (default)",
		"kubernetes.io/metadata.name", "!kubernetes.io/metadata.name", "nothing", "!nothing", "nothing!=x", "nothing notin (x)", "kubernetes.io/metadata.name in (default),kubernetes.io/metadata.name!=x",
	} {
		names := func(a asked) (out []string) {
			_, of := a.get(t, "/api/v1/namespaces?labelSelector="+url.QueryEscape(selector), plainJSON)
			items, _ := of["items"].([]any)
			for _, item := range items {
				if name, _ := under(item, "metadata", "name").(string); name == "default" || name == "kube-system" {
					out = append(out, name)
				}
			}
			slices.Sort(out)
			return out
		}
		if a, b := names(ours), names(truth); !slices.Equal(a, b) {
			t.Errorf("%s selects %q, and really %q", selector, a, b)
		}
	}

	const initial = "/api/v1/namespaces?watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
	wantTypes, wantMark := truth.frames(t, initial, "BOOKMARK")
	gotTypes, gotMark := ours.frames(t, initial, "BOOKMARK")
	if !slices.Equal(slices.Compact(gotTypes), slices.Compact(wantTypes)) {
		t.Errorf("%q, and really %q", gotTypes, wantTypes)
	}
	for _, field := range [][]string{{"kind"}, {"apiVersion"}, {"metadata", "annotations"}} {
		if !reflect.DeepEqual(under(gotMark, field...), under(wantMark, field...)) {
			t.Errorf("the bookmark's %v is %v, and really %v", field, under(gotMark, field...), under(wantMark, field...))
		}
	}
}
