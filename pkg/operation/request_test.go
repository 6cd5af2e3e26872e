package operation

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

func TestSplit_TakesOperationsInTheOrderOfTheDocument(t *testing.T) {
	requests, err := Split([]byte(` [{"scaleManifest":{"n":1},"deleteManifest":{}}, {"deployManifest@v2":null}] `))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range requests {
		names = append(names, r.Name+string(r.Body))
	}
	if got, want := strings.Join(names, " "), `scaleManifest{"n":1} deleteManifest{} deployManifest@v2null`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, bad := range []string{``, `{}`, `[`, `[1]`, `[{"a":`, `[{"a":1}`, `[{"a":1},]`, `null`} {
		var invalid InvalidError
		if _, err := Split([]byte(bad)); !errors.As(err, &invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestDecode_RefusesWithTheField(t *testing.T) {
	target := `"account":"a","manifestName":"deployment web"`
	for _, c := range []struct{ name, body, want string }{
		{"flyManifest", `{}`, `unknown operation "flyManifest" for provider kubernetes`},
		{"deployManifest@v1@v2", `{}`, "more than one @"},
		{"scaleManifest", `null`, "scaleManifest: the description must be an object"},
		{"scaleManifest", `[]`, "scaleManifest: the description must be an object"},
		{"scaleManifest", `{"manifestName":"deployment web","replicas":1}`, "scaleManifest.account: must be given"},
		{"scaleManifest", `{"account":{}}`, "scaleManifest.account: a JSON object cannot be used here"},
		{"scaleManifest", `{"account":"a","manifestName":"web","replicas":1}`, `scaleManifest.manifestName: "web" is not a kind, one space and a name`},
		{"scaleManifest", `{"account":"a","manifestName":"deployment  web","replicas":1}`, "scaleManifest.manifestName"},
		{"scaleManifest", `{` + target + `}`, "scaleManifest.replicas: must be a number"},
		{"scaleManifest", `{` + target + `,"replicas":"-1"}`, "scaleManifest.replicas: must be a number"},
		{"scaleManifest", `{` + target + `,"replicas":1e30}`, "not a whole number"},
		{"resizeServerGroup", `{"account":"a","serverGroupName":"replicaSet web"}`, "deployKubernetesManifest.deployKubernetesManifest.capacity.empty"},
		{"resizeServerGroup", `{"account":"a","serverGroupName":"web","capacity":{"desired":1}}`, "resizeServerGroup.serverGroupName"},
		{"undoRolloutManifest", `{` + target + `}`, "undoRolloutKubernetesManifest.undoRolloutKubernetesManifest.numRevisionsBack & revision.empty"},
		{"patchManifest", `{` + target + `}`, "patchKubernetesManifest.patchKubernetesManifest.patchBody.empty"},
		{"patchManifest", `{` + target + `,"patchBody":{}}`, "patchKubernetesManifest.patchKubernetesManifest.options.mergeStrategy.empty"},
		{"patchManifest", `{` + target + `,"patchBody":{},"options":{"mergeStrategy":"json"}}`, "patchManifest.patchBody: must be a list"},
		{"patchManifest", `{` + target + `,"patchBody":[],"options":{"mergeStrategy":"merge"}}`, "patchManifest.patchBody: must be an object"},
		{"patchManifest", `{` + target + `,"patchBody":[],"options":{"mergeStrategy":"best"}}`, `patchManifest.options.mergeStrategy: "best"`},
		{"deleteManifest", `{"account":"a"}`, "deleteManifest.manifestName: must be given"},
		{"deleteManifest", `{"account":"a","kinds":["pod"]}`, "deleteManifest.labelSelectors: must select something"},
		{"deleteManifest", `{"account":"a","kinds":["pod"],"labelSelectors":{"selectors":[{"kind":"LIKE","key":"a"}]}}`, `deleteManifest.labelSelectors.selectors[0].kind: "LIKE"`},
		{"deleteManifest", `{"account":"a","kinds":["pod"],"labelSelectors":{"selectors":[{"kind":"EQUALS","key":"a"}]}}`, "deleteManifest.labelSelectors.selectors[0].values: must be given"},
		{"deployManifest", `{"account":"a"}`, "deployManifest.moniker: must be given"},
		{"deployManifest", `{"account":"a","moniker":{},"manifests":[{"kind":"Pod"}]}`, "deployManifest.manifests[0].apiVersion: must be given"},
		{"deployManifest", `{"account":"a","moniker":{},"manifests":[{"apiVersion":"v1","kind":"Pod","metadata":[]}]}`, "deployManifest.manifests[0].metadata: must be an object"},
		{"deployManifest", `{"account":"a","moniker":{},"manifests":[{"apiVersion":"v1","kind":"Pod","metadata":{"name":{}}}]}`, "deployManifest.manifests[0].metadata.name: must be a text"},
		{"deployManifest", `{"account":"a","moniker":{},"manifests":[{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x","labels":["a"]}}]}`, "deployManifest.manifests[0].metadata.labels: must be an object of texts"},
		{"deployManifest", `{"account":"a","moniker":{},"manifests":[{"apiVersion":"batch/v1","kind":"CronJob","metadata":{"name":"x"},"spec":{"jobTemplate":{"metadata":{"annotations":"text"}}}}]}`, "deployManifest.manifests[0].spec.jobTemplate.metadata.annotations: must be an object of texts"},
		{"deployManifest", `{"account":"a","moniker":{},"manifests":[{"type":"remote/map/base64","reference":"ref://app/abc"}]}`, "artifact-store.entities.expand"},
		{"deployManifest", `{"account":"a","moniker":{"app":{}}}`, "deployManifest.moniker.app: a JSON object cannot be used here"},
		{"deployManifest", `{"account":"a","moniker":{},"manifests":["x"]}`, "deployManifest"},
		{"runJob", `{"account":"a"}`, "runJob.manifest: must be given"},
	} {
		op, err := Decode(Request{c.name, json.RawMessage(c.body)})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %v, %v; want %s", c.name, c.body, op, err, c.want)
		}
	}
}

func TestDecode_TakesWhatCallersSend(t *testing.T) {
	for _, c := range []struct{ name, body string }{
		{"deployManifest@v2", `{"credentials":"a","moniker":{"app":"x"},"manifest":{"apiVersion":"v1","kind":"Pod","metadata":{"generateName":"x-"}},"stageEnabled":{},"user":"me"}`},
		{"deployManifest", `{"account":"a","moniker":{"app":"x"},"manifests":[]}`},
		{"undoRolloutManifest", `{"account":"a","manifestName":"deploy web","numRevisionsBack":"1","revision":null}`},
		{"deleteManifest", `{"account":"a","manifestName":"rs web","location":null,"options":{"cascading":false,"gracePeriodSeconds":1.0,"orphanDependants":null}}`},
		{"cleanupArtifacts", `{"account":"a","manifests":null}`}, {"cleanupArtifacts", `{"account":"a","manifests":[null]}`},
	} {
		op, err := Decode(Request{c.name, json.RawMessage(c.body)})
		if err != nil || op.AccountName() != "a" {
			t.Errorf("%s %s: %v", c.name, c.body, err)
		}
	}
}

func TestManifest_KeepsTheCallersNumbers(t *testing.T) {
	var m manifest
	if err := json.Unmarshal([]byte(`{"port":8080,"big":9007199254740993,"half":0.5}`), &m); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(m)
	if err != nil || string(out) != `{"big":9007199254740993,"half":0.5,"port":8080}` {
		t.Errorf("%s, %v", out, err)
	}
}

func TestValidation_ChecksTheNamespaceThatCounts(t *testing.T) {
	namespaced := func(kind string) bool { return kind != "clusterRole" }
	for _, c := range []struct {
		about   string
		account account.Account
		kind    string
		in      string
		want    string
	}{
		{"no rules", account.Account{}, "pod", "any", ""},
		{"outside", account.Account{Namespaces: []string{"a", "b"}}, "pod", "c", "scaleKubernetesManifest.scaleKubernetesManifest.c.wrongNamespace"},
		{"left out", account.Account{Namespaces: []string{"a", "b"}}, "pod", "", "scaleKubernetesManifest.scaleKubernetesManifest.default.wrongNamespace"},
		{"omitted", account.Account{OmitNamespaces: []string{"c"}}, "pod", "c", "scaleKubernetesManifest.scaleKubernetesManifest.c.omittedNamespace"},
		{"cluster-scoped", account.Account{Namespaces: []string{"a"}}, "clusterRole", "", ""},
		{"cluster-scoped, of the provider API", account.Account{Namespaces: []string{"a"}, FromProviders: true}, "clusterRole", "", "the account may use only namespaces a"},
		{"one namespace, of the provider API", account.Account{Namespaces: []string{"a"}, FromProviders: true}, "pod", "c", ""},
	} {
		v := &Validation{Account: &c.account, Namespaced: namespaced}
		got := strings.Join(v.namespace("scaleManifest", c.kind, c.in), "; ")
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.about, got, c.want)
		}
	}
}

