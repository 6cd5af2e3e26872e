package index

import (
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
	"unique"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// wireMeta is metadata as far as it is used. Decoding into few fields is what
// makes a list cheap: everything else is skipped, not built.
type wireMeta struct {
	Name              string            `json:"name"`
	Namespace         string            `json:"namespace"`
	UID               string            `json:"uid"`
	ResourceVersion   string            `json:"resourceVersion"`
	CreationTimestamp string            `json:"creationTimestamp"`
	DeletionTimestamp string            `json:"deletionTimestamp"`
	Labels            map[string]string `json:"labels"`
	Annotations       map[string]string `json:"annotations"`
	OwnerReferences   []struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Name       string `json:"name"`
		UID        string `json:"uid"`
	} `json:"ownerReferences"`
}

type wireObject struct {
	Metadata wireMeta `json:"metadata"`
}

func (w *wireObject) meta() *wireMeta { return &w.Metadata }
func (w *wireObject) fill(*Object)    {}

type wirePod struct {
	wireObject
	Status *struct {
		Phase             string `json:"phase"`
		ContainerStatuses []struct {
			Name  string `json:"name"`
			Ready bool   `json:"ready"`
		} `json:"containerStatuses"`
	} `json:"status"`
}

func (w *wirePod) fill(o *Object) {
	if w.Status == nil || (w.Status.Phase == "" && w.Status.ContainerStatuses == nil) {
		return // the API server writes a missing status as an empty one
	}
	o.Pod.HasStatus = true
	switch w.Status.Phase {
	case "Pending":
		o.Pod.Phase = Pending
	case "Running":
		o.Pod.Phase = Running
	}
	containers := make([]Container, 0, 4)
	for _, c := range w.Status.ContainerStatuses {
		containers = append(containers, Container(c))
	}
	o.Pod.containers = encodeContainers(containers)
}

type wireService struct {
	wireObject
	Spec struct {
		Type     string            `json:"type"`
		Selector map[string]string `json:"selector"`
	} `json:"spec"`
}

func (w *wireService) fill(o *Object) {
	if w.Spec.Type != "ExternalName" {
		o.selector = pairs(w.Spec.Selector)
	}
}

// wireGroup is a server group of any kind. The fields of custom kinds may
// have any type, hence the lenient ones.
type wireGroup struct {
	wireObject
	Spec struct {
		Replicas    json.RawMessage `json:"replicas"`
		ServiceName json.RawMessage `json:"serviceName"`
		Template    json.RawMessage `json:"template"`
		JobTemplate json.RawMessage `json:"jobTemplate"`
	} `json:"spec"`
	Status struct {
		DesiredNumberScheduled json.RawMessage `json:"desiredNumberScheduled"`
	} `json:"status"`
}

// wireParts is an object whose spec or status is not what its kind has there.
type wireParts struct {
	Spec   json.RawMessage `json:"spec,omitempty"`
	Status json.RawMessage `json:"status,omitempty"`
}

func (w *wireGroup) fill(o *Object) {
	g := &GroupState{Explicit: spinnaker.ExplicitLoadBalancers(w.Metadata.Annotations)}
	desired := w.Spec.Replicas
	if o.Kind.Text == "daemonSet" {
		desired = w.Status.DesiredNumberScheduled
	}
	g.Desired = number(desired)
	if o.Kind.Text == "statefulSet" {
		_ = json.Unmarshal(w.Spec.ServiceName, &g.serviceName)
	}
	if o.Kind.Text == "replicaSet" || o.Kind.Text == "statefulSet" {
		var template struct {
			Metadata struct {
				Labels map[string]string `json:"labels"`
			} `json:"metadata"`
		}
		_ = json.Unmarshal(w.Spec.Template, &template) // absent or odd: no labels
		g.template = pairs(template.Metadata.Labels)
	}
	g.Images = images(w.Spec.Template, w.Spec.JobTemplate)
	o.Group = g
}

// number reads a JSON number, 0 for anything else.
func number(raw json.RawMessage) int64 {
	var f float64
	if json.Unmarshal(raw, &f) != nil {
		return 0
	}
	return int64(f)
}

