package operation

import (
	"slices"
	"strings"

	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// binder puts the references of artifacts into manifests (operations.md 3.6).
type binder struct {
	account string
	// matchNameOnly replaces only images that are the artifact's name and
	// nothing else.
	matchNameOnly bool
	candidates    []spinnaker.Artifact
	bound         []spinnaker.Artifact
}

// newBinder takes the candidates of several lists; one whose key an earlier
// list has is left out.
func newBinder(account string, matchNameOnly bool, lists ...[]spinnaker.Artifact) *binder {
	b := &binder{account: account, matchNameOnly: matchNameOnly}
	for _, list := range lists {
		var fresh []spinnaker.Artifact
		for _, a := range list {
			if !b.has(a.Key()) {
				fresh = append(fresh, a)
			}
		}
		b.candidates = append(b.candidates, fresh...)
	}
	return b
}

func (b *binder) has(key spinnaker.ArtifactKey) bool {
	for _, c := range b.candidates {
		if c.Key() == key {
			return true
		}
	}
	return false
}

// created makes an artifact of this request a candidate in the place of those
// of the same key.
func (b *binder) created(a spinnaker.Artifact) {
	b.candidates = slices.DeleteFunc(b.candidates, func(c spinnaker.Artifact) bool { return c.Key() == a.Key() })
	b.candidates = append(b.candidates, a)
}

// bind replaces what artifacts match in a manifest of the kind, whose
// namespace is as the manifest says.
func (b *binder) bind(kindText, namespace string, manifest map[string]any) {
	for _, a := range b.candidates {
		if a.Type == "" {
			continue
		}
		if strings.HasPrefix(a.Type, spinnaker.KubernetesArtifactPrefix) &&
			(a.Location != namespace || a.Account() != "" && a.Account() != b.account) {
			continue
		}
		matched := false
		references(kindText, manifest, func(r reference) {
			if r.artifactType == a.Type && r.matches(a.Name, b.matchNameOnly) {
				r.set(a.Reference)
				matched = true
			}
		})
		if matched && !sameArtifact(b.bound, a) {
			b.bound = append(b.bound, a)
		}
	}
}

// sameArtifact compares as the check for unbound artifacts does: not on the
// account, not on metadata.
func sameArtifact(list []spinnaker.Artifact, a spinnaker.Artifact) bool {
	for _, o := range list {
		if o.Key() == a.Key() && o.Version == a.Version && o.Reference == a.Reference {
			return true
		}
	}
	return false
}

// unbound lists those of the required ones that no manifest used.
func (b *binder) unbound(required []spinnaker.Artifact) []spinnaker.Artifact {
	var out []spinnaker.Artifact
	for _, a := range required {
		if !sameArtifact(b.bound, a) {
			out = append(out, a)
		}
	}
	return out
}

// reference is a place in a manifest that names an artifact.
type reference struct {
	artifactType string
	value        string
	// whole demands that an image is compared as it is.
	whole bool
	set   func(string)
}

func (r reference) matches(name string, matchNameOnly bool) bool {
	if r.artifactType == spinnaker.DockerImage && !r.whole && !matchNameOnly {
		return spinnaker.ImageName(r.value) == name
	}
	return r.value == name
}

// References lists what a manifest refers to, as artifacts with type, name and
// reference (read-rest.md 1.2).
func References(kindText string, manifest map[string]any) []spinnaker.Artifact {
	var out []spinnaker.Artifact
	references(kindText, manifest, func(r reference) {
		a := spinnaker.Artifact{Type: r.artifactType, Name: r.value, Reference: r.value, Metadata: map[string]any{}}
		if r.artifactType == spinnaker.DockerImage {
			a.Name = spinnaker.ImageName(r.value)
		}
		if !sameArtifact(out, a) {
			out = append(out, a)
		}
	})
	return out
}

// references calls found for every place of the kind's table.
func references(kindText string, manifest map[string]any, found func(reference)) {
	switch {
	case spinnaker.SameKind(kindText, "pod"):
		podSpec(mapAt(manifest, "spec"), true, found)
	case spinnaker.SameKind(kindText, "horizontalpodautoscaler"):
		target := mapAt(manifest, "spec", "scaleTargetRef")
		switch kind, _ := target["kind"].(string); kind {
		case "Deployment", "deployment":
			field(target, "name", "kubernetes/deployment", found)
		case "ReplicaSet", "replicaSet":
			field(target, "name", "kubernetes/replicaSet", found)
		}
	default:
		for _, workload := range []string{"deployment", "replicaSet", "statefulSet", "daemonSet", "job", "cronJob"} {
			if spinnaker.SameKind(kindText, workload) {
				templates(manifest, func(spec map[string]any) { podSpec(spec, false, found) })
			}
		}
	}
}

// templates calls found for every spec.template.spec at any depth.
func templates(v any, found func(map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		if spec := mapAt(v, "spec", "template", "spec"); spec != nil {
			found(spec)
		}
		for _, child := range v {
			templates(child, found)
		}
	case []any:
		for _, child := range v {
			templates(child, found)
		}
	}
}

func podSpec(spec map[string]any, bare bool, found func(reference)) {
	for _, list := range []string{"containers", "initContainers"} {
		for _, c := range mapsAt(spec, list) {
			if image, ok := c["image"].(string); ok {
				// A bare pod's init containers are an extension of the older
				// Go rewrite, as are its volumes and variables.
				found(reference{spinnaker.DockerImage, image, bare, func(v string) { c["image"] = v }})
			}
			for _, env := range mapsAt(c, "env") {
				field(mapAt(env, "valueFrom", "configMapKeyRef"), "name", "kubernetes/configMap", found)
				field(mapAt(env, "valueFrom", "secretKeyRef"), "name", "kubernetes/secret", found)
			}
			for _, from := range mapsAt(c, "envFrom") {
				field(mapAt(from, "configMapRef"), "name", "kubernetes/configMap", found)
				field(mapAt(from, "secretRef"), "name", "kubernetes/secret", found)
			}
		}
	}
	for _, volume := range mapsAt(spec, "volumes") {
		field(mapAt(volume, "configMap"), "name", "kubernetes/configMap", found)
		field(mapAt(volume, "secret"), "secretName", "kubernetes/secret", found)
		for _, source := range mapsAt(mapAt(volume, "projected"), "sources") {
			field(mapAt(source, "configMap"), "name", "kubernetes/configMap", found)
			field(mapAt(source, "secret"), "name", "kubernetes/secret", found)
		}
	}
}

func field(m map[string]any, key, artifactType string, found func(reference)) {
	if value, ok := m[key].(string); ok {
		found(reference{artifactType, value, false, func(v string) { m[key] = v }})
	}
}

// mapAt walks down maps; nil when there is none at the end.
func mapAt(m map[string]any, path ...string) map[string]any {
	for _, key := range path {
		m, _ = m[key].(map[string]any)
	}
	return m
}

// mapsAt lists the maps in an array.
func mapsAt(m map[string]any, key string) []map[string]any {
	array, _ := m[key].([]any)
	var out []map[string]any
	for _, v := range array {
		if v, ok := v.(map[string]any); ok {
			out = append(out, v)
		}
	}
	return out
}
