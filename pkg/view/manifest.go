package view

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// Manifest is the answer of GET /manifests for one object (read-rest.md 1.2;
// spinnaker/clouddriver, KubernetesManifest's container).
type Manifest struct {
	Account   string               `json:"account"`
	Name      string               `json:"name"`
	Location  string               `json:"location"`
	Moniker   spinnaker.Moniker    `json:"moniker"`
	Manifest  map[string]any       `json:"manifest"`
	Status    ManifestStatus       `json:"status"`
	Artifacts []spinnaker.Artifact `json:"artifacts"`
	Events    []map[string]any     `json:"events"`
	Warnings  []string             `json:"warnings"`
	Metrics   []any                `json:"metrics"`
}

// State is one part of a status; a message that is nil is left out.
type State struct {
	State   bool    `json:"state"`
	Message *string `json:"message,omitempty"`
}

// ManifestStatus is what Orca waits for.
type ManifestStatus struct {
	Stable    State `json:"stable"`
	Paused    State `json:"paused"`
	Available State `json:"available"`
	Failed    State `json:"failed"`
}

// ForPanels adds the members that Deck's panels read without a test, after the
// status was made of the object as it is (read-rest.md 1.3).
func (m *Manifest) ForPanels(class spinnaker.Class) {
	if !class.FormsClusters() && class != spinnaker.LoadBalancers {
		return
	}
	if _, there := m.Manifest["spec"]; !there {
		m.Manifest["spec"] = map[string]any{}
	}
	if class == spinnaker.ServerGroups {
		return
	}
	status, ok := m.Manifest["status"].(map[string]any)
	if !ok {
		status = map[string]any{}
		m.Manifest["status"] = status
	}
	member, empty := "loadBalancer", any(map[string]any{})
	if class == spinnaker.ServerGroupManagers {
		member, empty = "conditions", []any{}
	}
	if status[member] == nil {
		status[member] = empty
	}
}

// NewManifest makes the answer for a live object with its events and
// references.
func NewManifest(account string, object *unstructured.Unstructured, references []spinnaker.Artifact, events []map[string]any) Manifest {
	group := object.GroupVersionKind().Group
	text := spinnaker.KindText(group, object.GetKind())
	m := Manifest{
		Account: account, Name: spinnaker.FullName(text, object.GetName()), Location: object.GetNamespace(),
		Moniker: spinnaker.MonikerOf(text, object.GetName(), object.GetAnnotations(), true),
		Status:  StatusOf(text, object.Object), Artifacts: references, Events: events, Warnings: []string{}, Metrics: []any{},
	}
	if m.Artifacts == nil {
		m.Artifacts = []spinnaker.Artifact{}
	}
	if m.Events == nil {
		m.Events = []map[string]any{}
	}
	slices.SortFunc(m.Artifacts, func(a, b spinnaker.Artifact) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Reference, b.Reference))
	})
	shown, _ := withoutNulls(object.DeepCopy().Object).(map[string]any)
	unstructured.RemoveNestedField(shown, "metadata", "managedFields")
	if text == "replicaSet" {
		if status, ok := shown["status"].(map[string]any); ok {
			// Orca casts these two to a floating-point type (operations.md 2.6).
			for _, key := range []string{"readyReplicas", "availableReplicas"} {
				if n, ok := status[key].(int64); ok {
					status[key] = json.RawMessage(fmt.Sprintf("%d.0", n))
				}
			}
		}
	}
	m.Manifest = shown
	return m
}

// withoutNulls drops members that are null, at every depth.
func withoutNulls(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, child := range v {
			if child == nil {
				delete(v, key)
				continue
			}
			v[key] = withoutNulls(child)
		}
	case []any:
		for i := range v {
			v[i] = withoutNulls(v[i])
		}
	}
	return v
}

// status is an object under evaluation.
type status struct {
	object map[string]any
	out    ManifestStatus
}

func (s *status) number(path ...string) int64 {
	n, _, _ := unstructured.NestedInt64(s.object, path...)
	return n
}

