package operation

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
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
	labelTemplates := !l.Off && !skipTemplateLabels
	if labelTemplates && oneOf(kindText, "job") {
		madeMetadata(manifest, "spec", "template")
	}
	if template := mapAt(manifest, "spec", "template", "metadata"); template != nil {
		write(template, "annotations", own, forced)
		if labelTemplates {
			write(template, "labels", labels, overwritten)
		}
	}
	if labelTemplates && oneOf(kindText, "cronJob") {
		for _, path := range [][]string{{"spec", "jobTemplate"}, {"spec", "jobTemplate", "spec", "template"}} {
			if child := madeMetadata(manifest, path...); child != nil {
				write(child, "annotations", monikerOnly(own), forced)
				write(child, "labels", labels, overwritten)
			}
		}
	}
}

// madeMetadata is the metadata of a template, made where it has none: children
// are found by the labels that they get from it. nil when there is no template.
func madeMetadata(manifest map[string]any, path ...string) map[string]any {
	template := mapAt(manifest, path...)
	if template == nil {
		return nil
	}
	if template["metadata"] == nil {
		template["metadata"] = map[string]any{}
	}
	return mapAt(template, "metadata")
}

// monikerOnly leaves out whose artifact an object is: a job that a cron job
// makes is no version of it.
func monikerOnly(own map[string]string) map[string]string {
	out := maps.Clone(own)
	for _, key := range []string{
		spinnaker.AnnotationArtifactType, spinnaker.AnnotationArtifactName, spinnaker.AnnotationArtifactLocation, spinnaker.AnnotationArtifactVersion,
	} {
		delete(out, key)
	}
	return out
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

// attachment collects the selectors of services on the labels that they select
// by.
type attachment struct {
	labels map[string]any
	// by says which service has added a label.
	by map[string]string
}

// attach adds a service's selector. Two services may select by one label if
// they want one value of it.
func (a *attachment) attach(service string, selector map[string]any) error {
	if len(selector) == 0 {
		return fmt.Errorf("%s has no selector, so nothing can be attached to it", service)
	}
	for _, key := range slices.Sorted(maps.Keys(selector)) {
		now, there := a.labels[key]
		other := a.by[key]
		switch {
		case !there:
			a.labels[key], a.by[key] = selector[key], service
		case other == "":
			return fmt.Errorf("%s selects by the label %s, which the manifest sets itself: remove the label from the manifest", service, key)
		case now != selector[key]:
			return fmt.Errorf("%s selects by the label %s=%v and %s by %s=%v: nothing can be attached to both", other, key, now, service, key, selector[key])
		}
	}
	return nil
}
