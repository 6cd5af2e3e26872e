package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/localkube"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

func (o *ops) post(t testing.TB, path, body string) response {
	t.Helper()
	return o.send(t, http.MethodPost, path, body)
}

// submitIn posts a request as a stage of an execution does.
func (o *ops) submitIn(t testing.TB, execution, body string) string {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, o.URL+"/kubernetes/ops", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-SPINNAKER-EXECUTION-ID", execution)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var answer struct{ ID string }
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.ID == "" {
		t.Fatal(res.Status, err)
	}
	return answer.ID
}

func TestChecklist_RequestsAndTasks(t *testing.T) {
	runRows(t, "rows-requests", []check{
		{1, "requests that make no task", func(t *testing.T, o *ops) {
			for body, field := range map[string]string{
				`{"deployManifest":{}}`: "array", `not json`: "array", `[{"deployManifest":null}]`: "deployManifest", `[5]`: "operation 0", `[{"noSuch":{}}]`: "noSuch",
				`[{"deployManifest@v1@v2":{}}]`: "@", `[{"deployManifest":[]}]`: "deployManifest", `[{"deployManifest":{"account":{}}}]`: "account", `[{"deployManifest":{"manifests":"x"}}]`: "manifests",
				`[{"scaleManifest":{"account":"` + o.c.Name + `","manifestName":"deployment","replicas":1}}]`:                                      "manifestName",
				`[{"scaleManifest":{"account":"` + o.c.Name + `","manifestName":"deployment a b","replicas":1}}]`:                                  "manifestName",
				`[{"deployManifest":{"account":"` + o.c.Name + `","moniker":{},"manifests":[{"kind":"x"}]}}]`:                                      "manifests[0].apiVersion",
				`[{"deployManifest":{"account":"` + o.c.Name + `","moniker":{},"manifests":[null,{"apiVersion":"v1","kind":"x","metadata":{}}]}}]`: "manifests[1].metadata.name",
			} {
				if r := o.post(t, "/kubernetes/ops", body); r.status != http.StatusBadRequest || !strings.Contains(r.body, field) {
					t.Errorf("%s: %d %s", body, r.status, r.body)
				}
			}
			if r := o.post(t, "/aws/ops", `[]`); r.status != http.StatusBadRequest && r.status != http.StatusOK {
				t.Error(r.status, r.body)
			}
			if r := o.post(t, "/aws/ops", `[{"deployManifest":{}}]`); r.status != http.StatusBadRequest {
				t.Error(r.status, r.body)
			}
			if r := o.get(t, "/task"); r.body != "[]" {
				t.Errorf("there are tasks: %s", r.body)
			}
			d := o.await(t, o.submit(t, strings.Replace(o.body(t, "deployManifest", "moniker: {app: x}\nmanifests: []"), "deployManifest", "deployManifest@v2", 1), ""))
			if d.Status.Failed {
				t.Error(d.raw)
			}
			if d := o.await(t, o.submit(t, "[]", "")); d.Status.Failed || len(d.ResultObjects) != 0 {
				t.Error(d.raw)
			}
		}},
		{2, "accounts", func(t *testing.T, o *ops) {
			r := o.post(t, "/kubernetes/ops", `[{"scaleManifest":{"account":"nobody","manifestName":"deployment a","replicas":1}}]`)
			if r.status != http.StatusBadRequest || !strings.Contains(r.body, "credentials not found (name: nobody)") || strings.Contains(r.body, o.c.Name) {
				t.Error(r.status, r.body)
			}
			if r := o.post(t, "/kubernetes/ops", `[{"scaleManifest":{"accountName":"x","manifestName":"deployment a","replicas":1}}]`); r.status != http.StatusBadRequest || !strings.Contains(r.body, "account") {
				t.Error(r.status, r.body)
			}
			body := strings.Replace(o.body(t, "deployManifest", "moniker: {app: x}\nmanifests: []"), `"account"`, `"credentials"`, 1)
			if d := o.await(t, o.submit(t, body, "")); d.Status.Failed {
				t.Error(d.raw)
			}
		}},
		{3, "one task for one request id", func(t *testing.T, o *ops) {
			apply(t, o.c, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: held, namespace: %s, finalizers: [rows.example.com/held]}", o.namespace))
			body := o.body(t, "deleteManifest", o.target("configMap held"))
			running := o.submit(t, body, "id-running")
			if again := o.submit(t, body, "id-running"); again != running {
				t.Error("another task while it runs")
			}
			eventually(t, 10*time.Second, func() error {
				if !strings.Contains(o.get(t, "/task").body, running) {
					return errors.New("not listed as running")
				}
				return nil
			})
			call(t, o.c, http.MethodPatch, o.core("configmaps", "held"), mergePatch, `{"metadata":{"finalizers":null}}`)
			o.await(t, running)
			if again := o.submit(t, body, "id-running"); again != running {
				t.Error("another task when it is completed")
			}
			bad := o.body(t, "scaleManifest", o.target("deployment nobody")+"replicas: 1")
			failing := o.submit(t, bad, "id-failed")
			before := o.await(t, failing).raw
			if again := o.submit(t, bad, "id-failed"); again != failing || o.await(t, again).raw != before {
				t.Error("a failed task runs again")
			}
			var wg sync.WaitGroup
			ids := make([]string, 20)
			parallel := o.body(t, "runJob", "application: x\nmanifest: {apiVersion: batch/v1, kind: Job, metadata: {generateName: once-, namespace: "+o.namespace+"}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: x}]}}}}")
			for i := range ids {
				wg.Go(func() { ids[i] = o.submit(t, parallel, "id-parallel") })
			}
			wg.Wait()
			for _, id := range ids {
				if id != ids[0] {
					t.Errorf("%v", ids)
				}
			}
			o.await(t, ids[0])
			var list struct{ Items []object }
			_ = json.Unmarshal(call(t, o.c, http.MethodGet, "/apis/batch/v1/namespaces/"+o.namespace+"/jobs", "", ""), &list)
			if len(list.Items) != 1 {
				t.Errorf("%d jobs", len(list.Items))
			}
		}},
		{4, "the other forms of a request", func(t *testing.T, o *ops) {
			description := `{"account":"` + o.c.Name + `","cloudProvider":"kubernetes","moniker":{"app":"x"},"manifests":[{"apiVersion":"v1","kind":"Service","metadata":{"name":"form","namespace":"` + o.namespace + `"},"spec":{"ports":[{"port":80}]}}]}`
			for path, body := range map[string]string{"/kubernetes/ops/deployManifest": description, "/ops": `[{"deployManifest":` + description + `}]`, "/ops/deployManifest": description} {
				var answer struct{ ID string }
				o.post(t, path, body).into(t, &answer)
				if err := equal(o.names(o.await(t, answer.ID).only(t)), []string{"service form"}); err != nil {
					t.Error(path, err)
				}
			}
			if r := o.post(t, "/ops/deployManifest", strings.Replace(description, `"cloudProvider":"kubernetes"`, `"cloudProvider":"aws"`, 1)); r.status != http.StatusBadRequest {
				t.Error(r.status, r.body)
			}
		}},
		{5, "several operations", func(t *testing.T, o *ops) {
			part := func(body string) string { return strings.Trim(body, "[]") }
			good := func(name string) string {
				return part(o.body(t, "deployManifest", o.deployFields(t, o.serviceManifest(name, "{a: b}"), "")))
			}
			bad := part(o.body(t, "scaleManifest", o.target("deployment nobody")+"replicas: 1"))
			join := func(parts ...string) string {
				// The texts lost their outer brackets only.
				return "[" + strings.Join(parts, ",") + "]"
			}
			d := o.await(t, o.submit(t, join(good("first"), bad, good("third")), ""))
			if len(d.results) != 2 || o.names(d.results[0])[0] != "service first" || !d.Status.Failed || o.exists(t, o.core("services", "third")) {
				t.Error(d.raw)
			}
			d = o.await(t, o.submit(t, join(bad, good("never")), ""))
			if len(d.results) != 1 || !d.Status.Failed || o.exists(t, o.core("services", "never")) {
				t.Error(d.raw)
			}
			d = o.await(t, o.submit(t, join(good("one"), good("two")), ""))
			if len(d.results) != 2 || d.Status.Failed {
				t.Error(d.raw)
			}
		}},
		{10, "what the cluster refuses", func(t *testing.T, o *ops) {
			o.deploy(t, "apiVersion: v1\nkind: Nonsense\nmetadata: {name: x, namespace: "+o.namespace+"}", "").failed(t, "Nonsense", "v1")
			o.deploy(t, strings.Replace(o.deployment("bad", "x"), "replicas: 2", "replicas: -2", 1), "").failed(t, "deployment bad", "spec.replicas", "must be greater than or equal to 0")
			apply(t, o.c, "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: q, namespace: "+o.namespace+"}\nspec: {hard: {count/persistentvolumeclaims: '0'}}")
			eventually(t, 20*time.Second, func() error {
				if o.live(t, o.core("resourcequotas", "q")).at("status", "hard") == nil {
					return errors.New("the quota is not counted yet")
				}
				return nil
			})
			o.deploy(t, "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: x, namespace: "+o.namespace+"}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}", "").failed(t, "exceeded quota")
			o.deploy(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: nobody}", "").failed(t, `namespaces "nobody" not found`)
			hook := func(url string) {
				apply(t, o.c, `apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: rows-policy}
spec:
  failurePolicy: Fail
  matchConstraints: {resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [endpoints]}]}
  validations: [{expression: "!object.metadata.name.startsWith('denied')", message: no denied endpoints}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: rows-policy}
spec: {policyName: rows-policy, validationActions: [Deny]}
`+url)
			}
			hook("")
			t.Cleanup(func() {
				for _, kind := range []string{"validatingadmissionpolicies", "validatingadmissionpolicybindings"} {
					call(t, o.c, http.MethodDelete, "/apis/admissionregistration.k8s.io/v1/"+kind+"/rows-policy", "application/json", "")
				}
			})
			eventually(t, 20*time.Second, func() error {
				_, err := o.c.Call(t.Context(), http.MethodPost, "/api/v1/namespaces/"+o.namespace+"/endpoints?dryRun=All", "application/json", []byte(`{"apiVersion":"v1","kind":"Endpoints","metadata":{"name":"denied-probe"}}`))
				if err == nil {
					return errors.New("the policy is not in force yet")
				}
				return nil
			})
			o.deploy(t, "apiVersion: v1\nkind: Endpoints\nmetadata: {name: denied, namespace: "+o.namespace+"}", "").failed(t, "rows-policy", "no denied endpoints")
		}},
		{10, "rights that are missing", func(t *testing.T, o *ops) {
			cfg := settings()
			limited := &localkube.Cluster{Name: "limited", URL: o.c.URL, CA: o.c.CA, Token: o.c.UserToken}
			s := &ops{start(t, cfg, limited), limited, o.namespace}
			eventually(t, 20*time.Second, func() error {
				if _, err := s.fleet.Client("limited"); err != nil {
					return err
				}
				return nil
			})
			s.deploy(t, s.configMap("x", "{a: b}"), "versioned: false").failed(t, "cannot get resource", "configmaps", o.namespace)
		}},
		{10, "an API server that is away", func(t *testing.T, o *ops) {
			p, err := localkube.NewProxy(strings.TrimPrefix(o.c.URL, "https://"))
			if err != nil {
				t.Fatal(err)
			}
			away := behind(o.c, "away", p)
			s := &ops{start(t, settings(), away).ready(t), away, o.namespace}
			s.deploy(t, s.configMap("near", "{a: b}"), "").only(t)
			p.Close()
			begin := time.Now()
			s.deploy(t, s.configMap("far", "{a: b}"), "").failed(t, "account away")
			if took := time.Since(begin); took > 30*time.Second {
				t.Errorf("took %s", took)
			}
			if r := s.get(t, "/manifests/away/"+o.namespace+"/configMap%20near-v000"); r.status != http.StatusServiceUnavailable {
				t.Error(r.status, r.body)
			}
		}},
		{11, "tasks that are not there", func(t *testing.T, o *ops) {
			if r := o.get(t, "/task/nobody"); r.status != http.StatusNotFound || !strings.Contains(r.body, `"message"`) {
				t.Error(r.status, r.body)
			}
			d := o.deploy(t, o.serviceManifest("shape", "{a: b}"), "")
			var shape map[string]any
			if err := json.Unmarshal([]byte(d.raw), &shape); err != nil {
				t.Fatal(err)
			}
			for _, key := range []string{"id", "status", "history", "resultObjects", "outputs", "sagaIds", "retryable", "ownerId", "requestId", "startTimeMs"} {
				if v, ok := shape[key]; !ok || v == nil {
					t.Errorf("no %s in %s", key, d.raw)
				}
			}
			if first := d.History[0]; first.Phase != "ORCHESTRATION" || len(d.ID) != 26 {
				t.Errorf("%+v", d)
			}
		}},
		{12, "resume, retry, restart, owner", func(t *testing.T, o *ops) {
			failing := o.body(t, "scaleManifest", o.target("deployment later")+"replicas: 1")
			id := o.submit(t, failing, "")
			o.await(t, id).failed(t, "later")
			for path, want := range map[string]int{"/task/nobody:resume": 404, "/task/" + id + ":resume": 400, "/task/" + id: 404, "/kubernetes/task/nobody/restart": 404, "/kubernetes/task/" + id + "/restart": 400, "/aws/task/" + id + "/restart": 400} {
				if r := o.post(t, path, failing); r.status != want {
					t.Errorf("%s: %d %s", path, r.status, r.body)
				}
			}
			for body, want := range map[string]int{`{}`: 400, `x`: 400, `{"retry":false}`: 200, `{"retry":true}`: 200} {
				if r := o.send(t, http.MethodPatch, "/kubernetes/task/"+id, body); r.status != want {
					t.Errorf("%s: %d %s", body, r.status, r.body)
				}
			}
			if r := o.send(t, http.MethodPatch, "/kubernetes/task/"+id, `{"retry":true}`); r.status != 200 {
				t.Error(r.status, r.body)
			}
			// Its operations are gone, so it cannot be gone on with, only restarted
			// with those of another request.
			if d := o.await(t, id); d.Status.Retryable {
				t.Error(d.raw)
			}
			if r := o.post(t, "/task/"+id+":resume", ""); r.status != http.StatusBadRequest {
				t.Error(r.status, r.body)
			}
			o.deploy(t, o.deployment("later", "x"), "").only(t)
			if r := o.post(t, "/kubernetes/task/"+id+"/restart", failing); r.status != 200 {
				t.Error(r.status, r.body)
			}
			eventually(t, 10*time.Second, func() error {
				if d := o.await(t, id); d.Status.Failed {
					return errors.New(d.raw)
				}
				return nil
			})
			host, err := os.Hostname()
			if err != nil {
				t.Fatal(err)
			}
			if r := o.get(t, "/kubernetes/task/"+id+"/owner"); r.body != fmt.Sprintf(`{"name":%q}`, host) {
				t.Error(r.body)
			}
			if r := o.get(t, "/kubernetes/task/nobody/owner"); r.status != 404 {
				t.Error(r.status)
			}
		}},
		{13, "secrets stay secret", func(t *testing.T, o *ops) {
			const plain, encoded = "hunter2-hunter2", "aHVudGVyMi1odW50ZXIy"
			secret := "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: " + o.namespace + "}\ndata: {password: " + encoded + "}"
			bad := secret + "\nstringData: {'not a key!': " + plain + "}"
			for _, d := range []done{o.deploy(t, secret, ""), o.deploy(t, bad, ""), o.run(t, "patchManifest", o.target("secret s-v000")+"options: {mergeStrategy: merge}\npatchBody: {stringData: {other: "+plain+"}}"), o.run(t, "patchManifest", o.target("secret s-v000")+"options: {mergeStrategy: merge}\npatchBody: {data: {other: "+plain+"!}}")} {
				if strings.Contains(d.raw, plain) || strings.Contains(d.raw, encoded) {
					t.Errorf("shown: %s", d.raw)
				}
			}
			if r := o.get(t, "/manifests/"+o.c.Name+"/"+o.namespace+"/secret%20s-v000"); !strings.Contains(r.body, encoded) {
				t.Error("the live read of one secret answers it:", r.body)
			}
		}},
		{33, "binding: places", func(t *testing.T, o *ops) {
			pod := `
      volumes:
      - {name: a, configMap: {name: cm}}
      - {name: b, secret: {secretName: sec}}
      - {name: c, projected: {sources: [{configMap: {name: cm}}, {secret: {name: sec}}]}}
      - {name: d, configMap: {name: other}}
      initContainers: [{name: init, image: reg/init}]
      containers:
      - name: main
        image: reg/main
        env: [{name: A, valueFrom: {configMapKeyRef: {name: cm, key: k}}}, {name: B, valueFrom: {secretKeyRef: {name: sec, key: k}}}]
        envFrom: [{configMapRef: {name: cm}}, {secretRef: {name: sec}}]
      - {name: side, image: reg/side}`
			m := strings.Replace(o.deployment("places", "x"), "\n      containers: [{name: main, image: x}]", pod, 1)
			r := o.deploy(t, o.configMap("cm", "{k: v}")+"\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: sec, namespace: "+o.namespace+"}\ndata: {k: dg==}\n---\n"+m,
				"optionalArtifacts: [{type: docker/image, name: reg/main, reference: 'reg/main:1'}, {type: docker/image, name: reg/init, reference: 'reg/init:1'}, {type: docker/image, name: reg/side, reference: 'reg/side@sha256:abc'}]").only(t)
			spec := fmt.Sprint(r.Manifests[2].at("spec", "template", "spec"))
			if n := strings.Count(spec, "cm-v000"); n != 4 {
				t.Errorf("%d places of the config map in %s", n, spec)
			}
			if n := strings.Count(spec, "sec-v000"); n != 4 {
				t.Errorf("%d places of the secret in %s", n, spec)
			}
			for _, image := range []string{"reg/main:1", "reg/init:1", "reg/side@sha256:abc"} {
				if !strings.Contains(spec, image) {
					t.Errorf("no %s in %s", image, spec)
				}
			}
			if len(r.BoundArtifacts) != 5 || !strings.Contains(spec, "other") {
				t.Errorf("%d bound: %v", len(r.BoundArtifacts), r.BoundArtifacts)
			}
			cron := "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: cron, namespace: " + o.namespace + "}\nspec: {schedule: '0 0 1 1 *', jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: reg/main}]}}}}}"
			if r := o.deploy(t, cron, "optionalArtifacts: [{type: docker/image, name: reg/main, reference: 'reg/main:2'}]").only(t); !strings.Contains(fmt.Sprint(r.Manifests), "reg/main:2") {
				t.Errorf("%v", r.Manifests)
			}
		}},
		{34, "binding: images", func(t *testing.T, o *ops) {
			for _, c := range []struct{ image, name, want string }{
				{"reg/web:1", "reg/web", "bound"}, {"reg/web@sha256:0123456789012345678901234567890123456789012345678901234567890123", "reg/web", "bound"},
				{"reg:5000/web", "reg:5000/web", "bound"}, {"reg:5000/web:1", "reg:5000/web", "bound"}, {"reg/web:1", "reg/other", "reg/web:1"},
			} {
				r := o.deploy(t, o.deployment("images", c.image), "optionalArtifacts: [{type: docker/image, name: '"+c.name+"', reference: bound}]").only(t)
				if !strings.Contains(fmt.Sprint(r.Manifests), "image:"+c.want+" ") {
					t.Errorf("%+v: %v", c, r.Manifests[0].at("spec", "template"))
				}
			}
		}},
		{35, "binding: whose artifacts", func(t *testing.T, o *ops) {
			m := strings.Replace(o.deployment("whose", "x"), "containers: [", "volumes: [{name: v, configMap: {name: whose}}]\n      containers: [", 1)
			for fields, want := range map[string]string{
				"location: " + o.namespace + ", metadata: {account: " + o.c.Name + "}": "given", "location: " + o.namespace + ", metadata: {}": "given", "location: " + o.namespace + ", metadata: null": "given",
				"location: elsewhere": "whose", "location: " + o.namespace + ", metadata: {account: other}": "whose",
			} {
				r := o.deploy(t, m, "optionalArtifacts: [{type: kubernetes/configMap, name: whose, reference: given, "+fields+"}]").only(t)
				if got := fmt.Sprint(r.Manifests[0].at("spec", "template", "spec", "volumes")); !strings.Contains(got, "name:"+want+"]") && !strings.Contains(got, "name:"+want+" ") {
					t.Errorf("%s: %s, want %s", fields, got, want)
				}
			}
			r := o.deploy(t, o.configMap("whose", "{a: b}")+"\n---\n"+m, "optionalArtifacts: [{type: kubernetes/configMap, name: whose, reference: given, location: "+o.namespace+"}]").only(t)
			if got := fmt.Sprint(r.Manifests[1].at("spec", "template", "spec", "volumes")); !strings.Contains(got, "whose-v000") {
				t.Errorf("the created one does not win: %s", got)
			}
		}},
		{36, "binding: required artifacts", func(t *testing.T, o *ops) {
			o.deploy(t, o.configMap("unbound", "{a: b}"), "requiredArtifacts: [{type: docker/image, name: reg/missing, reference: x}]").failed(t, "reg/missing")
			if o.exists(t, o.core("configmaps", "unbound-v000")) {
				t.Error("acted before the check")
			}
			o.deploy(t, o.configMap("unbound", "{a: b}"), "enableArtifactBinding: false\nrequiredArtifacts: [{type: docker/image, name: reg/missing, reference: x}]").only(t)
			o.deploy(t, o.deployment("differing", "reg/web"), "requiredArtifacts: [{type: docker/image, name: reg/web, reference: 'reg/web:1', artifactAccount: one}]\noptionalArtifacts: [{type: docker/image, name: reg/web, reference: 'reg/web:1', artifactAccount: two}]").only(t)
		}},
		{37, "binding: autoscalers", func(t *testing.T, o *ops) {
			hpa := "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: %s, namespace: " + o.namespace + "}\nspec: {maxReplicas: 2, scaleTargetRef: {apiVersion: apps/v1, kind: %s, name: scaled}, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]}"
			for kind, want := range map[string]string{"ReplicaSet": "bound-rs", "Deployment": "bound-d", "StatefulSet": "scaled"} {
				r := o.deploy(t, fmt.Sprintf(hpa, strings.ToLower(kind), kind), "optionalArtifacts: [{type: kubernetes/replicaSet, name: scaled, reference: bound-rs, location: "+o.namespace+"}, {type: kubernetes/deployment, name: scaled, reference: bound-d, location: "+o.namespace+"}]").only(t)
				if got := r.Manifests[0].text("spec", "scaleTargetRef", "name"); got != want {
					t.Errorf("%s: %s, want %s", kind, got, want)
				}
			}
		}},
		{57, "load", func(t *testing.T, o *ops) {
			var many []string
			for i := range 200 {
				many = append(many, fmt.Sprintf("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: sa-%03d, namespace: %s}", i, o.namespace))
			}
			fields := o.deployFields(t, strings.Join(many, "\n---\n"), "padding: "+strings.Repeat("x", 4<<20))
			r := o.run(t, "deployManifest", fields).only(t)
			if len(o.names(r)) != 200 || o.names(r)[0] != "serviceAccount sa-000" || o.names(r)[199] != "serviceAccount sa-199" {
				t.Errorf("%d in %v", len(o.names(r)), o.names(r))
			}
			var wg sync.WaitGroup
			for i := range 100 {
				wg.Go(func() {
					if r := o.deploy(t, o.configMap(fmt.Sprintf("load-%d", i), "{a: b}"), "").only(t); len(o.names(r)) != 1 {
						t.Errorf("%v", r)
					}
				})
			}
			wg.Wait()
		}},
	})
}