func TestRepeatable_RefusesPatchesThatDependOnTheirPlace(t *testing.T) {
	for patch, want := range map[string]bool{
		`[{"op":"replace","path":"/spec/replicas","value":1},{"op":"add","path":"/metadata/labels/a","value":"b"}]`: true,
		`[{"op":"add","path":"/spec/list/-","value":1}]`:                                                            false,
		`[{"op":"add","path":"/spec/list/0","value":1}]`:                                                            false,
		`[{"op":"remove","path":"/metadata/labels/a"}]`:                                                             false,
		`[{"op":"test","path":"/a","value":1}]`:                                                                     false,
		`[{"op":"move","from":"/a","path":"/b"}]`:                                                                   false,
	} {
		if got := repeatable(json.RawMessage(patch)) == nil; got != want {
			t.Errorf("%s: %v, want %v", patch, got, want)
		}
	}
}

func TestDiff_MasksSecretsAndLeavesOutWhatEveryWriteChanges(t *testing.T) {
	object := func(text string) *unstructured.Unstructured {
		o := &unstructured.Unstructured{}
		if err := json.Unmarshal([]byte(text), &o.Object); err != nil {
			t.Fatal(err)
		}
		return o
	}
	before := object(`{"kind":"Secret","metadata":{"resourceVersion":"1","labels":{"a":"b"}},"data":{"k":"old","gone":"x"}}`)
	after := object(`{"kind":"Secret","metadata":{"resourceVersion":"2","labels":{"a":"c"}},"data":{"k":"new"},"type":"Opaque"}`)
	for secret, want := range map[bool]string{
		true:  "[{/data/gone *** <nil>} {/data/k *** ***} {/metadata/labels/a b c} {/type <nil> Opaque}]",
		false: "[{/data/gone x <nil>} {/data/k old new} {/metadata/labels/a b c} {/type <nil> Opaque}]",
	} {
		if got := fmt.Sprint(diff(secret, before, after)); got != want {
			t.Errorf("secret %v: %s, want %s", secret, got, want)
		}
	}
}

