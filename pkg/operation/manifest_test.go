package operation

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
)

func manifestOf(t *testing.T, text string) manifest {
	t.Helper()
	var m manifest
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err, text)
	}
	return m
}

func jsonText(t *testing.T, v any) string {
	t.Helper()
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestFlatten_OpensListsOfEveryKind(t *testing.T) {
	in := []manifest{
		manifestOf(t, `{"apiVersion":"v1","kind":"ConfigMapList","items":[{"metadata":{"name":"a"}},null]}`),
		nil,
		manifestOf(t, `{"apiVersion":"v1","kind":"LIST","items":[{"apiVersion":"v1","kind":"Pod","metadata":{"name":"b"}}]}`),
		manifestOf(t, `{"apiVersion":"x.example.com/v1","kind":"AllowList","metadata":{"name":"c"},"spec":{}}`),
		manifestOf(t, `{"apiVersion":"v1","kind":"List"}`),
	}
	out, err := flatten(in, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}},{"apiVersion":"v1","kind":"Pod","metadata":{"name":"b"}},{"apiVersion":"x.example.com/v1","kind":"AllowList","metadata":{"name":"c"},"spec":{}}]`
	if got := jsonText(t, out); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestComplete_MakesTextsOfScalarsAndRefusesOtherShapes(t *testing.T) {
	m := manifestOf(t, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":12345,"namespace":7,"labels":{"a":2,"b":null,"c":true},"annotations":{"time":1.7e9,"half":1234567.5,"big":9007199254740993}},"spec":{"jobTemplate":{"spec":{"template":{"metadata":{"labels":{"x":1}}}}}}}`)
	if err := complete(m, 0); err != nil {
		t.Fatal(err)
	}
	want := `{"annotations":{"big":"9007199254740993","half":"1234567.5","time":"1700000000"},"labels":{"a":"2","c":"true"},"name":"12345","namespace":"7"}`
	if got := jsonText(t, m["metadata"]); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := jsonText(t, m["spec"]); !strings.Contains(got, `"x":"1"`) {
		t.Error(got)
	}
	large := manifestOf(t, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"data":"`+strings.Repeat("x", manifestLimit)+`"}`)
	if err := complete(large, manifestLimit+1); err == nil || !strings.Contains(err.Error(), "3145728") {
		t.Error(err)
	}
}

func TestFresh_DropsWhatOnlyTheServerWrites(t *testing.T) {
	for in, want := range map[string]string{
		`{"metadata":{"name":"a","uid":"u","resourceVersion":"1","generation":2,"creationTimestamp":"x","managedFields":[],"labels":{"a":"b"}},"status":{"a":1}}`:                                            `{"metadata":{"labels":{"a":"b"},"name":"a"}}`,
		`{"metadata":{"name":"a","creationTimestamp":null},"status":{}}`:                                                                                                                                     `{"metadata":{"creationTimestamp":null,"name":"a"},"status":{}}`,
		`{"kind":"Job","metadata":{"uid":"u","labels":{"controller-uid":"u"}},"spec":{"selector":{"a":"b"},"template":{"metadata":{"labels":{"job-name":"a","batch.kubernetes.io/job-name":"a","x":"y"}}}}}`: `{"kind":"Job","metadata":{"labels":{}},"spec":{"template":{"metadata":{"labels":{"x":"y"}}}}}`,
		`{"kind":"Job","metadata":{"uid":"u"},"spec":{"manualSelector":true,"selector":{"a":"b"}}}`:                                                                                                          `{"kind":"Job","metadata":{},"spec":{"manualSelector":true,"selector":{"a":"b"}}}`,
	} {
		m := manifestOf(t, in)
		fresh(m)
		if got := jsonText(t, m); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestEdited_KnowsAVersionOfOursByItsAnnotations(t *testing.T) {
	for in, want := range map[string]string{
		`{"metadata":{"name":"a-v001","annotations":{"artifact.spinnaker.io/name":"a","artifact.spinnaker.io/version":"v001","artifact.spinnaker.io/type":"kubernetes/configMap"}}}`: "a",
		`{"metadata":{"name":"b-v001","annotations":{"artifact.spinnaker.io/name":"a","artifact.spinnaker.io/version":"v001","artifact.spinnaker.io/type":"kubernetes/configMap"}}}`: "",
		`{"metadata":{"name":"a","annotations":{"artifact.spinnaker.io/name":"a","artifact.spinnaker.io/version":"","artifact.spinnaker.io/type":"kubernetes/configMap"}}}`:          "",
		`{"metadata":{"name":"a-v001","annotations":{"artifact.spinnaker.io/name":"a","artifact.spinnaker.io/version":"v001","artifact.spinnaker.io/type":"kubernetes/secret"}}}`:    "",
		`{"metadata":{"name":"a-v001"}}`: "",
	} {
		if got := edited(manifestOf(t, in), "configMap"); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestDescribe_HandsLabelsOnToChildren(t *testing.T) {
	for _, c := range []struct {
		about, kind, in string
		skip            bool
		want            []string
		never           []string
	}{
		{"job without template metadata", "job", `{"metadata":{},"spec":{"template":{"spec":{}}}}`, false, []string{`"template":{"metadata":{"annotations":{"artifact`, `"app.kubernetes.io/managed-by":"spinnaker"`}, nil},
		{"job, skipped", "job", `{"metadata":{},"spec":{"template":{"spec":{}}}}`, true, []string{`"template":{"spec":{}}`}, nil},
		{"cron job", "cronJob", `{"metadata":{},"spec":{"jobTemplate":{"spec":{"template":{"spec":{}}}}}}`, false, []string{`"jobTemplate":{"metadata":{"annotations":{"moniker.spinnaker.io/application":"app"`, `"template":{"metadata":{"annotations":{"moniker`}, []string{`"jobTemplate":{"metadata":{"annotations":{"artifact`}},
		{"cron job, skipped", "cronJob", `{"metadata":{},"spec":{"jobTemplate":{"spec":{"template":{"spec":{}}}}}}`, true, []string{`"jobTemplate":{"spec":{"template":{"spec":{}}}}`}, nil},
		{"custom kind without template metadata", "Thing.example.com", `{"metadata":{},"spec":{"template":{}}}`, false, []string{`"template":{}`}, nil},
	} {
		m := manifestOf(t, c.in)
		describe(m, c.kind, "x", "ns", -1, moniker{App: "app"}, labeling{ManagedBy: "spinnaker"}, c.skip)
		got := jsonText(t, m)
		for _, text := range c.want {
			if !strings.Contains(got, text) {
				t.Errorf("%s: no %s in %s", c.about, text, got)
			}
		}
		for _, text := range c.never {
			if strings.Contains(got, text) {
				t.Errorf("%s: %s in %s", c.about, text, got)
			}
		}
	}
}

func TestAttach_TwoServicesMayWantOneLabel(t *testing.T) {
	to := attachment{labels: map[string]any{"own": "x"}, by: map[string]string{}}
	for _, c := range []struct {
		service  string
		selector map[string]any
		want     string
	}{
		{"service a", map[string]any{"tier": "front"}, ""}, {"service b", map[string]any{"tier": "front", "more": "y"}, ""},
		{"service c", map[string]any{"tier": "back"}, "service a selects by the label tier=front and service c by tier=back"},
		{"service d", map[string]any{"own": "x"}, "which the manifest sets itself"}, {"service e", nil, "has no selector"},
	} {
		err := to.attach(c.service, c.selector)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.service, err, c.want)
		}
	}
}