// TestChecklist_Namespaces is row 7: what an account may use.
func TestChecklist_Namespaces(t *testing.T) {
	o := startOps(t, "rows-allowed")
	cfg := settings()
	account := func(name string, namespaces, omit []string) config.Account {
		return config.Account{Name: name, KubeconfigContents: string(o.c.Kubeconfig()), Namespaces: namespaces, OmitNamespaces: omit, Permissions: map[string][]string{}}
	}
	cfg.Kubernetes.Accounts = []config.Account{account("only", []string{"rows-allowed"}, nil), account("omits", nil, []string{"kube-system", "default"})}
	restricted := account("restricted", nil, nil)
	restricted.Permissions = map[string][]string{"WRITE": {"ops"}}
	cfg.Kubernetes.Accounts = append(cfg.Kubernetes.Accounts, restricted)
	s := &ops{service: start(t, cfg), c: o.c, namespace: o.namespace}
	manifest := func(namespace string) string {
		return "manifests: [{apiVersion: v1, kind: ConfigMap, metadata: {name: x" + namespace + "}}]\nmoniker: {app: x}\n"
	}
	for _, c := range []struct{ account, operation, fields, want string }{
		{"only", "deployManifest", manifest(", namespace: other"), "deployKubernetesManifest.deployKubernetesManifest.other.wrongNamespace"},
		{"only", "deployManifest", manifest(""), "default.wrongNamespace"},
		{"only", "deployManifest", manifest(", namespace: rows-allowed") + "namespaceOverride: other", "other.wrongNamespace"},
		{"only", "deleteManifest", "manifestName: deployment x\nlocation: other", "deleteKubernetesManifest.deleteKubernetesManifest.other.wrongNamespace"},
		{"only", "resizeServerGroup", "serverGroupName: replicaSet x\nregion: other\ncapacity: {desired: 1}", "deployKubernetesManifest.deployKubernetesManifest.other.wrongNamespace"},
		{"omits", "scaleManifest", "manifestName: deployment x\nlocation: kube-system\nreplicas: 1", "scaleKubernetesManifest.scaleKubernetesManifest.kube-system.omittedNamespace"},
		{"omits", "runJob", "application: x\nmanifest: {apiVersion: batch/v1, kind: Job, metadata: {name: x}}", "default.omittedNamespace"},
		{"restricted", "deployManifest", manifest(", namespace: other"), "is not authorized (account: restricted, description: deployManifest)"},
	} {
		r := s.send(t, http.MethodPost, "/kubernetes/ops", s.body(t, c.operation, "account: "+c.account+"\n"+c.fields))
		var body struct {
			Message string
			Errors  []string
		}
		if err := json.Unmarshal([]byte(r.body), &body); err != nil || r.status != http.StatusBadRequest || body.Message != "Validation Failed" || len(body.Errors) != 1 || !strings.HasSuffix(body.Errors[0], c.want) {
			t.Errorf("%+v: %d %s", c, r.status, r.body)
		}
	}
	s.run(t, "deployManifest", "account: only\nmoniker: {app: x}\nmanifests: [{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: rows-scoped}, value: 5}]").only(t)
	s.run(t, "deleteManifest", "account: only\nmanifestName: priorityClass.scheduling.k8s.io rows-scoped").only(t)
	req, err := http.NewRequest(http.MethodPost, s.URL+"/kubernetes/ops", strings.NewReader(s.body(t, "deployManifest", "account: restricted\n"+manifest(", namespace: rows-allowed"))))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-SPINNAKER-ACCOUNTS", "a, restricted")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Error(res.Status)
	}
}

