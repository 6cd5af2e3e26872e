package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/localkube"
)

// steady is the status of what is as it should be.
const steady = `"status":{"stable":{"state":true},"paused":{"state":false},"available":{"state":true},"failed":{"state":false}}`

// laggingWatches serves the cluster of o once more, with watches that are
// seconds late.
func laggingWatches(t testing.TB, o *ops) *ops {
	t.Helper()
	cfg := settings()
	cfg.Kubernetes.Accounts = javaAccounts(o.c)
	return &ops{startShared(t, storeOptions(t, nil), cfg, func(next http.RoundTripper) http.RoundTripper { return heldBack{next, 3 * time.Second} }).ready(t), o.c, o.namespace}
}

// noBackend answers as a load balancer that has lost its cluster.
func noBackend(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusNotFound, Status: "404 Not Found", Header: http.Header{"Content-Type": {"text/plain"}},
		Body: io.NopCloser(strings.NewReader("default backend - 404")), Request: r,
	}, nil
}

// manifestRows are those of GET /manifests.
func manifestRows() []check {
	return []check{
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
		{3, "an empty location is no redirect", func(t *testing.T, o *ops) {
			req, err := http.NewRequest(http.MethodGet, o.URL+"/manifests/"+o.c.Name+"//"+url.PathEscape("namespace "+o.namespace), nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := http.DefaultTransport.RoundTrip(req) // follows no redirect
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			body, _ := io.ReadAll(res.Body)
			response{res.StatusCode, res.Header, string(body)}.says(t, 200, `"location":""`)
		}},
		{4, "cluster-scoped objects in every form of the path", func(t *testing.T, o *ops) {
			full := url.PathEscape("namespace " + o.namespace)
			want := o.get(t, "/manifests/"+o.c.Name+"/_/"+full+"?includeEvents=false")
			want.says(t, 200, `"location":""`, `"name":"namespace `+o.namespace+`"`)
			for _, path := range []string{"/manifests/" + o.c.Name + "//" + full, "/manifests/" + o.c.Name + "/" + full, "/manifests/" + o.c.Name + "/ignored/" + full} {
				o.get(t, path+"?includeEvents=false").is(t, 200, want.body)
			}
		}},
		{4, "an account of some namespaces", func(t *testing.T, o *ops) {
			cfg := settings()
			cfg.Kubernetes.Accounts = javaAccounts(o.c)
			cfg.Kubernetes.Accounts[0].Namespaces = []string{o.namespace}
			s := &ops{service: startWith(t, cfg, nil).ready(t), c: o.c, namespace: o.namespace}
			for location, status := range map[string]int{"_": 200, "default": 200, o.namespace: 200} {
				s.get(t, escaped("manifests", o.c.Name, location, "clusterRole view")+"?includeEvents=false").says(t, status)
			}
			s.get(t, escaped("manifests", o.c.Name, "default", "configMap kube-root-ca.crt")).says(t, 404)
			s.get(t, escaped("manifests", o.c.Name, "default", "configMap", "cluster", "a", "b")).says(t, 404)
		}},
		{5, "kinds in every spelling", func(t *testing.T, o *ops) {
			o.deploy(t, o.deployment("spelled", "x"), "").only(t)
			for _, kind := range []string{"Deployment", "deploy", "DEPLOYMENT", "deployment.apps", "Deployment.apps"} {
				o.get(t, o.manifestPath(kind+" spelled")+"?includeEvents=false").says(t, 200, `"name":"deployment spelled"`)
			}
			apply(t, o.c, "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: spelled, namespace: "+o.namespace+"}\nspec: {maxReplicas: 2, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: spelled}, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]}")
			o.get(t, o.manifestPath("HorizontalPodAutoscaler.autoscaling spelled")).says(t, 200, `"name":"horizontalpodautoscaler spelled"`, `"type":"kubernetes/deployment"`)
		}},
		{6, "just deployed, with watches that lag", func(t *testing.T, o *ops) {
			s := laggingWatches(t, o)
			m := strings.Replace(o.deployment("lagging", "v:1"), "replicas: 2", "replicas: 0", 1)
			s.deploy(t, m, "").only(t)
			for _, image := range []string{"v:2", "v:3"} {
				s.deploy(t, strings.Replace(m, "v:1", image, 1), "").only(t)
				s.get(t, s.manifestPath("deployment lagging")+"?includeEvents=false").says(t, 200, `"image":"`+image+`"`)
			}
		}},
		{7, "just deleted, with watches that lag", func(t *testing.T, o *ops) {
			s := laggingWatches(t, o)
			s.deploy(t, strings.Replace(o.deployment("leaving", "x"), "replicas: 2", "replicas: 0", 1), "").only(t)
			s.get(t, s.manifestPath("deployment leaving")).says(t, 200)
			s.run(t, "deleteManifest", s.target("deployment leaving")).only(t)
			s.get(t, s.manifestPath("deployment leaving")).says(t, 404)
			s.get(t, s.manifestPath("deployment leaving")).says(t, 404)
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
		{9, "a load balancer without its backend", func(t *testing.T, o *ops) {
			var gone atomic.Bool
			cfg := settings()
			cfg.Kubernetes.Accounts = javaAccounts(o.c)
			s := &ops{startWith(t, cfg, func(next http.RoundTripper) http.RoundTripper {
				return diverted{next, func(*http.Request) bool { return gone.Load() }, noBackend}
			}).ready(t), o.c, o.namespace}
			s.deploy(t, strings.Replace(o.deployment("stays", "x"), "replicas: 2", "replicas: 1", 1), "").only(t)
			pod := ""
			eventually(t, 20*time.Second, func() error {
				var list struct{ Items []object }
				if err := json.Unmarshal(call(t, o.c, http.MethodGet, "/api/v1/namespaces/"+o.namespace+"/pods?labelSelector=app%3Dstays", "", ""), &list); err != nil || len(list.Items) == 0 {
					return errors.New("no pod yet")
				}
				pod = list.Items[0].text("metadata", "name")
				if r := s.get(t, escaped("instances", o.c.Name, o.namespace, "pod "+pod)); r.status != 200 {
					return errors.New(r.body)
				}
				return nil
			})
			gone.Store(true)
			for range 2 { // pods are read live
				s.get(t, s.manifestPath("pod "+pod)).says(t, 503, "the server answered 404 Not Found without saying why as Kubernetes does")
			}
			s.get(t, s.manifestPath("podTemplate x")).says(t, 503)
			s.get(t, escaped("manifests", o.c.Name, o.namespace, "configMap", "cluster", "a", "b")).says(t, 503)
			gone.Store(false)
			s.get(t, s.manifestPath("pod "+pod)).says(t, 200)
			s.get(t, escaped("instances", o.c.Name, o.namespace, "pod "+pod)).says(t, 200)
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
		{11, "events of what has no namespace", func(t *testing.T, o *ops) {
			full, name := "clusterRole "+o.namespace, o.namespace
			apply(t, o.c, "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: "+name+"}")
			t.Cleanup(func() {
				call(t, o.c, http.MethodDelete, "/apis/rbac.authorization.k8s.io/v1/clusterroles/"+name, "application/json", "")
				call(t, o.c, http.MethodDelete, "/api/v1/namespaces/default/events/"+name, "application/json", "")
			})
			call(t, o.c, http.MethodPost, "/api/v1/namespaces/default/events", "application/json", `{"metadata":{"name":"`+name+`"},"involvedObject":{"kind":"ClusterRole","name":"`+name+`"},"reason":"Noted","type":"Normal","lastTimestamp":"2026-01-01T00:00:00Z"}`)
			o.get(t, escaped("manifests", o.c.Name, "_", full)).says(t, 200, `"reason":"Noted"`, `"location":""`)
		}},
		{11, "events that cannot be read", func(t *testing.T, o *ops) {
			apply(t, o.c, o.configMap("uneventful", "{a: b}"))
			cfg := settings()
			cfg.Kubernetes.Accounts = javaAccounts(o.c)
			for how, fails := range map[string]func(*http.Request) (*http.Response, error){
				"refused": func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") },
				"silent": func(r *http.Request) (*http.Response, error) {
					<-r.Context().Done()
					return nil, r.Context().Err()
				},
			} {
				s := &ops{startWith(t, cfg, func(next http.RoundTripper) http.RoundTripper { return diverted{next, endsWith("/events"), fails} }).ready(t), o.c, o.namespace}
				begin := time.Now()
				s.get(t, o.manifestPath("configMap uneventful")).says(t, 200, `"events":[]`)
				if took := time.Since(begin); took > 8*time.Second {
					t.Errorf("%s: took %s", how, took)
				}
			}
		}},
		{12, "metrics of pods: off, unavailable, there", func(t *testing.T, o *ops) {
			apply(t, o.c, "apiVersion: v1\nkind: Pod\nmetadata: {name: measured, namespace: "+o.namespace+"}\nspec: {containers: [{name: main, image: x}]}")
			withMetrics := func(on bool) *ops {
				cfg := settings()
				cfg.Kubernetes.Accounts = javaAccounts(o.c)
				cfg.Kubernetes.Accounts[0].Metrics = &on
				return &ops{service: startWith(t, cfg, nil).ready(t), c: o.c, namespace: o.namespace}
			}
			on, off := withMetrics(true), withMetrics(false)
			path := o.manifestPath("pod measured")
			on.get(t, path).says(t, 200, `"metrics":[]`) // nothing measures here
			// The kind that metrics servers serve, with a definition to serve it.
			apply(t, o.c, `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: pods.metrics.k8s.io, annotations: {api-approved.kubernetes.io: "unapproved, for a test"}}
spec:
  group: metrics.k8s.io
  scope: Namespaced
  names: {plural: pods, singular: podmetrics, kind: PodMetrics, listKind: PodMetricsList}
  versions: [{name: v1beta1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`)
			t.Cleanup(func() {
				call(t, o.c, http.MethodDelete, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/pods.metrics.k8s.io", "application/json", "")
			})
			eventually(t, 20*time.Second, func() error {
				return o.c.Apply(context.Background(), []byte("apiVersion: metrics.k8s.io/v1beta1\nkind: PodMetrics\nmetadata: {name: measured, namespace: "+o.namespace+"}\ncontainers: [{name: main, usage: {cpu: 12345678n, memory: 65536Ki}}]"))
			})
			on.get(t, path).says(t, 200, `"metrics":[{"containerName":"main","metrics":{"CPU(cores)":"13m","MEMORY(bytes)":"64Mi"}}]`)
			on.get(t, path+"?includeEvents=false").says(t, 200, `"metrics":[]`)
			off.get(t, path).says(t, 200, `"metrics":[]`)
		}},
		{13, "the status of every kind, by its own controller", func(t *testing.T, o *ops) {
			workload := func(kind, name, spec string) string {
				return fmt.Sprintf("apiVersion: apps/v1\nkind: %[1]s\nmetadata: {name: %[2]s, namespace: %[3]s}\nspec: {%[4]s, selector: {matchLabels: {app: %[2]s}}, template: {metadata: {labels: {app: %[2]s}}, spec: {containers: [{name: main, image: x}]}}}\n---\n", kind, name, o.namespace, spec)
			}
			ns := ", namespace: " + o.namespace
			apply(t, o.c, workload("Deployment", "st-d", "replicas: 2")+workload("Deployment", "st-paused", "replicas: 1, paused: true")+workload("ReplicaSet", "st-r", "replicas: 1")+
				workload("StatefulSet", "st-s", "serviceName: x, replicas: 1")+workload("StatefulSet", "st-ondelete", "serviceName: x, replicas: 1, updateStrategy: {type: OnDelete}")+workload("DaemonSet", "st-a", "minReadySeconds: 0")+
				"apiVersion: v1\nkind: Pod\nmetadata: {name: st-nowhere"+ns+"}\nspec: {nodeSelector: {no: where}, containers: [{name: main, image: x}]}\n---\n"+
				"apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: st-pvc"+ns+"}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n---\n"+
				"apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: st-c"+ns+"}\nspec: {schedule: '0 0 1 1 *', jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}}}}\n---\n"+
				"apiVersion: batch/v1\nkind: Job\nmetadata: {name: st-j"+ns+"}\nspec: {suspend: true, template: {spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}}\n")
			for full, want := range map[string]string{
				"deployment st-d": steady, "replicaSet st-r": steady, "daemonSet st-a": steady, "statefulSet st-ondelete": steady, "persistentVolumeClaim st-pvc": steady, "cronJob st-c": steady, "configMap kube-root-ca.crt": steady,
				"statefulSet st-s":     strings.Replace(steady, `"stable":{"state":true}`, `"stable":{"state":true,"message":"Partitioned roll out complete"}`, 1),
				"deployment st-paused": `"paused":{"state":true,"message":"Deployment is paused"}`,
				"pod st-nowhere":       `"status":{"stable":{"state":false,"message":"Pod is pending"},"paused":{"state":false},"available":{"state":false,"message":"Pod is pending"},"failed":{"state":false}}`,
				"job st-j":             `"stable":{"state":false,"message":"Waiting for jobs to finish"}`,
			} {
				eventually(t, 30*time.Second, func() error {
					if r := o.get(t, o.manifestPath(full)+"?includeEvents=false"); r.status != 200 || !strings.Contains(r.body, want) {
						_, status, _ := strings.Cut(r.body, `"status":{"stable`)
						return fmt.Errorf("%s: %d %.400s, want %s", full, r.status, status, want)
					}
					return nil
				})
			}
		}},
		{14, "custom kinds have their own status", customStatus},
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
		{15, "dynamic targets among large objects", func(t *testing.T, o *ops) {
			data := strings.Repeat("x", 1_000_000)
			for i := range 40 { // a page of them is larger than one answer may be
				call(t, o.c, http.MethodPost, "/api/v1/namespaces/"+o.namespace+"/configmaps", "application/json", fmt.Sprintf(`{"metadata":{"name":"large-%02d","annotations":{"moniker.spinnaker.io/application":"large","moniker.spinnaker.io/cluster":"configMap large","moniker.spinnaker.io/sequence":"%d"}},"data":{"a":%q}}`, i, i, data))
			}
			o.get(t, escaped("manifests", o.c.Name, o.namespace, "configMap", "cluster", "large", "configMap large")+"/dynamic/newest").says(t, 200, `"name":"large-39"`)
			for i := range 40 {
				call(t, o.c, http.MethodDelete, o.core("configmaps", fmt.Sprintf("large-%02d", i)), "application/json", "")
			}
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
	}
}
