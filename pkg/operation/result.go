package operation

import (
	"encoding/json"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// Done is what is kept of a step that is through.
type Done struct {
	Change    Change `json:"change"`
	KindText  string `json:"kindText,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	// Manifest is the object without the content of secrets.
	Manifest manifest `json:"manifest,omitempty"`
}

// NewDone keeps of an outcome what the result needs.
func NewDone(s *Step, o *Outcome) Done {
	d := Done{Change: o.Change, KindText: s.KindText(), Namespace: s.Namespace, Name: s.Name}
	if o.Object != nil {
		d.Namespace, d.Name = o.Object.GetNamespace(), o.Object.GetName()
		d.Manifest = Stripped(o.Object.Object)
	}
	return d
}

// Stripped is an object without managed fields, and without the content of a
// secret.
func Stripped(object map[string]any) map[string]any {
	out := runtime.DeepCopyJSON(object)
	unstructured.RemoveNestedField(out, "metadata", "managedFields")
	if textOf(out, "kind") == "Secret" {
		delete(out, "data")
		delete(out, "stringData")
		unstructured.RemoveNestedField(out, "metadata", "annotations", lastApplied)
	}
	return out
}

// Result is the result object of an operation (operations.md 2.2, 2.3), nil
// for none. Arrays are in the order of the plan.
func Result(plan *Plan, done []Done) map[string]any {
	r := plan.Result
	if r == nil {
		return nil
	}
	names := map[string][]string{}
	if r.Location != nil {
		names[*r.Location] = []string{}
	}
	manifests := []map[string]any{}
	created := []spinnaker.Artifact{}
	for i, d := range done {
		if d.Name == "" {
			continue
		}
		location := d.Namespace
		if r.Location != nil {
			location = *r.Location
		}
		full := spinnaker.FullName(d.KindText, d.Name)
		if !slices.Contains(names[location], full) {
			names[location] = append(names[location], full)
		}
		if r.Manifests && d.Manifest != nil {
			manifests = append(manifests, d.Manifest)
		}
		if i < len(r.Created) {
			a := r.Created[i]
			if v := plan.Steps[i].Version; v != nil {
				a.Version, a.Reference = spinnaker.VersionText(*v), d.Name
			}
			created = append(created, a)
		}
	}
	bound := r.Bound
	if bound == nil {
		bound = []spinnaker.Artifact{}
	}
	out := map[string]any{
		"manifestNamesByNamespace": names, "manifestNamesByNamespaceToRefresh": names,
		"createdArtifacts": artifacts(created), "boundArtifacts": artifacts(bound),
	}
	if !r.NoManifests {
		out["manifests"] = manifests
	}
	if r.Job {
		out["deployedNamesByLocation"] = names
	}
	return out
}

// artifacts are written in the form of the worked example (operations.md 2.2):
// location, version and metadata are always there for those that we make.
func artifacts(in []spinnaker.Artifact) []map[string]any {
	out := []map[string]any{}
	for _, a := range in {
		raw, err := json.Marshal(a)
		if err != nil {
			continue // texts always encode
		}
		var m map[string]any
		if utiljson.Unmarshal(raw, &m) != nil {
			continue
		}
		if m["metadata"] == nil {
			m["metadata"] = map[string]any{}
		}
		for _, key := range []string{"location", "version"} {
			if _, there := m[key]; !there && a.Account() != "" {
				m[key] = ""
			}
		}
		out = append(out, m)
	}
	return out
}

// holds says whether a JSON patch of additions, replacements and removals
// would change nothing.
func holds(live *unstructured.Unstructured, patch []byte) bool {
	var list []struct {
		Op, Path string
		Value    any
	}
	if utiljson.Unmarshal(patch, &list) != nil {
		return false
	}
	for _, o := range list {
		value, there := at(live.Object, o.Path)
		switch {
		case o.Op == "remove" && there:
			return false
		case o.Op != "remove" && (!there || !sameJSON(value, o.Value)):
			return false
		}
	}
	return true
}
