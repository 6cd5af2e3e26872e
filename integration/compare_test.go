package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/compare"
)

// planted changes the answers of a service before they are seen: the ones that
// match, once for each of so many paths, and harmlessly all.
type planted struct {
	mu    sync.Mutex
	plans []*plan
}

type plan struct {
	name  string
	paths *regexp.Regexp
	// change alters an answer; a status other than 0 takes its place.
	change func(body any) (changed any, status int)
	// on are the paths that were chosen.
	on []string
}

const perPlan = 30

func (p *planted) chosen(path string) *plan {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, plan := range p.plans {
		if !plan.paths.MatchString(path) {
			continue
		}
		if !slices.Contains(plan.on, path) {
			if len(plan.on) == perPlan {
				return nil
			}
			plan.on = append(plan.on, path)
		}
		return plan
	}
	return nil
}

// harmless alters what has no meaning: the order of rows, keys that are null, and
// parts of seconds.
func harmless(key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{"nothingOfThat": nil}
		for k, inner := range v {
			if inner != nil {
				out[k] = harmless(k, inner)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, inner := range v {
			at := len(v) - 1 - i
			if key == "args" || key == "command" {
				at = i
			}
			out[at] = harmless("", inner)
		}
		return out
	case json.Number:
		if ms, err := v.Int64(); err == nil && key == "createdTime" {
			return json.Number(strconv.FormatInt(ms/1000*1000+7, 10))
		}
	}
	return v
}

// through is a proxy before a service that plants.
func (p *planted) through(t *testing.T, at string) string {
	t.Helper()
	target, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Header.Set("Accept-Encoding", "identity")
	}}
	proxy.ModifyResponse = func(res *http.Response) error {
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			res.Body = io.NopCloser(bytes.NewReader(body))
			return err
		}
		var v any
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			return err
		}
		if plan := p.chosen(res.Request.URL.EscapedPath()); plan != nil {
			changed, status := plan.change(v)
			if v = changed; status != 0 {
				res.StatusCode = status
			}
		}
		body, err = json.Marshal(harmless("", v))
		res.Body = io.NopCloser(bytes.NewReader(body))
		res.ContentLength = int64(len(body))
		res.Header.Set("Content-Length", strconv.Itoa(len(body)))
		return err
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return server.URL
}

func ownReplicaSet(ns, app, name string) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: %[3]s, namespace: %[1]s, %[4]s}
spec:
  replicas: 1
  selector: {matchLabels: {run: %[3]s}}
  template: {metadata: {labels: {run: %[3]s, app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: %[2]s, moniker.spinnaker.io/cluster: replicaSet %[3]s}}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: x, image: x}]}}
`, ns, app, name, marks(app, "replicaSet "+name))
}

func TestCompare_FindsWhatWasPlantedAndNothingElse(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	namespace(t, "compared", c)
	const groups = perPlan + 5
	var manifests []string
	for i := range groups {
		manifests = append(manifests, ownReplicaSet("compared", "compared", fmt.Sprintf("compared-%02d", i)))
	}
	apply(t, c, strings.Join(manifests, "\n---\n"))
	here, there := start(t, settings(), c).ready(t), start(t, settings(), c).ready(t)
	for _, s := range []*service{here, there} {
		waitPods(t, s, "compared", c.Name, groups)
		eventually(t, time.Minute, func() error {
			if body := s.get(t, "/applications/compared/serverGroups").body; strings.Count(body, `"state":"Up","total"`)+strings.Count(body, `"up":1`) < groups {
				return fmt.Errorf("not all up: %.500s", body)
			}
			return nil
		})
	}
	look := func(there string) *compare.Report {
		t.Helper()
		r, err := compare.Run(context.Background(), compare.Options{Here: here.URL, There: there, Applications: []string{"compared"}, Settle: 200 * time.Millisecond, Concurrency: 4})
		if err != nil {
			t.Fatal(err)
		}
		if !r.Complete() {
			t.Errorf("not compared: %+v", r.Failures)
		}
		return r
	}

	if r := look(there.URL); !r.Equal() || r.Routes < 10*groups {
		t.Errorf("equals differ, over %d routes: %+v", r.Routes, r.Differences)
	}
	p := &planted{plans: []*plan{
		{name: "another value", paths: regexp.MustCompile(`^/instances/`), change: func(v any) (any, int) {
			v.(map[string]any)["healthState"] = "Odd"
			return v, 0
		}},
		{name: "a key less", paths: regexp.MustCompile(`^/applications/compared/serverGroups/`), change: func(v any) (any, int) {
			delete(v.(map[string]any), "buildInfo")
			return v, 0
		}},
		{name: "a key more", paths: regexp.MustCompile(`/target/current_asg$`), change: func(v any) (any, int) {
			v.(map[string]any)["more"] = true
			return v, 0
		}},
		{name: "a row more", paths: regexp.MustCompile(`^/applications/compared/clusters/[^/]+/[^/]+/kubernetes/serverGroups$`), change: func(v any) (any, int) {
			return append(v.([]any), map[string]any{"name": "x", "account": c.Name, "region": "x"}), 0
		}},
		{name: "a row less", paths: regexp.MustCompile(`/cluster/compared/[^/]+$`), change: func(v any) (any, int) {
			return v.([]any)[1:], 0
		}},
		{name: "another status", paths: regexp.MustCompile(`^/manifests/[^/]+/[^/]+/[^/]+$`), change: func(v any) (any, int) {
			return v, http.StatusNotFound
		}},
	}}
	r := look(p.through(t, there.URL))
	got := map[string]int{}
	for _, d := range r.Differences {
		name := "unexpected: " + d.Route + " " + d.Where + " " + string(d.Kind)
		for _, plan := range p.plans {
			if slices.Contains(plan.on, d.Route) {
				name = plan.name
			}
		}
		got[name]++
	}
	for _, plan := range p.plans {
		if got[plan.name] != perPlan {
			t.Errorf("%s: %d found, %d planted", plan.name, got[plan.name], perPlan)
		}
		delete(got, plan.name)
	}
	if len(got) > 0 {
		t.Errorf("beyond what was planted: %v", got)
	}
	kinds := map[compare.Kind]int{}
	for _, d := range r.Differences {
		kinds[d.Kind]++
	}
	t.Log(kinds, "over", r.Routes, "routes")
	var out bytes.Buffer
	if err := r.Table(&out); err != nil || !strings.Contains(out.String(), "180 differences") {
		t.Errorf("%v\n%s", err, &out)
	}
}
