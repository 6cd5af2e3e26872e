package view

import (
	"encoding/json"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

func objectOf(t testing.TB, text string) map[string]any {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	return u.Object
}

const (
	fine = `{"stable":{"state":true},"paused":{"state":false},"available":{"state":true},"failed":{"state":false}}`
	none = `{"stable":{"state":false,"message":"No status reported yet"},"paused":{"state":false},"available":{"state":false,"message":"No availability reported"},"failed":{"state":false}}`
)

// u is unstable, n unstable and unavailable, with the message.
func u(message string) string {
	return strings.Replace(fine, `"stable":{"state":true}`, `"stable":{"state":false,"message":"`+message+`"}`, 1)
}

func n(message string) string {
	return strings.Replace(u(message), `"available":{"state":true}`, `"available":{"state":false,"message":"`+message+`"}`, 1)
}

// TestStatusOf_EveryRow has every row of read-rest.md 1.9.
func TestStatusOf_EveryRow(t *testing.T) {
	const deployment, replicaSet, statefulSet, daemonSet = "deployment", "replicaSet", "statefulSet", "daemonSet"
	behind := "Waiting for status generation to match updated object generation"
	for _, c := range []struct{ kind, object, want string }{
		{deployment, "{}", none},
		{deployment, "{status: {}}", u(behind)},
		{deployment, "{metadata: {generation: 2}, status: {observedGeneration: 1}}", u(behind)},
		{deployment, "{metadata: {generation: 2}, status: {}}", u(behind)},
		{deployment, "{metadata: {generation: 1}, spec: {replicas: 0}, status: {observedGeneration: 1}}", fine},
		{deployment, "{metadata: {generation: 1}, status: {observedGeneration: 1, conditions: [{reason: deploymentpaused, message: held}]}}",
			strings.Replace(fine, `"paused":{"state":false}`, `"paused":{"state":true,"message":"held"}`, 1)},
		{deployment, "{metadata: {generation: 1}, status: {observedGeneration: 1, conditions: [{reason: DeploymentPaused}]}}",
			strings.Replace(fine, `"paused":{"state":false}`, `"paused":{"state":true}`, 1)},
		{deployment, "{metadata: {generation: 1}, status: {observedGeneration: 1, conditions: [{type: available, status: 'false', message: short}]}}", n("short")},
		{deployment, "{metadata: {generation: 1}, spec: {replicas: 2}, status: {observedGeneration: 1, updatedReplicas: 1, conditions: [{type: Available, status: 'False', message: short}]}}",
			strings.Replace(n("short"), `"stable":{"state":false,"message":"short"}`, `"stable":{"state":false,"message":"Waiting for all replicas to be updated"}`, 1)},
		{deployment, "{metadata: {generation: 1}, spec: {replicas: 2}, status: {observedGeneration: 1, updatedReplicas: 1, conditions: [{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded, message: x}]}}",
			strings.Replace(u("Waiting for all replicas to be updated"), `"failed":{"state":false}`, `"failed":{"state":true,"message":"Deployment exceeded its progress deadline"}`, 1)},
		{deployment, "{metadata: {generation: 1}, spec: {replicas: 2}, status: {observedGeneration: 1, updatedReplicas: 2, replicas: 3}}", u("Waiting for old replicas to finish termination")},
		{deployment, "{metadata: {generation: 1}, spec: {replicas: 2}, status: {observedGeneration: 1, updatedReplicas: 2, replicas: 2, availableReplicas: 1}}", u("Waiting for all replicas to be available")},
		{deployment, "{metadata: {generation: 1}, spec: {replicas: 2}, status: {observedGeneration: 1, updatedReplicas: 2, replicas: 2, availableReplicas: 2, readyReplicas: 1}}", u("Waiting for all replicas to be ready")},
		{deployment, "{metadata: {generation: 1}, spec: {replicas: 2}, status: {observedGeneration: 1, updatedReplicas: 2, replicas: 2, availableReplicas: 2, readyReplicas: 2}}", fine},

		{replicaSet, "{}", none},
		{replicaSet, "{status: {}}", u("Waiting for replicaset spec update to be observed")},
		{replicaSet, "{metadata: {generation: 2}, spec: {replicas: 2}, status: {observedGeneration: 1, fullyLabeledReplicas: 1}}", n("Waiting for all replicas to be fully-labeled")},
		{replicaSet, "{spec: {replicas: 2}, status: {fullyLabeledReplicas: 2, readyReplicas: 1}}", n("Waiting for all replicas to be ready")},
		{replicaSet, "{spec: {replicas: 2}, status: {fullyLabeledReplicas: 2, readyReplicas: 2, availableReplicas: 1}}", n("Waiting for all replicas to be available")},
		{replicaSet, "{metadata: {generation: 2}, spec: {replicas: 2}, status: {observedGeneration: 1, fullyLabeledReplicas: 2, readyReplicas: 2, availableReplicas: 2}}", u("Waiting for replicaset spec update to be observed")},
		{replicaSet, "{metadata: {generation: 1}, status: {observedGeneration: 1}}", fine},

		{statefulSet, "{spec: {updateStrategy: {type: ondelete}}}", fine},
		{statefulSet, "{}", none},
		{statefulSet, "{status: {}}", u(behind)},
		{statefulSet, "{metadata: {generation: 1}, spec: {replicas: 2}, status: {observedGeneration: 1, replicas: 1}}", u("Waiting for at least the desired replica count to be met")},
		{statefulSet, "{metadata: {generation: 1}, spec: {replicas: 2}, status: {observedGeneration: 1, replicas: 2, readyReplicas: 1}}", u("Waiting for all updated replicas to be ready")},
		{statefulSet, "{metadata: {generation: 1}, spec: {replicas: 2, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 0}}}, status: {observedGeneration: 1, replicas: 2, readyReplicas: 2, updatedReplicas: 1}}", u("Waiting for partitioned roll out to finish")},
		{statefulSet, "{metadata: {generation: 1}, spec: {replicas: 2, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 1}}}, status: {observedGeneration: 1, replicas: 2, readyReplicas: 2, updatedReplicas: 1}}",
			strings.Replace(fine, `"stable":{"state":true}`, `"stable":{"state":true,"message":"Partitioned roll out complete"}`, 1)},
		{statefulSet, "{metadata: {generation: 1}, spec: {replicas: 2, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 0}}}, status: {observedGeneration: 1, replicas: 2, readyReplicas: 2, currentReplicas: 1}}", u("Waiting for all updated replicas to be scheduled")},
		{statefulSet, "{metadata: {generation: 1}, spec: {replicas: 2}, status: {observedGeneration: 1, replicas: 2, readyReplicas: 2, currentReplicas: 2, currentRevision: a, updateRevision: b}}", u("Waiting for the updated revision to match the current revision")},
		{statefulSet, "{metadata: {generation: 1}, spec: {replicas: 2}, status: {observedGeneration: 1, replicas: 2, readyReplicas: 2, currentReplicas: 2, updateRevision: b}}", fine},

		{daemonSet, "{}", none},
		{daemonSet, "{status: {}}", u(behind)},
		{daemonSet, "{metadata: {generation: 1}, spec: {updateStrategy: {type: OnDelete}}, status: {observedGeneration: 1, desiredNumberScheduled: 5}}", fine},
		{daemonSet, "{metadata: {generation: 1}, spec: {updateStrategy: {type: RollingUpdate}}, status: {observedGeneration: 1, desiredNumberScheduled: 2, currentNumberScheduled: 1}}", u("Waiting for all replicas to be scheduled")},
		{daemonSet, "{metadata: {generation: 1}, spec: {updateStrategy: {type: RollingUpdate}}, status: {observedGeneration: 1, desiredNumberScheduled: 2, currentNumberScheduled: 2, updatedNumberScheduled: 1}}", u("Waiting for all updated replicas to be scheduled")},
		{daemonSet, "{metadata: {generation: 1}, spec: {updateStrategy: {type: RollingUpdate}}, status: {observedGeneration: 1, desiredNumberScheduled: 2, currentNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 1}}", u("Waiting for all replicas to be available")},
		{daemonSet, "{metadata: {generation: 1}, spec: {updateStrategy: {type: RollingUpdate}}, status: {observedGeneration: 1, desiredNumberScheduled: 2, currentNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 2, numberReady: 1}}", u("Waiting for all replicas to be ready")},
		{daemonSet, "{metadata: {generation: 1}, spec: {updateStrategy: {type: RollingUpdate}}, status: {observedGeneration: 1, desiredNumberScheduled: 2, currentNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 2, numberReady: 2}}", fine},

		{"pod", "{}", none},
		{"pod", "{status: {phase: Pending}}", n("Pod is pending")},
		{"pod", "{status: {phase: Failed}}", n("Pod has failed")},
		{"pod", "{status: {phase: Unknown}}", n("Pod phase is unknown")},
		{"pod", "{status: {}}", n("Pod phase is unknown")},
		{"pod", "{status: {phase: Running}}", fine},
		{"pod", "{status: {phase: Succeeded}}", fine},

		{"job", "{}", none},
		{"job", "{status: {}}", u("Waiting for jobs to finish")},
		{"job", "{status: {succeeded: 1}}", u("Waiting for jobs to finish")},
		{"job", "{status: {succeeded: 1, conditions: [{type: Complete, status: 'True'}]}}", fine},
		{"job", "{spec: {completions: 3}, status: {succeeded: 2}}", u("Waiting for jobs to finish")},
		{"job", "{status: {conditions: [{type: Failed, status: 'True', message: limit}]}}", strings.Replace(fine, `"failed":{"state":false}`, `"failed":{"state":true,"message":"limit"}`, 1)},
		{"job", "{status: {conditions: [{type: Failed, status: 'False'}]}}", u("Waiting for jobs to finish")},

		{"cronJob", "{}", none}, {"cronJob", "{status: {}}", fine},

		{"horizontalpodautoscaler", "{}", none},
		{"horizontalpodautoscaler", "{status: {desiredReplicas: 5, currentReplicas: 2}}", u("Waiting for HPA to complete a scale up, current: 2 desired: 5")},
		{"horizontalpodautoscaler", "{status: {desiredReplicas: 2, currentReplicas: 5}}", u("Waiting for HPA to complete a scale down, current: 5 desired: 2")},
		{"horizontalpodautoscaler", "{status: {}}", fine},

		{"service", "{}", fine}, {"persistentVolumeClaim", "{status: {phase: Pending}}", fine}, {"Rollout.argoproj.io", "{status: {phase: Degraded}}", fine},
	} {
		got, err := json.Marshal(StatusOf(c.kind, objectOf(t, "{apiVersion: v1, kind: Any, "+strings.TrimPrefix(c.object, "{"))))
		if err != nil || string(got) != c.want {
			t.Errorf("%s %s:\n%s\nwant\n%s", c.kind, c.object, got, c.want)
		}
	}
}

func TestNewManifest_HasTenKeysAndTheNumbersThatOrcaCasts(t *testing.T) {
	o := &unstructured.Unstructured{Object: objectOf(t, `
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web-v000, namespace: ns, generation: 3, creationTimestamp: null, managedFields: [{manager: x}], annotations: {moniker.spinnaker.io/application: web}}
spec: {replicas: 2, template: {metadata: {creationTimestamp: null}, spec: {list: [null, 1]}}}
status: {observedGeneration: 3, replicas: 2, readyReplicas: 2, availableReplicas: 0}`)}
	before := o.DeepCopy()
	got := string(Encode(NewManifest("prod", o, []spinnaker.Artifact{{Type: "docker/image", Name: "b"}, {Type: "docker/image", Name: "a"}}, nil)))
	var m map[string]any
	if err := json.Unmarshal([]byte(got), &m); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"account", "name", "location", "moniker", "manifest", "status", "artifacts", "events", "warnings", "metrics"} {
		if m[key] == nil {
			t.Errorf("no %s", key)
		}
	}
	if len(m) != 10 {
		t.Errorf("%d keys", len(m))
	}
	for _, part := range []string{`"readyReplicas":2.0`, `"availableReplicas":0.0`, `"generation":3`, `"replicas":2,`, `"list":[null,1]`, `"name":"replicaSet web-v000"`, `"warnings":[]`} {
		if !strings.Contains(got, part) {
			t.Errorf("no %s in %s", part, got)
		}
	}
	for _, part := range []string{"managedFields", "creationTimestamp"} {
		if strings.Contains(got, part) {
			t.Errorf("%s in %s", part, got)
		}
	}
	if strings.Index(got, `"name":"a"`) > strings.Index(got, `"name":"b"`) {
		t.Error("artifacts are not sorted")
	}
	if !jsonEqual(t, before.Object, o.Object) {
		t.Error("the object was changed")
	}
}

func jsonEqual(t *testing.T, a, b any) bool {
	t.Helper()
	x, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(x) == string(y)
}