func (s *status) text(path ...string) string {
	t, _, _ := unstructured.NestedString(s.object, path...)
	return t
}

func (s *status) unstable(text string) ManifestStatus {
	s.out.Stable = State{false, &text}
	return s.out
}

func (s *status) unavailable(text string) ManifestStatus {
	s.unstable(text)
	s.out.Available = State{false, &text}
	return s.out
}

func (s *status) none() ManifestStatus {
	s.unstable("No status reported yet")
	text := "No availability reported"
	s.out.Available = State{false, &text}
	return s.out
}

// behind says whether the controller has not looked at the latest change.
func (s *status) behind() bool {
	observed, ok, _ := unstructured.NestedInt64(s.object, "status", "observedGeneration")
	generation, there, _ := unstructured.NestedInt64(s.object, "metadata", "generation")
	return !ok || !there || observed != generation
}

func (s *status) conditions(found func(c map[string]any)) {
	list, _, _ := unstructured.NestedSlice(s.object, "status", "conditions")
	for _, c := range list {
		if c, ok := c.(map[string]any); ok {
			found(c)
		}
	}
}

func messageOf(c map[string]any) *string {
	if m, ok := c["message"].(string); ok {
		return &m
	}
	return nil
}

func is(c map[string]any, key, value string) bool {
	v, _ := c[key].(string)
	return strings.EqualFold(v, value)
}

const generation = "Waiting for status generation to match updated object generation"

// StatusOf evaluates an object by the rules of its kind (read-rest.md 1.9;
// spinnaker/clouddriver, the handlers' status methods).
func StatusOf(kindText string, object map[string]any) ManifestStatus {
	s := &status{object: object}
	s.out.Stable.State, s.out.Available.State = true, true
	_, reported := object["status"].(map[string]any)
	rule := map[string]func() ManifestStatus{
		"deployment": s.deployment, "replicaSet": s.replicaSet, "daemonSet": s.daemonSet, "pod": s.pod, "job": s.job,
		"cronJob": func() ManifestStatus { return s.out }, "horizontalpodautoscaler": s.autoscaler, "statefulSet": s.statefulSet,
	}[kindText]
	switch {
	case rule == nil:
		return s.out
	case kindText == "statefulSet" && strings.EqualFold(s.text("spec", "updateStrategy", "type"), "OnDelete"):
		return s.out
	case !reported:
		return s.none()
	}
	return rule()
}

func (s *status) deployment() ManifestStatus {
	if s.behind() {
		return s.unstable(generation)
	}
	s.conditions(func(c map[string]any) {
		if is(c, "reason", "DeploymentPaused") {
			s.out.Paused = State{true, messageOf(c)}
		}
		if is(c, "type", "Available") && is(c, "status", "False") {
			s.out.Stable, s.out.Available = State{false, messageOf(c)}, State{false, messageOf(c)}
		}
		if is(c, "type", "Progressing") && is(c, "reason", "ProgressDeadlineExceeded") {
			text := "Deployment exceeded its progress deadline"
			s.out.Failed = State{true, &text}
		}
	})
	if paused, _, _ := unstructured.NestedBool(s.object, "spec", "paused"); paused && !s.out.Paused.State {
		// Past its progress deadline a Deployment keeps that reason, paused or not.
		text := "Deployment is paused"
		s.out.Paused = State{true, &text}
	}
	desired := s.number("spec", "replicas")
	switch {
	case s.number("status", "updatedReplicas") < desired:
		return s.unstable("Waiting for all replicas to be updated")
	case s.number("status", "replicas") > s.number("status", "updatedReplicas"):
		return s.unstable("Waiting for old replicas to finish termination")
	case s.number("status", "availableReplicas") < desired:
		return s.unstable("Waiting for all replicas to be available")
	case s.number("status", "readyReplicas") < desired:
		return s.unstable("Waiting for all replicas to be ready")
	}
	return s.out
}

