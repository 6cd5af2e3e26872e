package operation

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// restart is rollingRestartManifest (operations.md 5.5).
type restart struct{ target }

const restartedAt = "kubectl.kubernetes.io/restartedAt"

// Plan implements Operation. The time is part of the plan, so that going on
// with it restarts nothing twice.
func (o *restart) Plan(ctx context.Context, p *Planner) (*Plan, error) {
	r, live, err := p.capable(ctx, o.target, "rolling restart", "deployment", "statefulSet", "daemonSet")
	if err != nil {
		return nil, err
	}
	if paused, _, _ := unstructured.NestedBool(live.Object, "spec", "paused"); paused {
		return nil, fmt.Errorf("%s is paused and cannot be restarted: resume it first", o.ManifestName)
	}
	return p.patching(r, live, o.App, types.StrategicMergePatchType, map[string]any{"spec": map[string]any{"template": map[string]any{
		"metadata": map[string]any{"annotations": map[string]any{restartedAt: p.Now.UTC().Format(time.RFC3339)}},
	}}})
}

// capable reads the target and refuses kinds that lack a capability
// (operations.md 3.2).
func (p *Planner) capable(ctx context.Context, t target, capability string, kinds ...string) (cluster.Resource, *unstructured.Unstructured, error) {
	text, _, _ := t.split()
	if !oneOf(text, kinds...) { // it may be one of kubectl's names of the kind
		r, err := p.kind(ctx, text)
		if err != nil {
			return r, nil, err
		}
		if !oneOf(r.KindText(), kinds...) {
			return r, nil, fmt.Errorf("%s: the kind %s does not support %s", t.ManifestName, r.KindText(), capability)
		}
	}
	return p.target(ctx, t)
}

// patching plans one patch that holds only for the object as identified.
func (p *Planner) patching(r cluster.Resource, live *unstructured.Unstructured, app string, kind types.PatchType, patch any) (*Plan, error) {
	body, err := json.Marshal(patch)
	if err != nil {
		return nil, err
	}
	s := p.step(Patch, r, live, app)
	s.PatchType, s.Patch = kind, body
	return &Plan{Steps: []Step{s}}, nil
}

// pause is pauseRolloutManifest and resumeRolloutManifest (operations.md 5.6).
type pause struct {
	target
	paused bool
}

// Plan implements Operation.
func (o *pause) Plan(ctx context.Context, p *Planner) (*Plan, error) {
	capability, state := "resuming a rollout", "not paused"
	if o.paused {
		capability, state = "pausing a rollout", "paused"
	}
	r, live, err := p.capable(ctx, o.target, capability, "deployment")
	if err != nil {
		return nil, err
	}
	if now, _, _ := unstructured.NestedBool(live.Object, "spec", "paused"); now == o.paused {
		s := p.step(Nothing, r, live, o.App)
		s.Says = o.ManifestName + " is already " + state
		return &Plan{Steps: []Step{s}}, nil
	}
	return p.patching(r, live, o.App, types.StrategicMergePatchType, map[string]any{"spec": map[string]any{"paused": o.paused}})
}

// scale is scaleManifest (operations.md 5.2).
type scale struct {
	target
	Replicas number `json:"replicas"`
}

func (o *scale) check() error {
	if !o.Replicas.set || o.Replicas.n < 0 {
		return errors.New("replicas: must be a number, 0 or more")
	}
	return o.target.check()
}

// Plan implements Operation.
func (o *scale) Plan(ctx context.Context, p *Planner) (*Plan, error) {
	return scaling(ctx, p, o.target, "scale", o.Replicas.n, "deployment", "replicaSet", "statefulSet")
}

func scaling(ctx context.Context, p *Planner, t target, capability string, replicas int64, kinds ...string) (*Plan, error) {
	r, live, err := p.capable(ctx, t, capability, kinds...)
	if err != nil {
		return nil, err
	}
	s := p.step(Scale, r, live, t.App)
	s.Replicas = &replicas
	return &Plan{Steps: []Step{s}}, nil
}

// resize is resizeServerGroup (operations.md 5.3).
type resize struct {
	target
	ServerGroupName string `json:"serverGroupName"`
	Region          string `json:"region"`
	Capacity        *struct {
		Desired number `json:"desired"`
	} `json:"capacity"`
}

func (o *resize) check() error {
	if o.Capacity == nil || !o.Capacity.Desired.set {
		return finding("capacity.empty")
	}
	if o.Capacity.Desired.n < 0 {
		return errors.New("capacity.desired: must be a number, 0 or more")
	}
	o.ManifestName, o.Location = o.ServerGroupName, o.Region
	if err := o.target.check(); err != nil {
		return fmt.Errorf("serverGroupName: %q is not a kind, one space and a name, such as \"replicaSet web-v003\"", o.ServerGroupName)
	}
	return nil
}

// Plan implements Operation.
func (o *resize) Plan(ctx context.Context, p *Planner) (*Plan, error) {
	return scaling(ctx, p, o.target, "resize", o.Capacity.Desired.n, "deployment", "replicaSet", "statefulSet", "daemonSet")
}

// undo is undoRolloutManifest (operations.md 5.4).
type undo struct {
	target
	NumRevisionsBack number `json:"numRevisionsBack"`
	Revision         number `json:"revision"`
}

