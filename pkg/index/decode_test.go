package index

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// looks is what of an object shows, for comparing.
type looks struct {
	Namespace, Name, UID, Version, Labels, App string
	Created                                    int64
	Terminating, HasStatus                     bool
	Phase                                      Phase
	Containers                                 []Container
	Owners                                     []Owner
	Selector, Template                         []pair
	Desired                                    int64
	Images, Explicit                           []string
	ServiceName                                string
}

func looksOf(o *Object) looks {
	l := looks{
		Namespace: o.Namespace, Name: o.Name, UID: o.UID(), Version: o.ResourceVersion(), Labels: o.LabelsJSON(), App: o.Moniker().App, Created: o.Created,
		Terminating: o.Terminating, HasStatus: o.hasStatus, Phase: o.phase, Containers: o.Pod().Containers(), Selector: o.selector(),
	}
	o.eachOwner(func(w Owner) { l.Owners = append(l.Owners, w) })
	if g := o.Group; g != nil {
		l.Desired, l.Images, l.Explicit, l.Template, l.ServiceName = g.Desired, g.Images, g.Explicit, g.template, g.serviceName
	}
	return l
}

// in follows fields of decoded JSON, nil where there are none.
func in(of any, fields ...string) any {
	for _, f := range fields {
		m, _ := of.(map[string]any)
		of = m[f]
	}
	return of
}

func textOf(of any) string { s, _ := of.(string); return s }

func sortedPairs(of any) (out []pair) {
	m, _ := of.(map[string]any)
	for _, k := range slices.Sorted(maps.Keys(m)) {
		switch v := m[k].(type) {
		case string:
			out = append(out, pair{k, v})
		case nil:
			out = append(out, pair{k, ""})
		}
	}
	return out
}

func imagesOf(template any, list string) (out []string) {
	all, _ := in(template, "spec", list).([]any)
	for _, c := range all {
		out = append(out, textOf(in(c, "image")))
	}
	return out
}

// expected is what an object looks like by the plain way: everything is decoded,
// and looked up then.
func expected(kind *Kind, raw []byte) looks {
	var of any
	if err := json.Unmarshal(raw, &of); err != nil {
		panic(err)
	}
	m := in(of, "metadata")
	l := looks{Namespace: textOf(in(m, "namespace")), Name: textOf(in(m, "name")), UID: textOf(in(m, "uid")), Version: textOf(in(m, "resourceVersion"))}
	if labels := sortedPairs(in(m, "labels")); len(labels) > 0 {
		encoded := map[string]string{}
		for _, p := range labels {
			encoded[p.key] = p.value
		}
		text, _ := json.Marshal(encoded)
		l.Labels = string(text)
	}
	annotations := map[string]string{}
	for _, p := range sortedPairs(in(m, "annotations")) {
		annotations[p.key] = p.value
	}
	l.App = spinnaker.MonikerOf(kind.Text, l.Name, annotations, true).App
	l.Terminating = textOf(in(m, "deletionTimestamp")) != ""
	owners, _ := in(m, "ownerReferences").([]any)
	for _, w := range owners {
		group, _, found := strings.Cut(textOf(in(w, "apiVersion")), "/")
		if !found {
			group = ""
		}
		l.Owners = append(l.Owners, ownerOf(spinnaker.KindText(group, textOf(in(w, "kind"))), textOf(in(w, "name")), textOf(in(w, "uid"))))
	}
	spec, status := in(of, "spec"), in(of, "status")
	if kind.Text == "pod" {
		statuses, has := in(status, "containerStatuses").([]any)
		if l.HasStatus = has || textOf(in(status, "phase")) != ""; l.HasStatus {
			l.Phase = map[string]Phase{"Pending": Pending, "Running": Running}[textOf(in(status, "phase"))]
		}
		for _, c := range statuses {
			ready, _ := in(c, "ready").(bool)
			l.Containers = append(l.Containers, Container{textOf(in(c, "name")), ready})
		}
	}
	if kind.Text == "service" && textOf(in(spec, "type")) != "ExternalName" {
		l.Selector = sortedPairs(in(spec, "selector"))
	}
	if kind.Class == spinnaker.ServerGroups {
		desired, _ := in(spec, "replicas").(float64)
		if kind.Text == "daemonSet" {
			desired, _ = in(status, "desiredNumberScheduled").(float64)
		}
		l.Desired = int64(desired)
		direct, job := in(spec, "template"), in(spec, "jobTemplate", "spec", "template")
		l.Images = distinct(imagesOf(direct, "containers"), imagesOf(job, "containers"), imagesOf(direct, "initContainers"), imagesOf(job, "initContainers"))
		l.Explicit = spinnaker.ExplicitLoadBalancers(annotations)
		if kind.Text == "replicaSet" || kind.Text == "statefulSet" {
			l.Template = sortedPairs(in(direct, "metadata", "labels"))
		}
		if kind.Text == "statefulSet" {
			l.ServiceName = textOf(in(spec, "serviceName"))
		}
	}
	return l
}

