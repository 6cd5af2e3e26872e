package operation

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// lastApplied is kubectl's annotation (kubernetes/api, core/v1).
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// versionsOf lists the live versions of an artifact, oldest first. They are
// read live: a cache may be behind another's deploy.
func versionsOf(ctx context.Context, c Cluster, r cluster.Resource, namespace, name string) ([]*metav1.PartialObjectMetadata, error) {
	all, err := metadataOf(ctx, c, r, namespace)
	return artifactsNamed(all, name), err
}

// metadataOf lists that of a whole kind: objects of former releases lack the
// labels that could choose among them.
func metadataOf(ctx context.Context, c Cluster, r cluster.Resource, namespace string) ([]*metav1.PartialObjectMetadata, error) {
	all, err := c.Metadata(ctx, r, namespace)
	if cluster.Is(err, cluster.NotFound) {
		return nil, nil
	}
	return all, err
}

func artifactsNamed(all []*metav1.PartialObjectMetadata, name string) []*metav1.PartialObjectMetadata {
	var out []*metav1.PartialObjectMetadata
	for _, o := range all {
		if o.Annotations[spinnaker.AnnotationArtifactType] != "" && o.Annotations[spinnaker.AnnotationArtifactName] == name {
			out = append(out, o)
		}
	}
	slices.SortStableFunc(out, func(a, b *metav1.PartialObjectMetadata) int { return older(a, b) })
	return out
}

func versionOf(o metav1.Object) (int, bool) {
	return spinnaker.ParseVersion(o.GetAnnotations()[spinnaker.AnnotationArtifactVersion])
}

// chooseVersion takes the oldest version that was deployed with the same
// content and stays, or the next number (operations.md 4.3).
func chooseVersion(existing []*metav1.PartialObjectMetadata, manifest map[string]any) (version int, reused bool) {
	for _, o := range existing {
		if v, ok := versionOf(o); ok && o.DeletionTimestamp == nil && sameContent(o, manifest) {
			return v, true
		}
	}
	return nextVersion(existing), false
}

// nextVersion is the one after all that there are.
func nextVersion(existing []*metav1.PartialObjectMetadata) int {
	next := 0
	for _, o := range existing {
		if v, ok := versionOf(o); ok {
			next = max(next, v+1)
		}
	}
	return next
}

// sameContent compares all but the metadata with what an object was deployed
// with. Of secrets it is only looked at here.
func sameContent(o metav1.Object, manifest map[string]any) bool {
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
	for _, place := range places(manifest) {
		m := place.metadata
		if a, ok := m["annotations"].(map[string]any); ok {
			if _, there := a[spinnaker.AnnotationArtifactVersion]; there {
				a[spinnaker.AnnotationArtifactVersion] = spinnaker.VersionText(version)
			}
			a[spinnaker.AnnotationSequence] = fmt.Sprint(version)
		}
		if l, ok := m["labels"].(map[string]any); ok {
			if _, there := l[spinnaker.LabelSequence]; there {
				l[spinnaker.LabelSequence] = fmt.Sprint(version)
			}
		}
	}
}
