package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/localkube"
	"github.com/datapunchorg/go-clouddriver/pkg/api"
	"github.com/datapunchorg/go-clouddriver/pkg/front50"
)

// escaped is a path with its segments as callers encode them.
func escaped(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString("/" + url.PathEscape(p))
	}
	return b.String()
}

// is compares an answer's status and body.
func (r response) is(t testing.TB, status int, body string) {
	t.Helper()
	if r.status != status || r.body != body {
		t.Errorf("%d %s, want %d %s", r.status, r.body, status, body)
	}
}

// says expects a status and texts in the body.
func (r response) says(t testing.TB, status int, texts ...string) {
	t.Helper()
	if r.status != status {
		t.Errorf("%d %.2000s, want %d", r.status, r.body, status)
	}
	for _, text := range texts {
		if !strings.Contains(r.body, text) {
			t.Errorf("no %q in %.2000s", text, r.body)
		}
	}
}

// fakeFront50 knows one project and two applications, until it is down.
func fakeFront50(t testing.TB, account string) (base string, down func(bool)) {
	broken := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if broken {
			http.Error(w, "<html>gone", http.StatusInternalServerError)
			return
		}
		project := `{"id":"p1","name":"demo","email":"me@example.com","config":{"applications":["rest-projects","other"],"clusters":[
			{"account":"` + account + `","stack":"*","detail":"*"},{"account":"` + account + `","stack":"blue","applications":["rest-projects"]},{"account":"nobody","stack":"*","detail":"*"}]}}`
		switch r.URL.Path {
		case "/v2/projects/demo":
			_, _ = io.WriteString(w, project)
		case "/v2/projects/empty":
			_, _ = io.WriteString(w, `{"id":"p2","name":"empty","config":{"applications":[],"clusters":[]}}`)
		case "/v2/projects/garbage":
			_, _ = io.WriteString(w, `{"id":`)
		case "/v2/projects":
			_, _ = io.WriteString(w, "["+project+"]")
		case "/v2/applications":
			_, _ = io.WriteString(w, `[{"name":"onlyinfront50","email":"a@example.com"},{"name":"REST-MANIFESTS","email":"b@example.com"}]`)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, func(b bool) { broken = b }
}

func (o *ops) manifestPath(full string) string {
	return escaped("manifests", o.c.Name, o.namespace, full)
}

// TestReadRest_ClosingTable iterates the table that closes read-rest.md. Rows
// that need Fiat are not among them; those of pure rules (13, 14, 20) are
// table tests of pkg/view.
func TestReadRest_ClosingTable(t *testing.T) {
	runRows(t, "rest-manifests", []check{
		{1, "a manifest in full", func(t *testing.T, o *ops) {
			o.deploy(t, o.deployment("full", "registry/web:1"), "").only(t)
			o.settled(t, "deployment full")
			var m map[string]any
			r := o.get(t, o.manifestPath("deployment full"))
			r.into(t, &m)
			for _, key := range []string{"account", "name", "location", "moniker", "manifest", "status", "artifacts", "events", "warnings", "metrics"} {
				if m[key] == nil {
					t.Errorf("no %s", key)
				}
			}
			if strings.Contains(r.body, "managedFields") || strings.Contains(r.body, ":null") || m["name"] != "deployment full" {
				t.Error(r.body)
			}
			r.says(t, 200, `"type":"docker/image"`, `"reference":"registry/web:1"`, `"kind":"Deployment"`, `"apiVersion":"apps/v1"`, "kubectl.kubernetes.io/last-applied-configuration")
		}},
		{2, "events, or none", func(t *testing.T, o *ops) {
			o.deploy(t, o.deployment("eventful", "x"), "").only(t)
			eventually(t, 20*time.Second, func() error {
				var m struct{ Events []map[string]any }
				o.get(t, o.manifestPath("deployment eventful")).into(t, &m)
				if len(m.Events) == 0 {
					return errors.New("no events yet")
				}
				for _, e := range m.Events {
					if e["lastTimestamp"] == nil || e["reason"] == nil {
						return fmt.Errorf("%v", e)
					}
				}
				return nil
			})
			o.get(t, o.manifestPath("deployment eventful")+"?includeEvents=false").says(t, 200, `"events":[]`)
		}},
		{4, "cluster-scoped objects in every form of the path", func(t *testing.T, o *ops) {
			full := url.PathEscape("namespace " + o.namespace)
			want := o.get(t, "/manifests/"+o.c.Name+"/_/"+full+"?includeEvents=false")
			want.says(t, 200, `"location":""`, `"name":"namespace `+o.namespace+`"`)
			for _, path := range []string{"/manifests/" + o.c.Name + "//" + full, "/manifests/" + o.c.Name + "/" + full, "/manifests/" + o.c.Name + "/ignored/" + full} {
				o.get(t, path+"?includeEvents=false").is(t, 200, want.body)
			}
		}},
		{5, "kinds in every spelling", func(t *testing.T, o *ops) {
			o.deploy(t, o.deployment("spelled", "x"), "").only(t)
			for _, kind := range []string{"Deployment", "deploy", "DEPLOYMENT", "deployment.apps", "Deployment.apps"} {
				o.get(t, o.manifestPath(kind+" spelled")+"?includeEvents=false").says(t, 200, `"name":"deployment spelled"`)
			}
			apply(t, o.c, "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: spelled, namespace: "+o.namespace+"}\nspec: {maxReplicas: 2, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: spelled}, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]}")
			o.get(t, o.manifestPath("HorizontalPodAutoscaler.autoscaling spelled")).says(t, 200, `"name":"horizontalpodautoscaler spelled"`, `"type":"kubernetes/deployment"`)
		}},
		{6, "just deployed and just deleted, with watches that lag", func(t *testing.T, o *ops) {
			cfg := settings()
			cfg.Kubernetes.Accounts = javaAccounts(o.c)
			s := &ops{startShared(t, storeOptions(t, nil), cfg, func(next http.RoundTripper) http.RoundTripper { return heldBack{next, 3 * time.Second} }).ready(t), o.c, o.namespace}
			m := strings.Replace(o.deployment("lagging", "v:1"), "replicas: 2", "replicas: 0", 1)
			s.deploy(t, m, "").only(t)
			for _, image := range []string{"v:2", "v:3"} {
				s.deploy(t, strings.Replace(m, "v:1", image, 1), "").only(t)
				s.get(t, s.manifestPath("deployment lagging")+"?includeEvents=false").says(t, 200, `"image":"`+image+`"`)
			}
			s.run(t, "deleteManifest", s.target("deployment lagging")).only(t)
			s.get(t, s.manifestPath("deployment lagging")).says(t, 404)
			s.get(t, s.manifestPath("deployment lagging")).says(t, 404)
		}},
		{8, "what is not there", func(t *testing.T, o *ops) {
			text := func(account, full string) string {
				return fmt.Sprintf("Manifest (account: %s, location: %s, name: %s) not found", account, o.namespace, full)
			}
			for _, full := range []string{"deployment nobody", "oneword", "three words here", "unheardKind x", "deployment a/b", "deployment ..", "node n1/proxy/pods", "deployment " + strings.Repeat("x", 10_000)} {
				o.get(t, o.manifestPath(full)).says(t, 404, text(o.c.Name, full)[:60])
			}
			o.get(t, escaped("manifests", "nobody", o.namespace, "deployment x")).says(t, 404, text("nobody", "deployment x"))
		}},
		{9, "a cluster that does not answer", func(t *testing.T, o *ops) {
			p, err := localkube.NewProxy(strings.TrimPrefix(o.c.URL, "https://"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.Close)
			hole := behind(o.c, "hole", p)
			cfg := settings()
			cfg.Watch.RequestTimeout = 2 * time.Second
			s := start(t, cfg, hole).ready(t)
			p.BlackHole(true)
			begin := time.Now()
			s.get(t, escaped("manifests", "hole", o.namespace, "configMap x")).says(t, 503, "account hole")
			s.get(t, escaped("instances", "hole", o.namespace, "pod x", "console")).says(t, 503)
			s.get(t, escaped("applications", "a", "jobs", "hole", o.namespace, "job x")).says(t, 503)
			if took := time.Since(begin); took > 30*time.Second {
				t.Errorf("took %s", took)
			}
		}},
		{10, "numbers of replica sets", func(t *testing.T, o *ops) {
			o.deploy(t, o.replicaSetManifest("numbers", 2), "").only(t)
			o.settled(t, "replicaSet numbers-v000")
			o.get(t, o.manifestPath("replicaSet numbers-v000")).says(t, 200, `"readyReplicas":2.0`, `"availableReplicas":2.0`, `"replicas":2,`)
		}},
		{11, "events of newer servers", func(t *testing.T, o *ops) {
			apply(t, o.c, o.configMap("evented", "{a: b}"))
			uid := o.live(t, o.core("configmaps", "evented")).text("metadata", "uid")
			call(t, o.c, http.MethodPost, "/api/v1/namespaces/"+o.namespace+"/events", "application/json", `{"metadata":{"name":"new"},"involvedObject":{"kind":"ConfigMap","name":"evented","namespace":"`+o.namespace+`","uid":"`+uid+`"},"eventTime":"2026-01-02T03:04:05.000000Z","reason":"New","action":"x","reportingComponent":"test","reportingInstance":"test","type":"Normal"}`)
			call(t, o.c, http.MethodPost, "/api/v1/namespaces/"+o.namespace+"/events", "application/json", `{"metadata":{"name":"before"},"involvedObject":{"kind":"ConfigMap","name":"evented","namespace":"`+o.namespace+`","uid":"another"},"reason":"Predecessor","type":"Normal","lastTimestamp":"2026-01-01T00:00:00Z"}`)
			var m struct{ Events []map[string]any }
			o.get(t, o.manifestPath("configMap evented")).into(t, &m)
			if len(m.Events) != 1 || !strings.HasPrefix(fmt.Sprint(m.Events[0]["lastTimestamp"]), "2026-01-02T03:04:05") || m.Events[0]["firstTimestamp"] == nil {
				t.Errorf("%v", m.Events)
			}
		}},
		{15, "dynamic targets", func(t *testing.T, o *ops) {
			for i := range 3 {
				o.deploy(t, strings.Replace(o.replicaSetManifest("dynamic", i), "replicas: "+fmt.Sprint(i), fmt.Sprintf("replicas: %d", []int{1, 3, 0}[i]), 1), "").only(t)
			}
			base := escaped("manifests", o.c.Name, o.namespace, "replicaSet", "cluster", o.namespace, "replicaSet dynamic") + "/dynamic/"
			for criteria, want := range map[string]string{"oldest": "v000", "newest": "v002", "second_newest": "v001", "smallest": "v002", "largest": "v001"} {
				o.get(t, base+criteria).is(t, 200, `{"kind":"replicaSet","namespace":"`+o.namespace+`","name":"dynamic-`+want+`"}`)
			}
			o.get(t, base+"Newest").says(t, 400, "second_newest")
			o.get(t, escaped("manifests", o.c.Name, o.namespace, "replicaSet", "cluster", o.namespace, "replicaSet nobody")+"/dynamic/newest").says(t, 404, "No manifests matching (account: "+o.c.Name+", location: "+o.namespace+", kind: replicaSet, app "+o.namespace+", cluster: replicaSet nobody, criteria: newest) found")
			o.get(t, escaped("manifests", "nobody", o.namespace, "replicaSet", "cluster", "a", "b")+"/dynamic/newest").says(t, 404)
			// Where everything is watched, they come from memory.
			cfg := settings()
			cfg.Kubernetes.Accounts = javaAccounts(o.c)
			all := startShared(t, storeOptions(t, nil), cfg, nil).ready(t)
			eventually(t, 10*time.Second, func() error {
				before := all.requests.Load()
				r := all.get(t, base+"newest")
				if n := all.requests.Load() - before; n != 0 || !strings.Contains(r.body, "dynamic-v002") {
					return fmt.Errorf("%d requests, %s", n, r.body)
				}
				return nil
			})
		}},
		{16, "siblings of a cluster", func(t *testing.T, o *ops) {
			for range 2 {
				o.deploy(t, o.replicaSetManifest("siblings", 0), "").only(t)
			}
			base := escaped("manifests", o.c.Name, o.namespace, "ReplicaSet", "cluster", o.namespace, "replicaSet siblings")
			ns := `"namespace":"` + o.namespace + `"`
			o.get(t, base).is(t, 200, `[{"kind":"replicaSet",`+ns+`,"name":"siblings-v000"},{"kind":"replicaSet",`+ns+`,"name":"siblings-v001"}]`)
			o.get(t, escaped("manifests", o.c.Name, o.namespace, "replicaSet", "cluster", o.namespace, "replicaSet nobody")).is(t, 200, "[]")
			call(t, o.c, http.MethodPatch, o.apps("replicasets", "siblings-v000"), mergePatch, `{"metadata":{"finalizers":["rows.example.com/stuck"]}}`)
			call(t, o.c, http.MethodDelete, o.apps("replicasets", "siblings-v000"), "application/json", "")
			eventually(t, 10*time.Second, func() error {
				if r := o.get(t, base); strings.Contains(r.body, "v000") {
					return errors.New(r.body)
				}
				return nil
			})
			call(t, o.c, http.MethodPatch, o.apps("replicasets", "siblings-v000"), mergePatch, `{"metadata":{"finalizers":null}}`)
		}},
		{17, "instances", func(t *testing.T, o *ops) {
			o.deploy(t, o.replicaSetManifest("instanced", 1)+"\n---\n"+o.serviceManifest("instanced", "{a: b}"), "").only(t)
			o.settled(t, "replicaSet instanced-v000")
			pod := o.onePod(t, "set=instanced")
			var m map[string]any
			eventually(t, 10*time.Second, func() error {
				r := o.get(t, escaped("instances", o.c.Name, o.namespace, "pod "+pod))
				if r.status != 200 {
					return errors.New(r.body)
				}
				return json.Unmarshal([]byte(r.body), &m)
			})
			if m["healthState"] != "Up" || m["humanReadableName"] != "pod "+pod || m["zone"] != o.namespace || m["id"] == nil {
				t.Errorf("%v", m)
			}
			o.get(t, escaped("instances", o.c.Name, o.namespace, "service instanced")).says(t, 200, `"health":[]`, `"healthState":"Unknown"`)
			for _, id := range []string{"pod nobody", "oneword"} {
				o.get(t, escaped("instances", o.c.Name, o.namespace, id)).says(t, 404, "Instance not found (id: "+id+")")
			}
			o.get(t, escaped("instances", "nobody", o.namespace, "pod x")).says(t, 404)
		}},
		{18, "console output", func(t *testing.T, o *ops) {
			apply(t, o.c, "apiVersion: v1\nkind: Pod\nmetadata: {name: talks, namespace: "+o.namespace+"}\nspec: {initContainers: [{name: init, image: x}], containers: [{name: silent, image: x}, {name: main, image: x}]}")
			for name, text := range map[string]string{"init": "migrated", "main": "listening\non 8080 \xff"} {
				if err := o.c.SetLog(name, text); err != nil {
					t.Fatal(err)
				}
			}
			path := escaped("instances", o.c.Name, o.namespace, "pod talks", "console")
			var got struct {
				Output []struct{ Name, Output string }
			}
			eventually(t, 20*time.Second, func() error {
				got.Output = nil
				o.get(t, path+"?provider=kubernetes").into(t, &got)
				if len(got.Output) != 3 || got.Output[0].Output != "migrated\n" {
					return fmt.Errorf("%+v", got)
				}
				return nil
			})
			if got.Output[0].Name != "init" || got.Output[1].Name != "silent" || got.Output[2].Name != "main" || got.Output[2].Output != "listening\non 8080 \uFFFD\n" || !strings.HasPrefix(got.Output[1].Output, "Failed to get logs from talks/silent in "+o.namespace+": ") {
				t.Errorf("%+v", got)
			}
			o.get(t, escaped("instances", o.c.Name, o.namespace, "pod nobody", "console")).is(t, 200, `{"output":[{"name":"Error","output":"Failed to retrieve pod data; pod may have been deleted."}]}`)
			for _, bad := range []string{path + "?provider=aws", path + "?provider=kubernetes&cloudProvider=gce", escaped("instances", o.c.Name, o.namespace, "service x", "console"), escaped("instances", "nobody", o.namespace, "pod x", "console"), escaped("instances", o.c.Name, o.namespace, "x", "console")} {
				o.get(t, bad).says(t, 404, "Instance not found (id: ")
			}
			if err := o.c.SetLog("main", strings.Repeat(strings.Repeat("x", 1000)+"\n", 7000)); err != nil {
				t.Fatal(err)
			}
			o.get(t, path).says(t, 200, "only the last 5242880 bytes")
		}},
		{19, "jobs", func(t *testing.T, o *ops) {
			path := func(name string) string {
				return escaped("applications", "null", "jobs", o.c.Name, o.namespace, "job "+name)
			}
			r := o.run(t, "runJob", "application: x\nmanifest: {apiVersion: batch/v1, kind: Job, metadata: {generateName: run-, namespace: "+o.namespace+"}, spec: {template: {metadata: {labels: {run: it}}, spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}}}").only(t)
			full := r.DeployedNamesByLocation[o.namespace][0]
			// Found at once, and later as succeeded: kwok ends the pods of jobs.
			name := strings.TrimPrefix(full, "job ")
			o.get(t, path(name)).says(t, 200, `"provider":"kubernetes"`, `"completionDetails":{"exitCode":"","message":"","reason":"","signal":""}`)
			eventually(t, 30*time.Second, func() error {
				if r := o.get(t, path(name)); !strings.Contains(r.body, `"jobState":"Succeeded"`) {
					return errors.New(r.body)
				}
				return nil
			})
			got := o.get(t, path(name))
			got.says(t, 200, `"mostRecentPodName":"`+name, `"phase":"Succeeded"`)
			o.post(t, path(name), "").is(t, 200, got.body) // as Gate asks
			eventually(t, 10*time.Second, func() error {
				before := o.requests.Load()
				o.get(t, path(name))
				if n := o.requests.Load() - before; n != 0 {
					return fmt.Errorf("%d requests for a job that does not change", n)
				}
				return nil
			})
			apply(t, o.c, "apiVersion: batch/v1\nkind: Job\nmetadata: {name: held, namespace: "+o.namespace+"}\nspec: {suspend: true, template: {spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}}")
			o.get(t, path("held")).says(t, 200, `"jobState":"Running"`, `"pods":[]`)
			o.get(t, path("nobody")).says(t, 404, "Job not found (account: "+o.c.Name+", location: "+o.namespace+", id: job nobody)")
			o.get(t, escaped("applications", "x", "jobs", o.c.Name, o.namespace, "pod x")).says(t, 404)
			o.get(t, escaped("applications", "x", "jobs", "nobody", o.namespace, "job x")).says(t, 404)
			// A job that is gone after it has ended is still known.
			call(t, o.c, http.MethodDelete, "/apis/batch/v1/namespaces/"+o.namespace+"/jobs/"+name+"?propagationPolicy=Background", "application/json", "")
			eventually(t, 20*time.Second, func() error {
				if o.exists(t, "/apis/batch/v1/namespaces/"+o.namespace+"/jobs/"+name) {
					return errors.New("still there")
				}
				return nil
			})
			o.get(t, path(name)).says(t, 200, `"jobState":"Succeeded"`)
		}},
		{19, "pods of a job that the watch does not tell of", func(t *testing.T, o *ops) {
			s := start(t, settings(), o.c).ready(t) // it watches what has Spinnaker's label
			const managed = "labels: {app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: x, moniker.spinnaker.io/cluster: job quiet}"
			apply(t, o.c, "apiVersion: batch/v1\nkind: Job\nmetadata: {name: quiet, namespace: "+o.namespace+", "+managed+"}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}}")
			path := escaped("applications", "x", "jobs", o.c.Name, o.namespace, "job quiet")
			eventually(t, 30*time.Second, func() error {
				if r := s.get(t, path); !strings.Contains(r.body, `"phase":"Succeeded"`) || !strings.Contains(r.body, `"jobState":"Succeeded"`) {
					return errors.New(r.body)
				}
				return nil
			})
			call(t, o.c, http.MethodPatch, o.core("pods", o.onePod(t, "job-name=quiet"))+"/status", mergePatch, `{"status":{"message":"told late"}}`)
			s.get(t, path).says(t, 200, `"message":"told late"`)
		}},
		{22, "property files", func(t *testing.T, o *ops) {
			apply(t, o.c, "apiVersion: batch/v1\nkind: Job\nmetadata: {name: tells, namespace: "+o.namespace+"}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: side, image: x}]}}}")
			base := escaped("applications", "x", "jobs", o.c.Name, o.namespace, "job tells")
			set := func(text string) {
				t.Helper()
				if err := o.c.SetLog("side", text); err != nil {
					t.Fatal(err)
				}
			}
			set("start\nSPINNAKER_PROPERTY_Foo=Bar\r\nSPINNAKER_PROPERTY_URL=http://x/?a=b\nSPINNAKER_CONFIG_JSON={\"n\":1}")
			eventually(t, 20*time.Second, func() error {
				if r := o.get(t, base+"/side"); r.body != `{"foo":"Bar","n":1}` {
					return errors.New(r.body)
				}
				return nil
			})
			pod := o.onePod(t, "job-name=tells")
			o.get(t, escaped("applications", "x", "kubernetes", "pods", o.c.Name, o.namespace, pod, "side")).is(t, 200, `{"foo":"Bar","n":1}`)
			for _, path := range []string{base + "/nobody", escaped("applications", "x", "jobs", o.c.Name, o.namespace, "job nobody", "side"), escaped("applications", "x", "kubernetes", "pods", o.c.Name, o.namespace, "nobody", "side"), escaped("applications", "x", "kubernetes", "pods", "nobody", o.namespace, pod, "side")} {
				o.get(t, path).is(t, 200, "{}")
			}
			set("SPINNAKER_PROPERTY_A=b\nSPINNAKER_CONFIG_JSON={broken")
			o.get(t, base+"/side").is(t, 200, "{}")
		}},
		{24, "cancelled jobs", func(t *testing.T, o *ops) {
			apply(t, o.c, "apiVersion: batch/v1\nkind: Job\nmetadata: {name: cancelled, namespace: "+o.namespace+", labels: {app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: x, moniker.spinnaker.io/cluster: job cancelled}}\nspec: {suspend: true, template: {spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}}")
			path := escaped("applications", "x", "jobs", o.c.Name, o.namespace, "job cancelled")
			for range 2 {
				o.send(t, http.MethodDelete, path, "").is(t, 200, "")
			}
			o.get(t, path).says(t, 404)
			o.send(t, http.MethodDelete, escaped("applications", "x", "jobs", o.c.Name, o.namespace, "deployment x"), "").says(t, 404)
		}},
		{25, "security groups", func(t *testing.T, o *ops) {
			o.get(t, "/securityGroups/nobody").is(t, 200, `{"kubernetes":{}}`)
			policy := "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: %s, namespace: " + o.namespace + "}\nspec: {podSelector: {}, ingress: [{ports: [{port: 8080, endPort: 8090}, {port: http, protocol: UDP}, {port: 8080, endPort: 8090}, {}]}], egress: []}"
			o.deploy(t, fmt.Sprintf(policy, "web-in")+"\n---\n"+fmt.Sprintf(policy, "alpha"), "").only(t)
			one := func(name string) string {
				return `{"name":"networkPolicy ` + name + `","id":"networkPolicy ` + name + `"}`
			}
			all := "[" + one("alpha") + "," + one("web-in") + "]"
			byNamespace := `{"` + o.namespace + `":` + all + `}`
			base := "/securityGroups"
			o.get(t, base).is(t, 200, `{"`+o.c.Name+`":{"kubernetes":`+byNamespace+`}}`)
			base += "/" + o.c.Name
			o.get(t, base).is(t, 200, `{"kubernetes":`+byNamespace+`}`)
			o.get(t, base+"?region="+o.namespace).is(t, 200, `{"kubernetes":`+all+`}`)
			o.get(t, base+"/aws").is(t, 200, "{}")
			o.get(t, base+"/kubernetes").is(t, 200, byNamespace)
			o.get(t, base+"/kubernetes?region="+o.namespace).is(t, 200, all)
			o.get(t, base+"/kubernetes?region=nowhere").is(t, 200, "[]")
			o.get(t, base+"/kubernetes/networkPolicy%20web-in").is(t, 200, `{"`+o.namespace+`":[`+one("web-in")+`]}`)
			o.get(t, base+"/kubernetes/nonsense").is(t, 200, "{}")
			o.get(t, base+escaped("kubernetes", o.namespace, "networkPolicy web-in")+"?vpcId=x").says(t, 200,
				`"inboundRules":[{"protocol":"TCP","portRanges":[{"startPort":8080,"endPort":8090}]},{"protocol":"UDP","portRanges":[{"startPortName":"http","endPortName":"http"}]},{"protocol":"TCP"}]`,
				`"outboundRules":[]`, `"summary":`+one("web-in"), `"application":"`+o.namespace+`"`)
			for _, path := range []string{escaped("kubernetes", o.namespace, "networkPolicy nobody"), escaped("aws", o.namespace, "networkPolicy web-in"), escaped("kubernetes", o.namespace, "nonsense")} {
				o.get(t, base+path).says(t, 404, "Security group '", "' does not exist")
			}
		}},
		{27, "search", func(t *testing.T, o *ops) {
			o.deploy(t, o.replicaSetManifest("findme", 1)+"\n---\n"+o.serviceManifest("findme", "{a: b}")+"\n---\n"+o.deployment("findme", "x"), "moniker: {app: findme-app, stack: blue}").only(t)
			find := func(query string) (set struct {
				PageNumber, PageSize, TotalMatches int
				Platform, Query                    string
				Results                            []map[string]any
			}) {
				t.Helper()
				var sets []json.RawMessage
				o.get(t, "/search?"+query).into(t, &sets)
				if len(sets) != 1 {
					t.Fatalf("%d sets", len(sets))
				}
				if err := json.Unmarshal(sets[0], &set); err != nil {
					t.Fatal(err)
				}
				return set
			}
			var found []map[string]any
			eventually(t, 10*time.Second, func() error {
				if found = find("q=findme&type=instances&pageSize=500").Results; len(found) != 3 {
					return fmt.Errorf("%v", found)
				}
				return nil
			})
			for _, c := range []struct {
				query string
				want  map[string]any
			}{
				{"q=findme-v&type=serverGroups", map[string]any{"name": "replicaSet findme-v000", "serverGroup": "replicaSet findme-v000", "application": "findme-app", "cluster": "replicaSet findme", "stack": "blue", "sequence": 0.0, "kubernetesKind": "replicaSet", "group": "replicaSet"}},
				{"q=FINDME&type=loadbalancers", map[string]any{"name": "service findme", "loadBalancer": "service findme", "type": "loadBalancers"}},
				{"q=findme&type=serverGroupManagers", map[string]any{"name": "deployment findme", "type": "serverGroupManagers"}},
				{"q=" + o.namespace + "&type=service&region=" + o.namespace, map[string]any{"kubernetesKind": "service", "namespace": o.namespace}},
				{"q=findme-app&type=applications", map[string]any{"application": "findme-app", "logicalKind": "APPLICATIONS", "name": "findme-app"}},
				{"q=findme-app&type=clusters", map[string]any{"cluster": "deployment findme", "application": "findme-app", "logicalKind": "CLUSTERS"}},
			} {
				got := find(c.query)
				if len(got.Results) == 0 {
					t.Errorf("%s: nothing", c.query)
					continue
				}
				for key, want := range c.want {
					if got.Results[0][key] != want {
						t.Errorf("%s: %s is %v, want %v", c.query, key, got.Results[0][key], want)
					}
				}
			}
			if got := find("q=findme&type=instances,service&type=replicaSet&pageSize=2&page=2"); got.PageNumber != 2 || got.PageSize != 2 || got.TotalMatches < 5 || len(got.Results) != 2 {
				t.Errorf("%+v", got)
			}
			for _, nothing := range []string{"q=findme&type=projects", "q=findme&type=Nonsense", "q=findme&type=service&platform=aws", "q=findme&type=service&cloudProvider=aws", "q=no-such-thing&type=service", "q=findme&type=service&account=nobody", "q=kubernetes.v2&type=service"} {
				if got := find(nothing); len(got.Results) != 0 || got.Results == nil {
					t.Errorf("%s: %+v", nothing, got)
				}
			}
			o.get(t, "/search?q=x").says(t, 400, "type")
			o.get(t, "/search?q=x&type=pod&page=x").says(t, 400, "page")
		}},
		{28, "search with Front50; projects", func(t *testing.T, o *ops) {
			base, down := fakeFront50(t, o.c.Name)
			s := &ops{serveWith(t, o, api.Options{Front50: front50.New(base, 2*time.Second, nil)}), o.c, o.namespace}
			o.deploy(t, o.replicaSetManifest("shown", 2), "moniker: {app: rest-projects, stack: blue}").only(t)
			o.settled(t, "replicaSet shown-v000")
			s.get(t, "/search?q=onlyinfront50&type=applications").says(t, 200, `"application":"onlyinfront50"`, `"email":"a@example.com"`)
			s.get(t, "/search?q=rest-proj&type=projects").says(t, 200, `"name":"demo"`, `"url":"/projects/p1"`)
			eventually(t, 10*time.Second, func() error {
				r := s.get(t, "/projects/demo/clusters")
				for _, text := range []string{
					`{"account":"` + o.c.Name + `","stack":"*","detail":"*","instanceCounts":{"total":2,"up":2,"down":0,"unknown":0,"outOfService":0,"starting":0},"applications":[{"application":"rest-projects"`,
					`"builds":[{"buildNumber":"0","deployed":`, `"images":["registry/web"]}]`, `{"application":"other","lastPush":0,"clusters":[]}`,
					`{"account":"` + o.c.Name + `","stack":"blue","instanceCounts":{"total":2,`, `{"account":"nobody","stack":"*"`,
				} {
					if !strings.Contains(r.body, text) {
						return fmt.Errorf("no %s in %s", text, r.body)
					}
				}
				return nil
			})
			s.get(t, "/projects/empty/clusters").is(t, 200, "[]")
			s.get(t, "/projects/nobody/clusters").says(t, 404, "Project not found: (name: nobody)")
			s.get(t, "/projects/garbage/clusters").says(t, 503)
			down(true)
			s.get(t, "/projects/demo/clusters").says(t, 503)
			s.get(t, "/search?q=rest-projects&type=applications").says(t, 200, `"application":"rest-projects"`)
			s.get(t, "/search?q=x&type=projects").says(t, 200, `"results":[]`)
			o.get(t, "/projects/demo/clusters").says(t, 404) // without a Front50
		}},
		{30, "features and caches", func(t *testing.T, o *ops) {
			var stages []struct {
				Name    string
				Enabled bool
			}
			o.get(t, "/features/stages").into(t, &stages)
			if len(stages) != 13 {
				t.Errorf("%d stages", len(stages))
			}
			for _, s := range stages {
				if !s.Enabled || s.Name == "upsertEntityTags" {
					t.Errorf("%+v", s)
				}
			}
			for _, path := range []string{"/cache/kubernetes/manifest", "/cache/aws/ServerGroup"} {
				o.post(t, path, `{"account":"x"}`).is(t, 200, `{"cachedIdentifiersByType":{}}`)
				o.post(t, path, `[`).says(t, 400)
				o.get(t, path+"?id=x").is(t, 200, "[]")
			}
			o.get(t, "/cache/introspection").says(t, 200, `"provider":"kubernetes"`, `"id":"`+o.c.Name+`/pod/"`)
			o.send(t, http.MethodPut, "/admin/db/drop/x", "").says(t, 404)
		}},
		{32, "what the other controllers answer", func(t *testing.T, o *ops) {
			for path, want := range map[string]string{
				"/subnets": "[]", "/subnets/aws": "[]", "/networks": "{}", "/networks/aws": "[]", "/vpcs": "[]", "/elasticIps/x?region=y": "[]", "/keyPairs": "[]", "/instanceTypes": "[]",
				"/certificates": "[]", "/certificates/aws": "[]", "/functions?region=x": "[]", "/applications/x/functions": "[]", "/tags?x=y": "[]", "/storage": "[]",
				"/dockerRegistry/images/find?q=x": "[]", "/dockerRegistry/images/tags?account=x": "[]", "/reports/reservation": "[]", "/reports/reservation/v2": "[]",
				"/servicebroker/x/services?cloudProvider=x&region=y": "[]", "/servicebroker/x/serviceInstance?cloudProvider=x": "", "/installedPlugins": "[]",
			} {
				r := o.get(t, path)
				r.is(t, 200, want)
				if want != "" && !strings.HasPrefix(r.header.Get("Content-Type"), "application/json") {
					t.Errorf("%s: %s", path, r.header.Get("Content-Type"))
				}
			}
			for path, text := range map[string]string{
				"/tags/a%2Fb": "No EntityTags found w/ id = 'a/b'", "/images/aws/x": "ImageProvider for provider aws not found.", "/kubernetes/images/find?q=x": "", "/kubernetes/images/tags": "",
				"/v1/data/static/x": "No data available (id: x)", "/v1/data/adhoc/g/b/o/p": "No data available (groupId: g)", "/roles/aws": "", "/launchTemplates": "", "/dataSources": "", "/bakes": "", "/firewalls": "",
				"/saga/x/y": "", "/ecs/x": "", "/applications/a/serverGroups/x/y/events": "", "/version": "", "/env": "", "/resolvedEnv": "", "/unheard/of": "",
			} {
				r := o.get(t, path)
				r.says(t, 404, text, `"message":`, `"timestamp":`)
				if !strings.HasPrefix(r.header.Get("Content-Type"), "application/json") {
					t.Errorf("%s: %s", path, r.header.Get("Content-Type"))
				}
			}
			o.get(t, "/cloudMetrics/kubernetes/a/b").says(t, 400, "No provider found named 'kubernetes' that supports cloud metrics")
		}},
		{34, "probes", func(t *testing.T, o *ops) {
			for _, path := range []string{"/health", "/health/liveness", "/health/readiness"} {
				o.get(t, path).is(t, 200, `{"status":"UP"}`)
			}
			o.get(t, "/info").says(t, 200, `"build"`)
			m := newDatabase(t, "utf8mb4")
			p, err := localkube.NewProxy(m.Host)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.Close)
			m.Host = p.Addr()
			options := storeOptions(t, m)
			options.Timeout = time.Second
			s := serveWith(t, o, api.Options{Resources: openStore(t, options)})
			s.get(t, "/health").is(t, 200, `{"status":"UP"}`)
			p.BlackHole(true)
			s.get(t, "/health").says(t, 503, `"status":"DOWN"`)
			s.get(t, "/health/readiness").says(t, 503, `"status":"OUT_OF_SERVICE"`)
			s.get(t, "/health/liveness").is(t, 200, `{"status":"UP"}`)
			p.BlackHole(false)
			eventually(t, 10*time.Second, func() error {
				if r := s.get(t, "/health"); r.status != 200 {
					return errors.New(r.body)
				}
				return nil
			})
		}},
		{35, "raw resources", func(t *testing.T, o *ops) {
			o.get(t, "/applications/nobody-at-all/rawResources").is(t, 200, "[]")
			o.deploy(t, o.configMap("raw", "{a: b}")+"\n---\n"+o.serviceManifest("raw", "{a: b}")+"\n---\n"+o.replicaSetManifest("raw", 0), "moniker: {app: raw-app}").only(t)
			names := func(s *service) string {
				t.Helper()
				var list []struct{ Name, Region, Account string }
				s.get(t, "/applications/raw-app/rawResources").into(t, &list)
				var out []string
				for _, r := range list {
					out = append(out, r.Name)
				}
				return strings.Join(out, ", ")
			}
			if got := names(o.service); got != "replicaSet raw-v000, service raw" {
				t.Error(got)
			}
			cfg := settings()
			cfg.Kubernetes.Accounts = javaAccounts(o.c)
			cfg.Kubernetes.Accounts[0].CacheAllApplicationRelationships = true
			cfg.Kubernetes.Accounts[0].RawResources.OmitKindExpressions = []string{"replica.*", "serv"}
			all := startShared(t, storeOptions(t, nil), cfg, nil).ready(t)
			if got := names(all); got != "configMap raw-v000, service raw" {
				t.Error(got)
			}
			all.get(t, "/search?q=raw-v000&type=configMap").says(t, 200, `"name":"configMap raw-v000"`)
		}},
	})
}

func (o *ops) onePod(t testing.TB, selector string) string {
	t.Helper()
	var list struct{ Items []object }
	if err := json.Unmarshal(call(t, o.c, http.MethodGet, "/api/v1/namespaces/"+o.namespace+"/pods?labelSelector="+url.QueryEscape(selector), "", ""), &list); err != nil || len(list.Items) == 0 {
		t.Fatal("no pod", selector, err)
	}
	return list.Items[0].text("metadata", "name")
}

// serveWith serves the cluster of o once more, with other options.
func serveWith(t testing.TB, o *ops, options api.Options) *service {
	t.Helper()
	cfg := settings()
	cfg.Kubernetes.Accounts = javaAccounts(o.c)
	return startWith(t, cfg, options, nil).ready(t)
}