func (o *undo) check() error {
	if !o.NumRevisionsBack.set && !o.Revision.set {
		return finding("numRevisionsBack & revision.empty")
	}
	return o.target.check()
}

// revision is one of an object's history.
type revision struct {
	number int64
	object *unstructured.Unstructured
}

const revisionAnnotation = spinnaker.AnnotationRevision

// deploymentKeeps are annotations that an undo leaves as they are
// (kubernetes/kubectl, pkg/polymorphichelpers/rollback.go).
var deploymentKeeps = []string{
	lastApplied, revisionAnnotation, "deployment.kubernetes.io/revision-history", "deployment.kubernetes.io/desired-replicas",
	"deployment.kubernetes.io/max-replicas", "deprecated.deployment.rollback.to",
}

// Plan implements Operation. The patch holds the chosen template, so that
// going on with it does not go back twice.
func (o *undo) Plan(ctx context.Context, p *Planner) (*Plan, error) {
	r, live, err := p.capable(ctx, o.target, "undoing a rollout", "deployment", "statefulSet", "daemonSet")
	if err != nil {
		return nil, err
	}
	isDeployment := spinnaker.SameKind(r.KindText(), "deployment")
	if paused, _, _ := unstructured.NestedBool(live.Object, "spec", "paused"); paused && isDeployment {
		return nil, fmt.Errorf("%s is paused and cannot be rolled back: resume it first", o.ManifestName)
	}
	history, err := p.history(ctx, live, isDeployment)
	if err != nil {
		return nil, err
	}
	chosen, err := o.choose(history)
	if err != nil {
		return nil, err
	}
	if !isDeployment {
		data, _ := chosen.object.Object["data"].(map[string]any)
		if current, ok := mapAt(data, "spec")["template"]; ok {
			want, _ := current.(map[string]any)
			want = runtime.DeepCopyJSON(want)
			delete(want, "$patch")
			if reflect.DeepEqual(want, mapAt(live.Object, "spec", "template")) {
				return p.unchanged(r, live, o), nil
			}
		}
		return p.patching(r, live, o.App, types.StrategicMergePatchType, data)
	}
	template := runtime.DeepCopyJSON(mapAt(chosen.object.Object, "spec", "template"))
	if l := mapAt(template, "metadata", "labels"); l != nil {
		delete(l, "pod-template-hash")
	}
	current := runtime.DeepCopyJSON(mapAt(live.Object, "spec", "template"))
	if l := mapAt(current, "metadata", "labels"); l != nil {
		delete(l, "pod-template-hash")
	}
	if reflect.DeepEqual(template, current) {
		return p.unchanged(r, live, o), nil
	}
	annotations := map[string]any{}
	for k, v := range chosen.object.GetAnnotations() {
		if !slices.Contains(deploymentKeeps, k) {
			annotations[k] = v
		}
	}
	for _, k := range deploymentKeeps {
		if v, ok := live.GetAnnotations()[k]; ok {
			annotations[k] = v
		}
	}
	return p.patching(r, live, o.App, types.JSONPatchType, []any{
		map[string]any{"op": "replace", "path": "/spec/template", "value": template},
		map[string]any{"op": "add", "path": "/metadata/annotations", "value": annotations},
	})
}

func (p *Planner) unchanged(r cluster.Resource, live *unstructured.Unstructured, o *undo) *Plan {
	s := p.step(Nothing, r, live, o.App)
	s.Says = o.ManifestName + " already has the template of that revision"
	return &Plan{Steps: []Step{s}}
}

// history is an object's revisions, ascending.
func (p *Planner) history(ctx context.Context, live *unstructured.Unstructured, isDeployment bool) ([]revision, error) {
	kind := "controllerRevision"
	if isDeployment {
		kind = "replicaSet"
	}
	r, err := p.kind(ctx, kind)
	if err != nil {
		return nil, err
	}
	all, err := p.Cluster.List(ctx, r, live.GetNamespace(), "")
	if err != nil {
		return nil, p.fail(err)
	}
	var out []revision
	for _, o := range all {
		if c := metav1.GetControllerOf(o); c == nil || c.UID != live.GetUID() {
			continue
		}
		n, _, _ := unstructured.NestedInt64(o.Object, "revision")
		if isDeployment {
			n, err = strconv.ParseInt(o.GetAnnotations()[revisionAnnotation], 10, 64)
			if err != nil {
				continue // not numbered yet
			}
		}
		out = append(out, revision{n, o})
	}
	slices.SortFunc(out, func(a, b revision) int { return cmp.Compare(a.number, b.number) })
	return out, nil
}

func (o *undo) choose(history []revision) (revision, error) {
	back := o.NumRevisionsBack.n
	if !o.NumRevisionsBack.set {
		if o.Revision.n != 0 {
			for _, h := range history {
				if h.number == o.Revision.n {
					return h, nil
				}
			}
			return revision{}, fmt.Errorf("%s: there is no revision %d", o.ManifestName, o.Revision.n)
		}
		back = 1
	}
	i := int64(len(history)) - back - 1
	if i < 0 || i >= int64(len(history)) {
		return revision{}, fmt.Errorf("%s: cannot go back %d revisions, there are %d", o.ManifestName, back, len(history))
	}
	return history[i], nil
}
