package operation

import (
	"context"
	"errors"
	"fmt"
	"strings"

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
	if err := complete(o.Manifest); err != nil {
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
