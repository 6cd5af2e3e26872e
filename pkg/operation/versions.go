package operation

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// lastApplied is kubectl's annotation (kubernetes/api, core/v1).
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// versionsOf lists the live versions of an artifact, oldest first. They are
// read live: a cache may be behind another's deploy.
func versionsOf(ctx context.Context, c Cluster, r cluster.Resource, namespace, name string) ([]*unstructured.Unstructured, error) {
	all, err := c.List(ctx, r, namespace, "")
	if err != nil {
		if cluster.Is(err, cluster.NotFound) {
			return nil, nil
		}
		return nil, err
	}
	return artifactsNamed(all, name), nil
}

func artifactsNamed(all []*unstructured.Unstructured, name string) []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	for _, o := range all {
		a := o.GetAnnotations()
		if a[spinnaker.AnnotationArtifactType] != "" && a[spinnaker.AnnotationArtifactName] == name {
			out = append(out, o)
		}
	}
	slices.SortStableFunc(out, older)
	return out
}

// older orders by creation, and by version where that is equal.
func older(a, b *unstructured.Unstructured) int {
	ta, tb := a.GetCreationTimestamp(), b.GetCreationTimestamp()
	if order := ta.Compare(tb.Time); order != 0 {
		return order
	}
	va, _ := versionOf(a)
	vb, _ := versionOf(b)
	return va - vb
}

func versionOf(o *unstructured.Unstructured) (int, bool) {
	return spinnaker.ParseVersion(o.GetAnnotations()[spinnaker.AnnotationArtifactVersion])
}

// chooseVersion takes the oldest version that was deployed with the same
// content, or the next number (operations.md 4.3).
func chooseVersion(existing []*unstructured.Unstructured, manifest map[string]any) (version int, reused bool) {
	next := 0
	for _, o := range existing {
		v, ok := versionOf(o)
		if !ok {
			continue
		}
		if sameContent(o, manifest) {
			return v, true
		}
		next = max(next, v+1)
	}
	return next, false
}

// sameContent compares all but the metadata with what an object was deployed
// with. Of secrets it is only looked at here.
func sameContent(o *unstructured.Unstructured, manifest map[string]any) bool {
	stored := o.GetAnnotations()[lastApplied]
	var before map[string]any
	if stored == "" || utiljson.Unmarshal([]byte(stored), &before) != nil {
		return false
	}
	return reflect.DeepEqual(withoutMetadata(before), withoutMetadata(manifest))
}

func withoutMetadata(m map[string]any) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		if k != "metadata" {
			out[k] = v
		}
	}
	return out
}

// setVersion gives a manifest a version: name, annotations and labels agree.
func setVersion(manifest map[string]any, name string, version int) {
	metadata := mapAt(manifest, "metadata")
	metadata["name"] = name + "-" + spinnaker.VersionText(version)
	for _, m := range []map[string]any{metadata, mapAt(manifest, "spec", "template", "metadata")} {
		if a, ok := m["annotations"].(map[string]any); ok {
			a[spinnaker.AnnotationArtifactVersion] = spinnaker.VersionText(version)
			a[spinnaker.AnnotationSequence] = fmt.Sprint(version)
		}
		if l, ok := m["labels"].(map[string]any); ok {
			if _, there := l[spinnaker.LabelSequence]; there {
				l[spinnaker.LabelSequence] = fmt.Sprint(version)
			}
		}
	}
}