// images collects the images of every pod template in the given parts: first
// all containers, then all init containers, without repetition
// (read-lists.md 2.6).
func images(template, jobTemplate json.RawMessage) []string {
	type podSpec struct {
		Containers     []struct{ Image any } `json:"containers"`
		InitContainers []struct{ Image any } `json:"initContainers"`
	}
	type podTemplate struct {
		Spec podSpec `json:"spec"`
	}
	var specs []podSpec
	var direct podTemplate
	if len(template) > 0 && json.Unmarshal(template, &direct) == nil {
		specs = append(specs, direct.Spec)
	}
	var job struct {
		Spec struct {
			Template podTemplate `json:"template"`
		} `json:"spec"`
	}
	if len(jobTemplate) > 0 && json.Unmarshal(jobTemplate, &job) == nil {
		specs = append(specs, job.Spec.Template.Spec)
	}
	var out []string
	add := func(image any) {
		if text, ok := image.(string); ok && text != "" && !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	for _, s := range specs {
		for _, c := range s.Containers {
			add(c.Image)
		}
	}
	for _, s := range specs {
		for _, c := range s.InitContainers {
			add(c.Image)
		}
	}
	return out
}

func pairs(labels map[string]string) []pair {
	if len(labels) == 0 {
		return nil
	}
	out := make([]pair, 0, len(labels))
	for k, v := range labels {
		out = append(out, pair{k, v})
	}
	slices.SortFunc(out, func(a, b pair) int { return cmp.Compare(a.key, b.key) })
	return out
}

type wire interface {
	meta() *wireMeta
	fill(*Object)
}

// decoder returns the decode function of one kind.
func (a *Account) decoder(kind *Kind) watch.Decode {
	decode := objectDecoder(a.account, kind)
	switch {
	case a.index.payloads == nil, kind.Class == spinnaker.Configs, kind.Class == spinnaker.Unclassified:
		return decode // the content of secrets is never kept
	case kind.Class == spinnaker.Instances:
		return decode // of pods there are many, and hardly anybody asks for one
	}
	return func(raw []byte) (watch.Object, error) {
		o, err := decode(raw)
		if o, ok := o.(*Object); ok {
			a.keep(o, raw)
		}
		return o, err
	}
}

func objectDecoder(a *account.Account, kind *Kind) watch.Decode {
	fresh := func() wire { return &wireObject{} }
	switch {
	case kind.Class == spinnaker.ServerGroups:
		fresh = func() wire { return &wireGroup{} }
	case kind.Text == "pod":
		fresh = func() wire { return &wirePod{} }
	case kind.Text == "service":
		fresh = func() wire { return &wireService{} }
	}
	return func(raw []byte) (watch.Object, error) {
		w, odd, err := read(raw, fresh)
		if err != nil {
			return nil, err
		}
		m := w.meta()
		if m.Name == "" || m.UID == "" || m.ResourceVersion == "" {
			return nil, errors.New("an object without name, uid or resourceVersion")
		}
		if !a.AllowsNamespace(m.Namespace) {
			return nil, nil
		}
		o := newObject(kind, m)
		moniker := spinnaker.MonikerOf(kind.Text, m.Name, m.Annotations, a.DeriveNames)
		o.Stated = m.Annotations[spinnaker.AnnotationApplication] != "" && m.Annotations[spinnaker.AnnotationCluster] != ""
		o.moniker = unique.Make(moniker)
		w.fill(o)
		if spinnaker.Ignored(m.Annotations) || (!a.DeriveNames && moniker.App == "") {
			return hidden{o}, nil
		}
		return o, odd
	}
}

// read decodes an object. Custom kinds may have anything for a spec or a
// status: odd says which of them is left out.
func read(raw []byte, fresh func() wire) (w wire, odd, err error) {
	w = fresh()
	whole := json.Unmarshal(raw, w)
	if whole == nil {
		return w, nil, nil
	}
	var meta wireObject
	if err := json.Unmarshal(raw, &meta); err != nil {
		return nil, nil, err
	}
	var parts wireParts
	if err := json.Unmarshal(raw, &parts); err != nil {
		return nil, nil, err
	}
	for _, kept := range []wireParts{{Spec: parts.Spec}, {Status: parts.Status}, {}} {
		w = fresh()
		some, err := json.Marshal(struct {
			wireParts
			Metadata wireMeta `json:"metadata"`
		}{kept, meta.Metadata})
		if err == nil && json.Unmarshal(some, w) == nil {
			return w, whole, nil
		}
	}
	return nil, nil, whole
}

// hidden is an object that no view may show. It still takes part in the
// order of versions: it ends whatever was known under its name.
type hidden struct{ *Object }

func newObject(kind *Kind, m *wireMeta) *Object {
	o := &Object{Kind: kind, Namespace: m.Namespace, Name: m.Name, UID: m.UID, version: m.ResourceVersion, labels: labelsJSON(m.Labels)}
	o.Terminating = m.DeletionTimestamp != ""
	if t, err := time.Parse(time.RFC3339, m.CreationTimestamp); err == nil {
		o.Created = t.UnixMilli()
	}
	for i, ref := range m.OwnerReferences {
		group, _, found := strings.Cut(ref.APIVersion, "/")
		if !found {
			group = ""
		}
		owner := Owner{Kind: spinnaker.KindText(group, ref.Kind), Name: ref.Name, UID: ref.UID}
		if i == 0 {
			o.owners, o.hasOwn = unique.Make(owner), true
		} else {
			o.more = append(o.more, owner)
		}
	}
	return o
}

func labelsJSON(labels map[string]string) unique.Handle[string] {
	if len(labels) == 0 {
		return unique.Handle[string]{}
	}
	encoded, err := json.Marshal(labels) // sorted keys
	if err != nil {
		return unique.Handle[string]{} // strings always encode
	}
	return unique.Make(string(encoded))
}

// kindOf describes a served kind for one account; ok is false when no view
// shows it.
func kindOf(a *account.Account, r cluster.Resource) (*Kind, bool) {
	text := r.KindText()
	class, ok := a.Class(text)
	if !ok && a.Held.Asks(text) {
		class, ok = spinnaker.Unclassified, true
	}
	if !ok || !a.AllowsKind(text) || a.Held.Leaves(text) {
		return nil, false
	}
	switch class {
	case spinnaker.ServerGroups, spinnaker.ServerGroupManagers, spinnaker.LoadBalancers, spinnaker.SecurityGroups, spinnaker.Instances:
	case spinnaker.Configs, spinnaker.Unclassified:
		// Events are many and no part of an application, and namespaces are
		// followed by themselves.
		related := a.AllRelationships && text != "namespace"
		if text == "event" || !related && !a.Held.Asks(text) {
			return nil, false
		}
	default:
		return nil, false
	}
	return &Kind{Text: text, APIVersion: strings.ToLower(r.APIVersion()), Class: class}, true
}