func (s *status) replicaSet() ManifestStatus {
	desired := s.number("spec", "replicas")
	for _, c := range []struct{ field, text string }{{"fullyLabeledReplicas", "fully-labeled"}, {"readyReplicas", "ready"}, {"availableReplicas", "available"}} {
		if desired > s.number("status", c.field) {
			return s.unavailable("Waiting for all replicas to be " + c.text)
		}
	}
	if s.behind() {
		return s.unstable("Waiting for replicaset spec update to be observed")
	}
	return s.out
}

func (s *status) statefulSet() ManifestStatus {
	if s.behind() {
		return s.unstable(generation)
	}
	desired := s.number("spec", "replicas")
	switch {
	case desired > s.number("status", "replicas"):
		return s.unstable("Waiting for at least the desired replica count to be met")
	case desired > s.number("status", "readyReplicas"):
		return s.unstable("Waiting for all updated replicas to be ready")
	}
	updated, reported, _ := unstructured.NestedInt64(s.object, "status", "updatedReplicas")
	rolling, partitioned, _ := unstructured.NestedMap(s.object, "spec", "updateStrategy", "rollingUpdate")
	if strategy := s.text("spec", "updateStrategy", "type"); partitioned && reported && (strategy == "" || strings.EqualFold(strategy, "RollingUpdate")) {
		replicas, counted, _ := unstructured.NestedInt64(s.object, "status", "replicas")
		partition, set := rolling["partition"].(int64)
		if counted && set && updated < replicas-partition {
			return s.unstable("Waiting for partitioned roll out to finish")
		}
		text := "Partitioned roll out complete"
		s.out.Stable.Message = &text
		return s.out
	}
	if desired > s.number("status", "currentReplicas") {
		return s.unstable("Waiting for all updated replicas to be scheduled")
	}
	current, a, _ := unstructured.NestedString(s.object, "status", "currentRevision")
	update, b, _ := unstructured.NestedString(s.object, "status", "updateRevision")
	if a && b && current != update {
		return s.unstable("Waiting for the updated revision to match the current revision")
	}
	return s.out
}

func (s *status) daemonSet() ManifestStatus {
	if s.behind() {
		return s.unstable(generation)
	}
	if !strings.EqualFold(s.text("spec", "updateStrategy", "type"), "RollingUpdate") {
		return s.out
	}
	desired := s.number("status", "desiredNumberScheduled")
	for _, c := range []struct{ field, text string }{
		{"currentNumberScheduled", "replicas to be scheduled"}, {"updatedNumberScheduled", "updated replicas to be scheduled"},
		{"numberAvailable", "replicas to be available"}, {"numberReady", "replicas to be ready"},
	} {
		if desired > s.number("status", c.field) {
			return s.unstable("Waiting for all " + c.text)
		}
	}
	return s.out
}

func (s *status) pod() ManifestStatus {
	switch strings.ToLower(s.text("status", "phase")) {
	case "running", "succeeded":
		return s.out
	case "pending":
		return s.unavailable("Pod is pending")
	case "failed":
		return s.unavailable("Pod has failed")
	}
	return s.unavailable("Pod phase is unknown")
}

func (s *status) job() ManifestStatus {
	// The end is read, not counted: of a work queue there is no number to reach,
	// and a success policy ends a job before it is reached.
	ended := false
	s.conditions(func(c map[string]any) {
		switch {
		case !is(c, "status", "True"):
		case is(c, "type", "Failed"):
			ended, s.out.Failed = true, State{true, messageOf(c)}
		case is(c, "type", "Complete"):
			ended = true
		}
	})
	if ended {
		return s.out
	}
	return s.unstable("Waiting for jobs to finish")
}

func (s *status) autoscaler() ManifestStatus {
	desired, current := s.number("status", "desiredReplicas"), s.number("status", "currentReplicas")
	switch {
	case desired > current:
		return s.unstable(fmt.Sprintf("Waiting for HPA to complete a scale up, current: %d desired: %d", current, desired))
	case desired < current:
		return s.unstable(fmt.Sprintf("Waiting for HPA to complete a scale down, current: %d desired: %d", current, desired))
	}
	return s.out
}