func TestTextsInOperations_QuotesLabelsOnly(t *testing.T) {
	for in, want := range map[string]string{
		`[{"op":"add","path":"/metadata/labels/a","value":2}]`:                          `[{"op":"add","path":"/metadata/labels/a","value":"2"}]`,
		`[{"op":"add","path":"/spec/template/metadata/annotations","value":{"a":1.5}}]`: `[{"op":"add","path":"/spec/template/metadata/annotations","value":{"a":"1.5"}}]`,
		`[{"op": "replace", "path": "/spec/replicas", "value": 2}]`:                     `[{"op": "replace", "path": "/spec/replicas", "value": 2}]`,
		`[{"op":"remove","path":"/metadata/labels/a"}]`:                                 `[{"op":"remove","path":"/metadata/labels/a"}]`,
	} {
		got, err := textsInOperations(json.RawMessage(in))
		if err != nil || string(got) != want {
			t.Errorf("%s: %s, %v", in, got, err)
		}
	}
}

func TestWithoutNulls_PrunesAsKubectlDoes(t *testing.T) {
	m := map[string]any{"a": nil, "b": map[string]any{"c": nil, "d": int64(1)}, "e": []any{map[string]any{"f": nil}, nil}}
	withoutNulls(m)
	if got := jsonText(t, m); got != `{"b":{"d":1},"e":[{},null]}` {
		t.Error(got)
	}
}

