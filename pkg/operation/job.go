package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// runJob is runJob (operations.md 5.9): a deploy of one Job that replaces the
// one before it.
type runJob struct {
	base
	Application       string                `json:"application"`
	Manifest          manifest              `json:"manifest"`
	Namespace         string                `json:"namespace"`
	RequiredArtifacts []*spinnaker.Artifact `json:"requiredArtifacts"`
	OptionalArtifacts []*spinnaker.Artifact `json:"optionalArtifacts"`
}

func (o *runJob) check() error {
	if o.Manifest == nil {
		return errors.New("manifest: must be given")
	}
	if err := stored(o.Manifest); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	if err := complete(o.Manifest, o.size); err != nil {
		return fmt.Errorf("manifest.%w", err)
	}
	return nil
}

func (o *runJob) deploy() *deploy {
	job := &deploy{base: o.base, job: true, Moniker: &moniker{App: o.Application}, RequiredArtifacts: o.RequiredArtifacts, OptionalArtifacts: o.OptionalArtifacts}
	metadata := mapAt(o.Manifest, "metadata")
	if namespace := strings.TrimSpace(o.Namespace); namespace != "" {
		metadata["namespace"] = namespace
	}
	if annotations := mapAt(metadata, "annotations"); annotations != nil {
		for _, key := range []string{spinnaker.AnnotationReplace, spinnaker.AnnotationServerApply} {
			delete(annotations, key)
		}
	}
	write(metadata, "annotations", map[string]string{spinnaker.AnnotationRecreate: "true"}, map[string]bool{spinnaker.AnnotationRecreate: true})
	job.Manifests = []manifest{o.Manifest}
	return job
}

// Validate implements Operation.
func (o *runJob) Validate(v *Validation) []string { return o.deploy().Validate(v) }

// Plan implements Operation.
func (o *runJob) Plan(ctx context.Context, p *Planner) (*Plan, error) {
	if kind := textOf(o.Manifest, "kind"); kind != "Job" {
		return nil, fmt.Errorf("manifest.kind: only a Job can be run, not a %s", kind)
	}
	return o.deploy().Plan(ctx, p)
}

// Ran is a job that was run by a runJob operation.
type Ran struct{ Namespace, Name, UID string }

// What becomes of a job whose stage is cancelled (read-rest.md 2.6).
const (
	CancelDeletes  = "true"
	CancelKeeps    = "false"
	CancelSuspends = "suspend"
)

// destroyJob is destroyJob (operations.md 5.11): what Orca sends when a stage
// that runs a job is cancelled. It names no job; the one that is meant is the
// unfinished one of the same execution.
type destroyJob struct {
	base
	Region string `json:"region"`
}

func (o *destroyJob) check() error { return nil }

// Validate implements Operation.
func (o *destroyJob) Validate(v *Validation) []string {
	if v.OnCancel == CancelKeeps {
		return []string{"destroyJob: jobs.cancelDeletes is off: jobs are left alone when their stage is cancelled"}
	}
	return nil
}

// Plan implements Operation.
func (o *destroyJob) Plan(ctx context.Context, p *Planner) (*Plan, error) {
	plan := &Plan{}
	say := func(line string) (*Plan, error) {
		plan.Lines = append(plan.Lines, line+"; nothing is cancelled")
		return plan, nil
	}
	if p.Execution == "" || p.Ran == nil {
		return say("The request names no execution")
	}
	ran, err := p.Ran(ctx, o.AccountName(), p.Execution)
	if err != nil {
		return nil, err
	}
	r, err := p.kind(ctx, "job")
	if err != nil {
		return nil, err
	}
	var running []*unstructured.Unstructured
	for _, one := range ran {
		if o.Region != "" && one.Namespace != p.Account.NamespaceFor(o.Region) {
			continue
		}
		job, err := p.Cluster.Get(ctx, r, one.Namespace, one.Name)
		if cluster.Is(err, cluster.NotFound) {
			continue
		}
		if err != nil {
			return nil, p.fail(err)
		}
		if string(job.GetUID()) == one.UID && !ended(job) {
			running = append(running, job)
		}
	}
	switch len(running) {
	case 0:
		return say("The execution has no unfinished job in this account")
	case 1:
	default:
		return say(fmt.Sprintf("The execution has %d unfinished jobs in this account, and the request does not say which one is meant", len(running)))
	}
	s, err := p.cancelling(r, running[0])
	if err != nil {
		return nil, err
	}
	plan.Steps = append(plan.Steps, s)
	return plan, nil
}

// cancelling is the step that ends a job as the settings say.
func (p *Planner) cancelling(r cluster.Resource, job *unstructured.Unstructured) (Step, error) {
	if p.Settings.OnCancel == CancelSuspends {
		plan, err := p.patching(r, job, p.Application, types.MergePatchType, map[string]any{"spec": map[string]any{"suspend": true}})
		if err != nil {
			return Step{}, err
		}
		plan.Steps[0].MayBeGone, plan.Steps[0].Says = true, "Suspended job "+job.GetName()+", whose stage was cancelled"
		return plan.Steps[0], nil
	}
	s := p.step(Delete, r, job, p.Application)
	s.Propagated, s.MayBeGone, s.TaskType = string(metav1.DeletePropagationBackground), true, "delete"
	s.Says = "Deleted job " + job.GetName() + ", whose stage was cancelled"
	return s, nil
}

// ended says whether a job is over, one way or the other.
func ended(job *unstructured.Unstructured) bool { return hasCondition(job, "Complete", "Failed") }

// hasCondition says whether one of the conditions holds for an object.
func hasCondition(o *unstructured.Unstructured, types ...string) bool {
	return slices.ContainsFunc(mapsAt(mapAt(o.Object, "status"), "conditions"), func(c map[string]any) bool {
		said, _ := c["type"].(string)
		return c["status"] == "True" && slices.Contains(types, said)
	})
}