var decodedKinds = []*Kind{
	{Text: "pod", Class: spinnaker.Instances}, {Text: "service", Class: spinnaker.LoadBalancers}, {Text: "replicaSet", Class: spinnaker.ServerGroups},
	{Text: "statefulSet", Class: spinnaker.ServerGroups}, {Text: "daemonSet", Class: spinnaker.ServerGroups}, {Text: "cronJob", Class: spinnaker.ServerGroups},
	{Text: "Rollout.argoproj.io", Class: spinnaker.ServerGroups}, {Text: "deployment", Class: spinnaker.ServerGroupManagers},
}

// anyJSON is any value, or now and then a good one.
func anyJSON(r *rand.Rand, good func() any) any {
	switch r.IntN(12) {
	case 0:
		return nil
	case 1:
		return []any{"x", 1.5, map[string]any{"a": "}"}}
	case 2:
		return map[string]any{"n\"": "q\\\"", "é": []any{}}
	case 3:
		return "te\nxt \\ \" < & é \u2028"
	case 4:
		return -17.25
	case 5:
		return true
	}
	return good()
}

func anyObject(r *rand.Rand) map[string]any {
	text := func() any { return []string{"a", "web-v001", "ü", "x.y/z", ""}[r.IntN(5)] }
	labels := func() any { return map[string]any{"app": text(), "b": text(), "a<b": text()} }
	object := func(fields map[string]func() any) func() any {
		return func() any {
			out := map[string]any{}
			for name, value := range fields {
				if r.IntN(4) > 0 {
					out[name] = anyJSON(r, value)
				}
			}
			return out
		}
	}
	list := func(item func() any) func() any {
		return func() any { return []any{anyJSON(r, item), anyJSON(r, item)} }
	}
	template := object(map[string]func() any{
		"metadata": object(map[string]func() any{"labels": labels, "name": text}),
		"spec": object(map[string]func() any{
			"containers": list(object(map[string]func() any{"image": text, "name": text})), "initContainers": list(object(map[string]func() any{"image": text})), "volumes": list(text),
		}),
	})
	// What metadata are is checked by the API server.
	metadata := map[string]any{
		"name": "web-v003", "uid": fmt.Sprint(r.Uint32()), "resourceVersion": "7", "namespace": "ns", "labels": map[string]any{"app": "<&>", "z": "é", "": "x"},
		"creationTimestamp": nil, "managedFields": list(text)(),
		"annotations":     map[string]any{spinnaker.AnnotationApplication: text(), spinnaker.AnnotationLoadBalancers: `["service a"]`, "other": "\"}"},
		"ownerReferences": []any{map[string]any{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "w", "uid": "u"}, map[string]any{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "v"}},
	}
	if r.IntN(3) == 0 {
		metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
	}
	return map[string]any{
		"kind": "x", "metadata": metadata,
		"spec": anyJSON(r, object(map[string]func() any{
			"replicas": func() any { return float64(r.IntN(9)) }, "serviceName": text, "template": template, "selector": labels, "type": text,
			"jobTemplate": object(map[string]func() any{"spec": object(map[string]func() any{"template": template})}),
		})),
		"status": anyJSON(r, object(map[string]func() any{
			"phase": func() any { return []string{"Running", "Pending", "Failed"}[r.IntN(3)] }, "desiredNumberScheduled": func() any { return 4.0 },
			"containerStatuses": list(object(map[string]func() any{"name": text, "ready": func() any { return r.IntN(2) == 0 }})),
		})),
	}
}

func TestDecode_EqualsLookingUpWhatIsDecodedAsAWhole(t *testing.T) {
	a := &account.Account{DeriveNames: true}
	for seed := range uint64(20_000) {
		r := rand.New(rand.NewPCG(seed, 3))
		kind := decodedKinds[r.IntN(len(decodedKinds))]
		of := anyObject(r)
		raw, err := json.Marshal(of)
		if seed%2 == 0 {
			raw, err = json.MarshalIndent(of, " ", "\t")
		}
		if err != nil {
			t.Fatal(err)
		}
		got, odd := objectDecoder(a, kind)(raw)
		o, ok := got.(*Object)
		if !ok {
			t.Fatalf("seed %d: %v %v\n%s", seed, got, odd, raw)
		}
		if got, want := looksOf(o), expected(kind, raw); !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d, %s:\ngot  %+v\nwant %+v\n%s", seed, kind.Text, got, want, raw)
		}
	}
}