func TestFreeName_CountsNamesThatAreNotOurs(t *testing.T) {
	var all []*metav1.PartialObjectMetadata
	for _, name := range []string{"a-v003", "a-v010x", "b-v099", "a", "a-v1"} {
		all = append(all, &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	if got := freeName(all, "a"); got != 4 {
		t.Error(got)
	}
}

func TestChooseVersion_LeavesTheDyingAlone(t *testing.T) {
	now := metav1.Now()
	version := func(v string, dying bool) *metav1.PartialObjectMetadata {
		o := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"artifact.spinnaker.io/version": v, lastApplied: `{"data":{"k":"v"}}`}}}
		if dying {
			o.DeletionTimestamp = &now
		}
		return o
	}
	m := map[string]any{"data": map[string]any{"k": "v"}}
	if v, reused := chooseVersion([]*metav1.PartialObjectMetadata{version("v000", true), version("v001", false)}, m); v != 1 || !reused {
		t.Error(v, reused)
	}
	if v, reused := chooseVersion([]*metav1.PartialObjectMetadata{version("v000", true)}, m); v != 1 || reused {
		t.Error(v, reused)
	}
}

func TestExplain_GivesAConflictOneTextThatSaysWhatToDo(t *testing.T) {
	s := &Step{APIVersion: "apps/v1", Kind: "Deployment", Name: "web", Namespace: "ns"}
	r := native("apps", "v1", "deployments", "Deployment")
	a := &Actor{Account: "prod"}
	for text, want := range map[string]string{
		"Operation cannot be fulfilled: the object has been modified; please apply your changes": "others changed the object each of the 6 times that this was tried: run the stage again",
		"Precondition failed: UID in precondition: a, UID in object meta: b":                     "the object was replaced by another of its name while the task was running: run the stage again",
	} {
		err := a.explain(s, r, &cluster.Error{Reason: cluster.Conflict, Code: 409, Err: errors.New(text)})
		if !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), `deployment web in namespace "ns": `) {
			t.Error(err)
		}
	}
}

func TestExplain_ShowsFieldsOfASecretAndNoValue(t *testing.T) {
	s := &Step{APIVersion: "v1", Kind: "Secret", Name: "s", Namespace: "ns"}
	for _, c := range []struct {
		err  *cluster.Error
		want string
	}{
		{&cluster.Error{Causes: []cluster.Cause{{Field: "data", Message: "Forbidden: field is immutable when `immutable` is set"}}}, "data: Forbidden: field is immutable when `immutable` is set"},
		{&cluster.Error{Causes: []cluster.Cause{{Field: "data[k]", Message: `Invalid value: "hunter2": must be something`}, {Field: "type", Message: "Required value: must be given"}}}, "data[k]: Invalid value: must be something, type: Required value: must be given"},
		{&cluster.Error{Causes: []cluster.Cause{{Field: "data", Message: `Invalid value: {"k":"hunter2"}: must be something`}}}, "data: Invalid value"},
		{&cluster.Error{Err: errors.New(`Secret in version "v1" cannot be handled as a Secret: strict decoding error: unknown field "dta" near hunter2`)}, `unknown field "dta"`},
		{&cluster.Error{Err: errors.New(`hunter2 is wrong`)}, "why is not shown"},
		{&cluster.Error{Causes: []cluster.Cause{{Field: "data", Message: "hunter2"}}, Err: errors.New(`ValidatingAdmissionPolicy 'p' denied request: hunter2`)}, "ValidatingAdmissionPolicy 'p' denied the request; why is not shown"},
		{&cluster.Error{Reason: cluster.Unavailable, Code: 500, Err: errors.New(`failed to create typed patch object: .stringData.k: expected string, got hunter2`)}, "why is not shown"},
	} {
		if c.err.Code == 0 {
			c.err.Reason, c.err.Code = cluster.Unsupported, 422
		}
		if c.err.Err == nil {
			c.err.Err = errors.New("Secret is invalid: hunter2")
		}
		text := (&Actor{}).explain(s, native("", "v1", "secrets", "Secret"), c.err).Error()
		if !strings.Contains(text, c.want) || strings.Contains(text, "hunter2") {
			t.Errorf("%s, want %s", text, c.want)
		}
	}
}

