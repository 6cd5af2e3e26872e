package operation

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// moniker is the one of a request.
type moniker struct {
	App      string `json:"app"`
	Cluster  string `json:"cluster"`
	Stack    string `json:"stack"`
	Detail   string `json:"detail"`
	Sequence *int   `json:"sequence"`
}

// labeling is how objects are labelled.
type labeling struct {
	// ManagedBy is the value of app.kubernetes.io/managed-by.
	ManagedBy string
	Off       bool
}

// describe writes Spinnaker's annotations and labels (operations.md 3.5).
// kindText, name and namespace are those of the manifest without its version;
// version is -1 for none.
func describe(manifest map[string]any, kindText, name, namespace string, version int, m moniker, l labeling, skipTemplateLabels bool) {
	versionText, sequence := "", ""
	if m.Sequence != nil {
		sequence = strconv.Itoa(*m.Sequence)
	}
	if version >= 0 {
		versionText, sequence = spinnaker.VersionText(version), strconv.Itoa(version)
	}
	cluster := m.Cluster
	if cluster == "" {
		cluster = spinnaker.FullName(kindText, name)
	}
	own := map[string]string{
		spinnaker.AnnotationArtifactType: spinnaker.KubernetesArtifactPrefix + kindText, spinnaker.AnnotationArtifactName: name,
		spinnaker.AnnotationArtifactLocation: namespace, spinnaker.AnnotationArtifactVersion: versionText,
		spinnaker.AnnotationCluster: cluster,
	}
	for key, value := range map[string]string{spinnaker.AnnotationApplication: m.App, spinnaker.AnnotationStack: m.Stack, spinnaker.AnnotationDetail: m.Detail, spinnaker.AnnotationSequence: sequence} {
		if value != "" {
			own[key] = value
		}
	}
	// On a versioned object these agree with its name, whatever an edited
	// object brought along.
	forced := map[string]bool{}
	if version >= 0 {
		for _, key := range []string{
			spinnaker.AnnotationArtifactType, spinnaker.AnnotationArtifactName, spinnaker.AnnotationArtifactLocation,
			spinnaker.AnnotationArtifactVersion, spinnaker.AnnotationSequence,
		} {
			forced[key] = true
		}
	}
	labels := map[string]string{spinnaker.LabelManagedBy: l.ManagedBy}
	if m.App != "" {
		labels[spinnaker.LabelName] = m.App
	}
	if sequence != "" {
		labels[spinnaker.LabelSequence] = sequence
	}
	overwritten := map[string]bool{spinnaker.LabelManagedBy: true, spinnaker.LabelSequence: true}

	metadata := mapAt(manifest, "metadata")
	write(metadata, "annotations", own, forced)
	if !l.Off {
		write(metadata, "labels", labels, overwritten)
	}
	if template := mapAt(manifest, "spec", "template", "metadata"); template != nil {
		write(template, "annotations", own, forced)
		if !l.Off && !skipTemplateLabels {
			write(template, "labels", labels, overwritten)
		}
	}
}

func write(metadata map[string]any, key string, values map[string]string, force map[string]bool) {
	m, _ := metadata[key].(map[string]any)
	if m == nil {
		m = map[string]any{}
		metadata[key] = m
	}
	for k, v := range values {
		if _, there := m[k]; !there || force[k] {
			m[k] = v
		}
	}
}

// normalize turns scalar annotations and labels into the strings that
// Kubernetes demands, as YAML loses the quotes of "true" and "5".
func normalize(manifest map[string]any) {
	for _, metadata := range []map[string]any{mapAt(manifest, "metadata"), mapAt(manifest, "spec", "template", "metadata")} {
		for _, key := range []string{"annotations", "labels"} {
			m, ok := metadata[key].(map[string]any)
			if !ok {
				if metadata != nil && metadata[key] == nil {
					delete(metadata, key)
				}
				continue
			}
			for k, v := range m {
				switch v := v.(type) {
				case nil:
					delete(m, k)
				case bool, int64, float64, json.Number:
					m[k] = fmt.Sprint(v)
				}
			}
		}
	}
}

func annotation(manifest map[string]any, key string) string {
	v, _ := mapAt(manifest, "metadata", "annotations")[key].(string)
	return v
}

// podLabels are those that services select by: the template's, if it has
// metadata, else the object's own. They can be changed.
func podLabels(manifest map[string]any) map[string]any {
	metadata := mapAt(manifest, "spec", "template", "metadata")
	if metadata == nil {
		metadata = mapAt(manifest, "metadata")
	}
	labels, _ := metadata["labels"].(map[string]any)
	if labels == nil {
		labels = map[string]any{}
		metadata["labels"] = labels
	}
	return labels
}

var traffic = []string{"deployment", "replicaSet", "statefulSet", "daemonSet", "job", "cronJob", "pod"}

// receivesTraffic says whether the services of a deploy count for the kind.
func receivesTraffic(kindText string) bool { return oneOf(kindText, traffic...) }

func oneOf(kindText string, kinds ...string) bool {
	for _, k := range kinds {
		if spinnaker.SameKind(kindText, k) {
			return true
		}
	}
	return false
}

// recordServices writes the services into the annotation (operations.md 4.5).
func recordServices(manifest map[string]any, services []string) error {
	if len(services) == 0 {
		return nil
	}
	wanted, err := json.Marshal(services)
	if err != nil {
		return err
	}
	if there := annotation(manifest, spinnaker.AnnotationLoadBalancers); there != "" {
		var list []string
		if json.Unmarshal([]byte(there), &list) != nil || strings.Join(list, "\n") != strings.Join(services, "\n") {
			return fmt.Errorf("the manifest already has the annotation %s with %s, and the deploy asks for %s: remove one of them", spinnaker.AnnotationLoadBalancers, there, wanted)
		}
		return nil
	}
	write(mapAt(manifest, "metadata"), "annotations", map[string]string{spinnaker.AnnotationLoadBalancers: string(wanted)}, nil)
	return nil
}

// attach adds a service's selector to the labels.
func attach(labels map[string]any, service string, selector map[string]any) error {
	if len(selector) == 0 {
		return fmt.Errorf("%s has no selector, so nothing can be attached to it", service)
	}
	for key := range selector {
		if _, there := labels[key]; there {
			return fmt.Errorf("%s selects by the label %s, which the manifest sets itself: remove the label from the manifest", service, key)
		}
	}
	maps.Copy(labels, selector)
	return nil
}
