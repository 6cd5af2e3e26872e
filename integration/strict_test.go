package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestStrict_AnUnknownFieldFailsAndChangesNothing has what used to succeed with
// the field dropped.
func TestStrict_AnUnknownFieldFailsAndChangesNothing(t *testing.T) {
	o := startOps(t, "strict")
	job := "apiVersion: batch/v1\nkind: Job\nmetadata: {name: %s, namespace: strict}\nspec: {%s, template: {spec: {restartPolicy: Never, containers: [{name: a, image: x}]}}}"
	for name, c := range map[string]struct{ manifest, path, text string }{
		"spec.replica":    {strings.Replace(o.deployment("misspelt", "x"), "replicas: 2", "replica: 2", 1), o.apps("deployments", "misspelt"), `unknown field "spec.replica"`},
		"imagePullpolicy": {strings.Replace(o.deployment("policy", "x"), "image: x", "image: x, imagePullpolicy: Always", 1), o.apps("deployments", "policy"), `unknown field "spec.template.spec.containers[0].imagePullpolicy"`},
		"dta":             {strings.Replace(o.configMap("misspelt", "{k: v}"), "\ndata:", "\ndta:", 1), o.core("configmaps", "misspelt-v000"), `unknown field "dta"`},
		"dta of a secret": {"apiVersion: v1\nkind: Secret\nmetadata: {name: misspelt, namespace: strict}\ndta: {k: aHVudGVyMg==}", o.core("secrets", "misspelt-v000"), `unknown field "dta"`},
		"server-side":     {strings.Replace(strings.Replace(o.deployment("sided", "x"), "replicas: 2", "replica: 2", 1), "metadata: {name", "metadata: {annotations: {strategy.spinnaker.io/server-side-apply: 'true'}, name", 1), o.apps("deployments", "sided"), "spec.replica"},
		"replace":         {strings.Replace(strings.Replace(o.deployment("replaced", "x"), "replicas: 2", "replica: 2", 1), "metadata: {name", "metadata: {annotations: {strategy.spinnaker.io/replace: 'true'}, name", 1), o.apps("deployments", "replaced"), `unknown field "spec.replica"`},
		"a deployed job":  {fmt.Sprintf(job, "misspelt", "backofflimit: 1"), "/apis/batch/v1/namespaces/strict/jobs/misspelt", `unknown field "spec.backofflimit"`},
	} {
		t.Run(name, func(t *testing.T) {
			d := o.deploy(t, c.manifest, "")
			d.failed(t, c.text)
			if o.exists(t, c.path) {
				t.Error("it was made all the same")
			}
			if strings.Contains(d.raw, "hunter2") || strings.Contains(d.raw, "aHVudGVyMg") {
				t.Errorf("the secret is shown: %s", d.raw)
			}
		})
	}
	t.Run("a change of what is there", func(t *testing.T) {
		o.deploy(t, o.deployment("there", "v:1"), "").only(t)
		before := o.live(t, o.apps("deployments", "there")).text("spec", "replicas")
		o.deploy(t, strings.Replace(o.deployment("there", "v:2"), "replicas: 2", "replica: 3", 1), "").failed(t, `unknown field "spec.replica"`)
		now := o.live(t, o.apps("deployments", "there"))
		if imageOf(now) != "v:1" || now.text("spec", "replicas") != before {
			t.Errorf("%v", now["spec"])
		}
	})
	t.Run("a run job", func(t *testing.T) {
		o.run(t, "runJob", "application: strict\nmanifest:\n  "+strings.ReplaceAll(fmt.Sprintf(job, "run", "backofflimit: 1"), "\n", "\n  ")).failed(t, `unknown field "spec.backofflimit"`)
	})
	t.Run("a dry run", func(t *testing.T) {
		body := o.body(t, "deployManifest", o.deployFields(t, strings.Replace(o.configMap("dry", "{k: v}"), "\ndata:", "\ndta:", 1), ""))
		o.post(t, "/kubernetes/ops?dryRun=true", body).says(t, 200, `unknown field \"dta\"`)
	})
	for field, manifest := range map[string]string{
		"metadata.labels":               "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, labels: [a]}",
		"metadata.annotations":          "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, annotations: text}",
		"spec.template.metadata.labels": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {template: {metadata: {labels: [a]}}}",
	} {
		t.Run("wrong type of "+field, func(t *testing.T) {
			o.post(t, "/kubernetes/ops", o.body(t, "deployManifest", o.deployFields(t, manifest, ""))).says(t, 400, "deployManifest.manifests[0]."+field+": must be an object of texts")
		})
	}
}

