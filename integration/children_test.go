package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestChildren_AreSeen has the pods of a job and the jobs of a cron job whose
// templates have no labels, in an account that is watched through the label.
func TestChildren_AreSeen(t *testing.T) {
	o := startSingle(t, "children")
	s, c := o.service, o.c
	if d := o.run(t, "runJob", o.runJobFields(o.job("once", ""))); d.Status.Failed {
		t.Fatal(d.raw)
	}
	seen := func(path string, texts ...string) {
		t.Helper()
		eventually(t, 30*time.Second, func() error {
			r := s.get(t, path)
			for _, text := range texts {
				if !strings.Contains(r.body, text) {
					return fmt.Errorf("no %s in %s", text, r.body)
				}
			}
			return nil
		})
	}
	seen("/applications/children/serverGroups", `"name":"job once"`, `"name":"pod once-`)
	o.deploy(t, `apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: children}
spec: {schedule: '* * * * *', jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: x}]}}}}}`, "").only(t)
	template := o.live(t, "/apis/batch/v1/namespaces/children/cronjobs/nightly").at("spec", "jobTemplate")
	if text := fmt.Sprint(template); strings.Count(text, "app.kubernetes.io/managed-by:spinnaker") != 2 || strings.Count(text, "moniker.spinnaker.io/cluster:cronJob nightly") != 2 || strings.Contains(text, "artifact.spinnaker.io") {
		t.Errorf("%s", text)
	}
	// As the controller makes it when its time comes.
	live := o.live(t, "/apis/batch/v1/namespaces/children/cronjobs/nightly")
	jobTemplate := live.at("spec", "jobTemplate").(map[string]any)
	metadata := jobTemplate["metadata"].(map[string]any)
	metadata["name"] = "nightly-1"
	metadata["ownerReferences"] = []any{map[string]any{"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "uid": live.text("metadata", "uid"), "controller": true}}
	call(t, c, http.MethodPost, "/apis/batch/v1/namespaces/children/jobs", "application/json", string(marshalled(map[string]any{"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": jobTemplate["spec"]})))
	seen("/applications/children/serverGroups", `"name":"job nightly-1"`, `"name":"pod nightly-1-`)

	o.deploy(t, o.job("plain", ""), "skipSpecTemplateLabels: true").only(t)
	if labels := fmt.Sprint(o.live(t, o.jobPath("plain")).at("spec", "template", "metadata", "labels")); strings.Contains(labels, "managed-by") {
		t.Errorf("%s", labels)
	}
	// A job that was deployed without the labels cannot get them.
	apply(t, c, o.job("before", ""))
	o.deploy(t, o.job("before", ""), "").only(t)
}

// TestDeck_FindsWhatItLooksFor has what running the real Deck and the real Orca
// showed.
func TestDeck_FindsWhatItLooksFor(t *testing.T) {
	o := startOps(t, "decks")
	o.deploy(t, o.replicaSetManifest("web", 1), "").only(t)
	o.settled(t, "replicaSet web-v000")
	pod := o.onePod(t, "set=web")
	eventually(t, 20*time.Second, func() error {
		hits := o.get(t, "/search?type=instances&q="+pod)
		uid := o.live(t, o.core("pods", pod)).text("metadata", "uid")
		if !strings.Contains(hits.body, `"instanceId":"`+uid+`"`) || !strings.Contains(hits.body, `"serverGroup":"replicaSet web-v000"`) {
			return fmt.Errorf("%s", hits.body)
		}
		o.get(t, "/instances/"+o.c.Name+"/decks/"+uid).says(t, 200, `"name":"`+uid+`"`)
		return nil
	})
	o.get(t, "/applications/decks/serverGroups").says(t, 200, `"capacity":{"min":1,"max":1,"desired":1,"pinned":false}`)
	o.deploy(t, o.deployment("late", "x")+"\n  progressDeadlineSeconds: 1\n  minReadySeconds: 0", "").only(t)
	if d := o.run(t, "pauseRolloutManifest", o.target("deployment late")); d.Status.Failed {
		t.Fatal(d.raw)
	}
	call(t, o.c, http.MethodPatch, o.apps("deployments", "late")+"/status", mergePatch, `{"status":{"conditions":[{"type":"Progressing","status":"False","reason":"ProgressDeadlineExceeded","message":"late","lastUpdateTime":"2026-01-01T00:00:00Z","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`)
	eventually(t, 20*time.Second, func() error {
		if r := o.get(t, o.manifestPath("deployment late")); !strings.Contains(r.body, `"paused":{"state":true`) {
			return fmt.Errorf("%s", r.body)
		}
		return nil
	})
}

// TestJava_AnswersThatAreFollowed has the rows of java-run.md that are marked so.
func TestJava_AnswersThatAreFollowed(t *testing.T) {
	o := startOps(t, "java")
	o.deploy(t, o.replicaSetManifest("web", 0), "").only(t)
	o.get(t, "/task/unknown").says(t, 404, `"message":"Task not found (id: unknown)"`)
	o.get(t, "/credentials/unknown").says(t, 404, `"message":"Account does not exist (name: unknown)"`)
	o.get(t, "/securityGroups/unknown").is(t, 200, `{}`)
	eventually(t, 20*time.Second, func() error {
		if r := o.get(t, "/applications/java/clusters/"+o.c.Name+"/replicaSet%20web/kubernetes/java/serverGroups/target/bogus"); r.status != 404 || !strings.Contains(r.body, "Target not found (target: bogus)") {
			return fmt.Errorf("%d %s", r.status, r.body)
		}
		return nil
	})
	r := o.get(t, "/task/unknown")
	var body struct{ Timestamp string }
	if err := json.Unmarshal([]byte(r.body), &body); err != nil {
		t.Error(err)
	}
	if _, err := time.Parse("2006-01-02T15:04:05.000-07:00", body.Timestamp); err != nil {
		t.Error(err, r.body)
	}
	o.get(t, "/artifacts/credentials").says(t, 200, `"embedded-artifact"`, `"front50ArtifactCredentials"`, `"docker-registry"`, `"custom-artifact"`)
	if r := o.send(t, http.MethodPut, "/artifacts/fetch/", `{"type":"embedded/base64","artifactAccount":"embedded-artifact","reference":"aGVsbG8="}`); r.status != 200 || r.body != "hello" {
		t.Error(r.status, r.body)
	}
	o.get(t, "/credentials/"+o.c.Name+"/authorized?expand=true").is(t, 200, o.get(t, "/credentials/"+o.c.Name).body)
	o.get(t, "/credentials/unknown/authorized").says(t, 404, "Account does not exist")
	o.get(t, "/dockerRegistry/charts/find").is(t, 200, "[]")
	o.get(t, "/dockerRegistry/charts/tags?account=a&repository=b").is(t, 200, "[]")
	o.get(t, "/kubernetes/charts/a/b/c").says(t, 404, `"message":`)
}