// TestChecklist_OlderTasks is row 56: rows of the older rewrite without a task.
func TestChecklist_OlderTasks(t *testing.T) {
	onEach(t, "utf8mb4", func(t *testing.T, b backend) {
		arcade, _ := fakeArcade(t, "x")
		db := openStore(t, b.options)
		rows := []store.Resource{}
		for i, taskType := range []string{"", "delete", "noop", "cleanup"} {
			rows = append(rows, store.Resource{AccountName: "a", ID: fmt.Sprint(i), TaskID: "older-" + taskType, TaskType: taskType, Kind: "Deployment", APIGroup: "apps", Name: "web", Namespace: "ns", Timestamp: time.Now()})
		}
		if err := db.ReplaceResources(t.Context(), "a", rows); err != nil {
			t.Fatal(err)
		}
		db.Close()
		s := startReplica(t, b.options, arcade)
		for _, taskType := range []string{"", "delete", "noop", "cleanup"} {
			var d struct {
				Status        struct{ Completed, Failed bool }
				ResultObjects []result
			}
			s.get(t, "/task/older-"+taskType).into(t, &d)
			if !d.Status.Completed || d.Status.Failed || len(d.ResultObjects) != 1 || d.ResultObjects[0].ManifestNamesByNamespace["ns"][0] != "deployment web" {
				t.Errorf("%s: %+v", taskType, d)
			}
		}
	})
}
