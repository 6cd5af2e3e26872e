package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// TestRows2026 has the rows of the closing tables that are marked 2026 and have
// no test elsewhere.
func TestRows2026(t *testing.T) {
	submitted := func(o *ops, t *testing.T, body string) response {
		t.Helper()
		return o.post(t, "/kubernetes/ops", body)
	}
	runRows(t, "rows-2026", []check{
		{58, "operations: manifests as references", func(t *testing.T, o *ops) {
			reference := `{"type":"remote/map/base64","name":"stored-entity","reference":"ref://app/abc","customKind":false,"metadata":{}}`
			for _, body := range []string{
				`[{"deployManifest":{"account":"` + o.c.Name + `","moniker":{"app":"x"},"manifests":[` + reference + `]}}]`,
				`[{"deployManifest":{"account":"` + o.c.Name + `","moniker":{"app":"x"},"manifest":` + reference + `}}]`,
				`[{"runJob":{"account":"` + o.c.Name + `","application":"x","manifest":` + reference + `}}]`,
				`[{"cleanupArtifacts":{"account":"` + o.c.Name + `","manifests":[null,` + reference + `]}}]`,
			} {
				submitted(o, t, body).says(t, 400, "ref://app/abc", "artifact-store.entities")
			}
			d := o.await(t, o.submit(t, `[{"deployManifest":{"account":"`+o.c.Name+`","moniker":{"app":"x"},"manifests":[],"outputs":{"manifests":[`+reference+`]}}}]`, ""))
			if d.Status.Failed {
				t.Errorf("a member that is ignored is looked at: %s", d.raw)
			}
		}},
		{61, "operations: the colon of resume", func(t *testing.T, o *ops) {
			id := o.submit(t, o.body(t, "cleanupArtifacts", "manifests: []"), "")
			o.await(t, id)
			literal, escaped := o.post(t, "/task/"+id+":resume", ""), o.post(t, "/task/"+id+"%3Aresume", "")
			if literal.status != 400 || escaped.status != 400 || !strings.Contains(escaped.body, "cannot be retried") {
				t.Errorf("%d %s; %d %s", literal.status, literal.body, escaped.status, escaped.body)
			}
			o.post(t, "/task/unheard%3Aresume", "").says(t, 404, "Task not found (id: unheard)")
		}},
		{62, "operations: arguments exchanged", func(t *testing.T, o *ops) {
			o.post(t, "/6e2f6f9c-0000-4000-8000-000000000000/ops?clientRequestId=kubernetes", "[]").says(t, 400, "6e2f6f9c-0000-4000-8000-000000000000")
		}},
		{63, "operations: the limits of a body", func(t *testing.T, o *ops) {
			account := `"account":"` + o.c.Name + `","manifests":[],"ignored":`
			submitted(o, t, `[{"cleanupArtifacts":{`+account+`"`+strings.Repeat("x", 50_000_000)+`"}}]`).says(t, 200, `"id"`)
			submitted(o, t, `[{"cleanupArtifacts":{`+account+`"`+strings.Repeat("x", 50_000_001)+`"}}]`).says(t, 400, "50000000")
			submitted(o, t, `[{"cleanupArtifacts":{`+account+strings.Repeat("[", 1990)+strings.Repeat("]", 1990)+`}}]`).says(t, 200, `"id"`)
			submitted(o, t, `[{"cleanupArtifacts":{`+account+strings.Repeat("[", 2001)+strings.Repeat("]", 2001)+`}}]`).says(t, 400, "2000 levels")
			large := fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"large"},"data":{"k":"%s"}}`, strings.Repeat("x", 4<<20))
			submitted(o, t, `[{"deployManifest":{"account":"`+o.c.Name+`","moniker":{"app":"x"},"manifests":[`+large+`]}}]`).says(t, 400, "manifests[0]", "3145728")
		}},
		{65, "operations: bodies of errors", func(t *testing.T, o *ops) {
			for path, r := range map[string]response{
				"ops": submitted(o, t, `[{"noSuch":{}}]`), "validation": submitted(o, t, `[{"patchManifest":{"account":"`+o.c.Name+`","manifestName":"deployment x"}}]`),
				"task": o.get(t, "/task/unheard"), "retry": o.send(t, http.MethodPatch, "/kubernetes/task/unheard", `{"retry":true}`), "media": o.post(t, "/aws/ops", `[]`),
			} {
				var body struct {
					Message, Error string
					Errors         []string
				}
				if err := json.Unmarshal([]byte(r.body), &body); err != nil || body.Message == "" || body.Error == "" || r.status < 400 {
					t.Errorf("%s: %d %s", path, r.status, r.body)
				}
			}
		}},
		{66, "operations: destroyJob that is off, and that suspends", func(t *testing.T, o *ops) {
			off := serveWith(t, o, func(c *config.Config) { c.Jobs.CancelDeletes = "false" })
			body := o.body(t, "destroyJob", "jobName: kubernetes\ncloudProvider: kubernetes")
			if r := off.send(t, http.MethodPost, "/kubernetes/ops", body); r.status != 400 || !strings.Contains(r.body, "jobs.cancelDeletes") {
				t.Error(r.status, r.body)
			}
			s := &ops{serveWith(t, o, func(c *config.Config) { c.Jobs.CancelDeletes = "suspend" }), o.c, o.namespace}
			if d := s.await(t, s.submitIn(t, "S1", s.body(t, "runJob", s.runJobFields(s.job("kept", ""))))); d.Status.Failed {
				t.Fatal(d.raw)
			}
			d := s.await(t, s.submitIn(t, "S1", body))
			if d.Status.Failed || s.live(t, s.jobPath("kept")).at("spec", "suspend") != true {
				t.Error(d.raw)
			}
		}},
		{67, "operations: new members of a stage", func(t *testing.T, o *ops) {
			o.deploy(t, o.configMap("stage", "{k: v}"), "stableManifestTimeoutMinutes: 240\nstageTimeoutMs: x\nnested: {a: [1]}").only(t)
		}},
		{38, "reads: the region of a job", func(t *testing.T, o *ops) {
			o.run(t, "runJob", o.runJobFields(o.job("region", "suspend: true,"))).only(t)
			o.get(t, "/applications/x/jobs/"+o.c.Name+"/"+o.namespace+"/job%20region").says(t, 200, `"location":"`+o.namespace+`","region":"`+o.namespace+`"`)
		}},
		{44, "reads: cancel by DELETE", func(t *testing.T, o *ops) {
			for _, setting := range []string{"true", "false", "suspend"} {
				name := "cancel-" + setting
				o.run(t, "runJob", o.runJobFields(o.job(name, ""))).only(t)
				s := &ops{serveWith(t, o, func(c *config.Config) { c.Jobs.CancelDeletes = setting }), o.c, o.namespace}
				path := "/applications/x/jobs/" + o.c.Name + "/" + o.namespace + "/job%20" + name
				want := map[string]int{"true": 200, "false": 400, "suspend": 200}[setting]
				for range 2 {
					if r := s.send(t, http.MethodDelete, path, ""); r.status != want {
						t.Errorf("%s: %d %s", setting, r.status, r.body)
					}
				}
				if there := o.exists(t, o.jobPath(name)); there != (setting != "true") {
					t.Errorf("%s: there %v", setting, there)
				}
				if setting == "suspend" && o.live(t, o.jobPath(name)).at("spec", "suspend") != true {
					t.Error("not suspended")
				}
			}
		}},
		{40, "reads: several types in one search", func(t *testing.T, o *ops) {
			o.deploy(t, o.serviceManifest("sought", "{a: b}")+"\n---\n"+o.replicaSetManifest("sought", 0), "").only(t)
			eventually(t, 20*time.Second, func() error {
				joined, repeated := o.get(t, "/search?q=sought&type=loadBalancers,serverGroups&pageSize=1"), o.get(t, "/search?q=sought&type=loadBalancers&type=serverGroups&pageSize=1")
				if joined.body != repeated.body || !strings.Contains(joined.body, `"totalMatches":2`) || strings.Count(joined.body, `"name":`) != 1 {
					return fmt.Errorf("%s\n%s", joined.body, repeated.body)
				}
				return nil
			})
		}},
		{42, "reads: members for panels", func(t *testing.T, o *ops) {
			d := o.run(t, "deployManifest", "moniker: {app: x}\nmanifests: [{apiVersion: v1, kind: Service, metadata: {name: panel, namespace: "+o.namespace+"}, spec: {ports: [{port: 80}]}}]")
			d.only(t)
			o.get(t, o.manifestPath("service panel")).says(t, 200, `"loadBalancer":{}`)
		}},
		{51, "lists: one trailing slash", func(t *testing.T, o *ops) {
			for _, path := range []string{"/applications", "/applications/rows-2026", "/applications/rows-2026/serverGroups", "/credentials", "/credentials/" + o.c.Name + "/authorized"} {
				a, b := o.get(t, path), o.get(t, path+"/")
				if a.status != b.status || a.status != 200 && a.status != 404 {
					t.Errorf("%s: %d and %d", path, a.status, b.status)
				}
			}
		}},
		{53, "lists: ingresses", func(t *testing.T, o *ops) {
			o.deploy(t, `apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: both, namespace: rows-2026}
spec: {defaultBackend: {service: {name: a, port: {number: 80}}}, rules: [{http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: b, port: {number: 80}}}}]}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: other, namespace: rows-2026}
spec: {defaultBackend: {resource: {apiGroup: x.example.com, kind: Bucket, name: c}}}`, "").only(t)
			eventually(t, 20*time.Second, func() error {
				r := o.get(t, "/applications/rows-2026/loadBalancers")
				for _, name := range []string{"both", "other"} {
					if !strings.Contains(r.body, `"name":"ingress `+name+`"`) {
						return fmt.Errorf("%s", r.body)
					}
				}
				if !strings.Contains(r.body, `"serverGroups":[]`) {
					return fmt.Errorf("%s", r.body)
				}
				return nil
			})
		}},
	})
}