func TestTrimmed_KeepsWhatTheOperationReads(t *testing.T) {
	got := Trimmed(Request{"scaleManifest", json.RawMessage(`{"account":"a","replicas":3,"outputs":{"secret":1},"stageEnabled":{}}`)})
	if want := `{"account":"a","replicas":3}`; string(got.Body) != want {
		t.Errorf("%s, want %s", got.Body, want)
	}
	for name := range operations {
		before := Request{name, json.RawMessage(`{"account":"a","manifestName":"deployment web","serverGroupName":"replicaSet web","capacity":{"desired":1},"replicas":1,"revision":1,"moniker":{"app":"x"},"manifests":[],"manifest":{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"x"}},"patchBody":{},"options":{"mergeStrategy":"merge"}}`)}
		a, err := Decode(before)
		b, err2 := Decode(Trimmed(before))
		if err != nil || err2 != nil {
			t.Errorf("%s: %v, %v", name, err, err2)
			continue
		}
		b.(described).named(name, len(before.Body))
		if !reflect.DeepEqual(a, b) {
			t.Errorf("%s: %+v, trimmed %+v", name, a, b)
		}
	}
}

func TestThreeWay_MergesWhatIsNewerThanOurStructs(t *testing.T) {
	schemas := map[string]*spec.Schema{}
	if err := json.Unmarshal([]byte(`{
		"Deployment":{"properties":{"spec":{"allOf":[{"$ref":"#/components/schemas/Spec"}]},"metadata":{"type":"object","properties":{"annotations":{"type":"object"},"name":{"type":"string"}}}}},
		"Spec":{"type":"object","properties":{"newer":{"type":"array","x-kubernetes-patch-merge-key":"name","x-kubernetes-patch-strategy":"merge","items":{"allOf":[{"$ref":"#/components/schemas/Item"}]}}}},
		"Item":{"type":"object","properties":{"name":{"type":"string"},"value":{"type":"string"}}}}`), &schemas); err != nil {
		t.Fatal(err)
	}
	meta := strategicpatch.PatchMetaFromOpenAPIV3{SchemaList: schemas, Schema: schemas["Deployment"]}
	live := &unstructured.Unstructured{Object: manifestOf(t, `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"x"},"spec":{"newer":[{"name":"theirs","value":"a"}]}}`)}
	wanted, err := withLastApplied(manifestOf(t, `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"x"},"spec":{"newer":[{"name":"ours","value":"b"}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	kind, patch, err := threeWay(meta, live, wanted)
	if err != nil || kind != types.StrategicMergePatchType || !strings.Contains(string(patch), `"newer":[{"name":"ours","value":"b"}]`) || !strings.Contains(string(patch), `"$setElementOrder/newer"`) {
		t.Errorf("%s %s, %v", kind, patch, err)
	}
	if _, _, err := threeWay(nil, live, wanted); err == nil {
		t.Error("our structs know the field: the test shows nothing")
	}
}

func TestHeldBy_KnowsWhatTheObjectItselfHolds(t *testing.T) {
	live := &unstructured.Unstructured{Object: manifestOf(t, `{"spec":{"clusterIP":"10.0.0.7","ports":[{"nodePort":30090}]}}`)}
	for text, want := range map[string]bool{
		`spec.ports[0].nodePort: Invalid value: 30090: provided port is already allocated`:                               true,
		`spec.ports[0].nodePort: Invalid value: 30091: provided port is already allocated`:                               false,
		`spec.clusterIPs: Invalid value: ["10.0.0.7"]: failed to allocate IP 10.0.0.7: provided IP is already allocated`: true,
		`exceeded quota: q, requested: count/jobs=1,cpu=500m, used: count/jobs=1,cpu=1, limited: count/jobs=1,cpu=1`:     true,
		`exceeded quota: q, requested: cpu=2, used: cpu=1, limited: cpu=1`:                                               false,
		`exceeded quota: q, requested: count/jobs=1, used: count/jobs=0, limited: count/jobs=0`:                          false,
		`exceeded quota: in words that are new`:                                                                          false, "something else": false,
	} {
		if got := heldBy(errors.New(text), live); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}