// TestReasons_ReachPeople has refusals whose text used to hide why, or to quote
// too much.
func TestReasons_ReachPeople(t *testing.T) {
	o := startOps(t, "reasons")
	t.Run("an immutable secret", func(t *testing.T) {
		m := "apiVersion: v1\nkind: Secret\nmetadata: {name: fixed, namespace: reasons, annotations: {strategy.spinnaker.io/versioned: 'false'}}\nimmutable: true\nstringData: {password: %s}"
		o.deploy(t, fmt.Sprintf(m, "hunter2"), "").only(t)
		d := o.deploy(t, fmt.Sprintf(m, "hunter3"), "")
		d.failed(t, "secret fixed", "data: Forbidden: field is immutable when `immutable` is set")
		if strings.Contains(d.raw, "hunter") {
			t.Error(d.raw)
		}
	})
	t.Run("a patch of the wrong type", func(t *testing.T) {
		o.deploy(t, o.deployment("patched", "x"), "").only(t)
		d := o.run(t, "patchManifest", o.target("deployment patched")+"options: {mergeStrategy: strategic}\npatchBody: {spec: {template: {spec: {containers: ["+strings.Repeat("{name: 5, image: [a long one that nobody wants to read]},", 200)+"]}}}}")
		d.failed(t, "deployment patched")
		if last := d.results[len(d.results)-1].Message; len(last) > 700 {
			t.Errorf("%d characters: %s", len(last), last)
		}
	})
	t.Run("an unquoted label in a patch", func(t *testing.T) {
		for _, strategy := range []string{"strategic", "merge"} {
			if d := o.run(t, "patchManifest", o.target("deployment patched")+"options: {mergeStrategy: "+strategy+"}\npatchBody: {metadata: {labels: {version: 2, flag: true}, annotations: {at: 1234567.5}}}"); d.Status.Failed {
				t.Fatal(d.raw)
			}
			live := o.live(t, o.apps("deployments", "patched"))
			if live.at("metadata", "labels", "version") != "2" || live.at("metadata", "labels", "flag") != "true" || live.annotation("at") != "1234567.5" {
				t.Errorf("%v", live["metadata"])
			}
		}
		if d := o.run(t, "patchManifest", o.target("deployment patched")+"options: {mergeStrategy: json}\npatchBody: [{op: add, path: /metadata/labels/version, value: 3}]"); d.Status.Failed || o.live(t, o.apps("deployments", "patched")).at("metadata", "labels", "version") != "3" {
			t.Error(d.raw)
		}
	})
	t.Run("two services with one selector", func(t *testing.T) {
		set := o.replicaSetManifest("both", 0)
		services := o.serviceManifest("one", "{tier: front}") + "\n---\n" + o.serviceManifest("two", "{tier: front}") + "\n---\n" + o.serviceManifest("three", "{tier: back}") + "\n---\n"
		o.deploy(t, services+set, "services: [service one, service two]").only(t)
		o.deploy(t, services+set, "services: [service one, service three]").failed(t, "service one selects by the label tier=front and service three by tier=back")
	})
	t.Run("an exception has what Java's has", func(t *testing.T) {
		d := o.run(t, "scaleManifest", o.target("deployment nobody")+"replicas: 1")
		last := string(d.ResultObjects[len(d.ResultObjects)-1])
		for _, member := range []string{`"type":"EXCEPTION"`, `"operation":"scaleManifest"`, `"message":"deployment nobody`, `"cause":"`, `"details":[{"message":"deployment nobody`} {
			if !strings.Contains(last, member) {
				t.Errorf("no %s in %s", member, last)
			}
		}
	})
	t.Run("a conflict with another owner says what to do", func(t *testing.T) {
		call(t, o.c, http.MethodPatch, o.core("configmaps", "owned")+"?fieldManager=other", "application/apply-patch+yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: owned, namespace: reasons}\ndata: {k: theirs}")
		m := strings.Replace(o.configMap("owned", "{k: ours}"), "metadata: {name", "metadata: {annotations: {strategy.spinnaker.io/server-side-apply: 'true', strategy.spinnaker.io/versioned: 'false'}, name", 1)
		o.deploy(t, m, "").failed(t, `conflict with "other"`, "force-conflicts")
	})
}