// TestIdentify_SaysWhatDecodingSays: what is taken for an object that is held is one
// that would be decoded to its name, UID and version.
func TestIdentify_SaysWhatDecodingSays(t *testing.T) {
	a := &account.Account{DeriveNames: true}
	for seed := range uint64(2_000) {
		r := rand.New(rand.NewPCG(seed, 6))
		raw, err := json.Marshal(anyObject(r))
		if err != nil {
			t.Fatal(err)
		}
		got, _ := objectDecoder(a, decodedKinds[0])(raw)
		o := got.(*Object)
		is, ok := identify(raw)
		if !ok || string(is.name) != o.Name || string(is.namespace) != o.Namespace || !o.hasVersion(is.version) || !o.hasUID(is.uid) || o.hasUID([]byte("other")) {
			t.Fatalf("seed %d: %q %v of %s", seed, is, ok, raw)
		}
	}
	uid := "01234567-89ab-cdef-0123-456789abcdef"
	o := &Object{}
	o.setUID([]byte(uid))
	if !o.hasUID([]byte(uid)) || o.hasUID([]byte(strings.Replace(uid, "f", "e", 1))) || o.hasUID(nil) {
		t.Error(o.UID())
	}
	for _, raw := range []string{
		``, `[]`, `{}`, `{"metadata":{}}`, `{"metadata":[]}`, `{"metadata":{"name":"n","uid":"u"}}`, `{"metadata":{"name":"n","uid":"u","resourceVersion":7}}`,
		`{"metadata":{"name":"n\u0061","uid":"u","resourceVersion":"1"}}`, `{"metadata":{"name":"n","uid":"u","resourceVersion":"1"`, `{"spec":{"metadata":{"name":"n","uid":"u","resourceVersion":"1"}}}`,
	} {
		if is, ok := identify([]byte(raw)); ok {
			t.Errorf("%s is taken for %q", raw, is)
		}
	}
}

func TestDecode_WhatIsNoObjectIsLeftOutAndWhatIsOddIsTold(t *testing.T) {
	kind := decodedKinds[0]
	whole := `{"metadata":{"name":"n","uid":"u","resourceVersion":"1"},"status":{"phase":"Running"}}`
	for n := range len(whole) {
		if o, err := objectDecoder(&account.Account{}, kind)([]byte(whole[:n])); o != nil || err == nil {
			t.Errorf("%s: %v %v", whole[:n], o, err)
		}
	}
	for raw, want := range map[string]string{
		`[]`: "no JSON", `"x"`: "no JSON", `{}`: "without name", `{"metadata":[]}`: "metadata is no object", `{"metadata":{"name":1}}`: "metadata.name is no text",
		`{"metadata":{"name":"n","uid":"u","resourceVersion":"1","labels":{"a":1}}}`: "metadata.labels is no object of texts",
		`{"metadata":{"name":"n","uid":"u","resourceVersion":"1"} "status":{}}`:      "no JSON",
		`{"metadata":{"name":"\x","uid":"u","resourceVersion":"1"}}`:                 "no JSON",
	} {
		if o, err := objectDecoder(&account.Account{}, kind)([]byte(raw)); o != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v %v", raw, o, err)
		}
	}
	for raw, want := range map[string]string{`"status":7`: "status is no object", `"status":{"phase":{}}`: "status.phase is no text", `"status":{"containerStatuses":{}}`: "status.containerStatuses is no array"} {
		raw = `{"metadata":{"name":"n","uid":"u","resourceVersion":"1"},` + raw + `}`
		o, err := objectDecoder(&account.Account{DeriveNames: true}, kind)([]byte(raw))
		if o == nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v %v", raw, o, err)
		}
	}
}

func FuzzDecodeObject(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		raw, _ := json.Marshal(anyObject(r))
		f.Add(raw, uint8(r.IntN(len(decodedKinds))))
	}
	f.Add([]byte(`{"metadata":{"name":"\\\"`), uint8(0))
	f.Fuzz(func(t *testing.T, raw []byte, kind uint8) {
		k := decodedKinds[int(kind)%len(decodedKinds)]
		o, err := objectDecoder(&account.Account{DeriveNames: true}, k)(raw)
		if o == nil && err == nil {
			t.Error("it is neither taken nor refused")
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	raw, _ := json.Marshal(anyObject(rand.New(rand.NewPCG(12, 1))))
	decode := objectDecoder(&account.Account{DeriveNames: true}, decodedKinds[2])
	for name, do := range map[string]func(){
		"once":     func() { _, _ = decode(raw) },
		"standard": func() { var of any; _ = json.Unmarshal(raw, &of) },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				do()
			}
		})
	}
}