func TestExplain_ShowsNoSecret(t *testing.T) {
	s := &Step{APIVersion: "v1", Kind: "Secret", Name: "s", Namespace: "ns", Manifest: map[string]any{"data": map[string]any{"k": "aHVudGVyMg=="}, "stringData": map[string]any{"other": "hunter3"}}}
	err := (&Actor{Account: "prod"}).explain(s, native("", "v1", "secrets", "Secret"), &cluster.Error{Reason: cluster.Unsupported, Code: 422, Err: errors.New(`Invalid value: "aHVudGVyMg==", also hunter2 and hunter3`)})
	if text := err.Error(); strings.Contains(text, "hunter") || strings.Contains(text, "Invalid value") || strings.Contains(text, "aHVudGVyMg") || !strings.Contains(text, `secret s in namespace "ns"`) {
		t.Error(text)
	}
}

func TestWithLastApplied_IsKubectlsRecord(t *testing.T) {
	o, err := withLastApplied(map[string]any{"kind": "ConfigMap", "apiVersion": "v1", "metadata": map[string]any{"name": "x", "annotations": map[string]any{lastApplied: "stale"}}, "data": map[string]any{"k": "<&>"}})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"apiVersion":"v1","data":{"k":"\u003c\u0026\u003e"},"kind":"ConfigMap","metadata":{"annotations":{},"name":"x"}}` + "\n"
	if got := o.GetAnnotations()[lastApplied]; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// FuzzDecode looks for bodies that panic or are half taken.
func FuzzDecode(f *testing.F) {
	for name := range operations {
		f.Add(`[{"` + name + `":{"account":"a","manifestName":"deployment web","replicas":"1","patchBody":{},"options":{"mergeStrategy":"merge"}}}]`)
	}
	f.Add(`[{"deployManifest":{"account":"a","moniker":{"app":"x"},"manifests":[{"kind":"list","items":[{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x","labels":null}}]}]}}]`)
	f.Fuzz(func(t *testing.T, body string) {
		requests, err := Split([]byte(body))
		if err != nil {
			return
		}
		for _, r := range requests {
			op, err := Decode(r)
			if err != nil {
				continue
			}
			v := &Validation{Account: &account.Account{Name: "a", Namespaces: []string{"ns"}}, Namespaced: func(string) bool { return true }}
			op.Validate(v)
			p := &Planner{Account: &account.Account{Name: "a"}, Cluster: clusterOf{}, Task: "T"}
			if plan, err := op.Plan(t.Context(), p); err == nil {
				if _, err := json.Marshal(plan); err != nil {
					t.Errorf("a plan that cannot be recorded: %v", err)
				}
			}
		}
	})
}

func TestPlan_IsTheSameAfterItWasRecorded(t *testing.T) {
	three := 3
	before := Plan{Steps: []Step{
		{Action: Apply, APIVersion: "v1", Kind: "ConfigMap", Name: "settings-v003", Namespace: "ns", Version: &three, Manifest: manifest{"id": int64(9007199254740993), "half": 0.5}},
		{Action: Apply, APIVersion: "apps/v1", Kind: "Deployment", Name: "web", Namespace: "ns", Manifest: manifest{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{
			"volumes": []any{map[string]any{"configMap": map[string]any{"name": "settings-v003"}}, map[string]any{"configMap": map[string]any{"name": "other"}}}}}}}},
	}, Result: &ResultPlan{Bound: []spinnaker.Artifact{{Type: "kubernetes/configMap", Name: "settings", Reference: "settings-v003", Version: "v003"}}}}
	text, err := json.Marshal(before)
	if err != nil {
		t.Fatal(err)
	}
	var after Plan
	if err := json.Unmarshal(text, &after); err != nil {
		t.Fatal(err)
	}
	if id := after.Steps[0].Manifest["id"]; id != int64(9007199254740993) {
		t.Errorf("%v (%T)", id, id)
	}
	s := &after.Steps[0]
	four := 4
	s.Version, s.Name = &four, "settings-v004"
	after.Rename(s, "settings-v003")
	if got := fmt.Sprint(after.Steps[1].Manifest); !strings.Contains(got, "settings-v004") || strings.Contains(got, "settings-v003") || !strings.Contains(got, "other") {
		t.Error(got)
	}
	if bound := after.Result.Bound[0]; bound.Reference != "settings-v004" || bound.Version != "v004" {
		t.Errorf("%+v", bound)
	}
}
