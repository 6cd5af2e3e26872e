package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// deletion is deleteManifest (operations.md 5.1).
type deletion struct {
	target
	Kinds          []string  `json:"kinds"`
	LabelSelectors selectors `json:"labelSelectors"`
	Options        struct {
		OrphanDependents   text `json:"orphanDependents"`
		OrphanDependants   text `json:"orphanDependants"` // as the UI's dialog spells it
		Cascading          text `json:"cascading"`
		GracePeriodSeconds text `json:"gracePeriodSeconds"`
	} `json:"options"`
}

func (d *deletion) check() error {
	if d.ManifestName != "" {
		return d.target.check()
	}
	if len(d.Kinds) == 0 {
		return errors.New("manifestName: must be given, or kinds with labelSelectors")
	}
	selector, err := d.LabelSelectors.selector()
	if err != nil {
		return err
	}
	if selector == nil {
		return errors.New("labelSelectors: must select something, or everything of the kinds would go")
	}
	return nil
}

// Validate implements Operation.
func (d *deletion) Validate(v *Validation) []string {
	if d.ManifestName != "" {
		return d.target.Validate(v)
	}
	var out []string
	for _, kind := range d.Kinds {
		for _, finding := range v.namespace(d.name, spinnaker.NormalKind(kind), d.Location) {
			if !slices.Contains(out, finding) {
				out = append(out, finding)
			}
		}
	}
	return out
}

func (d *deletion) propagation() (string, error) {
	for _, orphan := range []text{d.Options.OrphanDependents, d.Options.OrphanDependants} {
		if orphan.set {
			if strings.EqualFold(orphan.s, "true") {
				return string(metav1.DeletePropagationOrphan), nil
			}
			return string(metav1.DeletePropagationBackground), nil
		}
	}
	if !d.Options.Cascading.set {
		return string(metav1.DeletePropagationBackground), nil
	}
	switch strings.ToLower(d.Options.Cascading.s) {
	case "true", "background":
		return string(metav1.DeletePropagationBackground), nil
	case "false", "orphan":
		return string(metav1.DeletePropagationOrphan), nil
	case "foreground":
		return string(metav1.DeletePropagationForeground), nil
	}
	return "", fmt.Errorf("invalid cascade value (%s)", d.Options.Cascading.s)
}

// Plan implements Operation.
func (d *deletion) Plan(ctx context.Context, p *Planner) (*Plan, error) {
	propagation, err := d.propagation()
	if err != nil {
		return nil, err
	}
	location := p.Account.NamespaceFor(d.Location)
	plan := &Plan{Result: &ResultPlan{Location: &location}}
	var grace *int64
	if d.Options.GracePeriodSeconds.set {
		if n, err := strconv.ParseInt(strings.TrimSuffix(d.Options.GracePeriodSeconds.s, ".0"), 10, 64); err == nil && n >= 0 {
			grace = &n
		} else {
			plan.Lines = append(plan.Lines, fmt.Sprintf("options.gracePeriodSeconds %q is not a number and is ignored", d.Options.GracePeriodSeconds.s))
		}
	}
	remove := func(r cluster.Resource, o *unstructured.Unstructured) {
		s := p.step(Delete, r, o, d.App)
		s.Propagated, s.Grace, s.MayBeGone, s.TaskType = propagation, grace, true, "delete"
		plan.Steps = append(plan.Steps, s)
	}
	if d.ManifestName != "" {
		kind, name, _ := d.split()
		r, err := p.kind(ctx, kind)
		if err != nil {
			return nil, err
		}
		o, err := p.Cluster.Get(ctx, r, p.namespace(r, d.Location), name)
		switch {
		case cluster.Is(err, cluster.NotFound):
			plan.Lines = append(plan.Lines, spinnaker.FullName(r.KindText(), name)+" is not there")
		case err != nil:
			return nil, fmt.Errorf("read %s: %w", d.ManifestName, p.fail(err))
		default:
			remove(r, o)
		}
		return plan, nil
	}
	selector, err := d.LabelSelectors.selector()
	if err != nil {
		return nil, err
	}
	for _, kind := range d.Kinds {
		r, err := p.kind(ctx, kind)
		if err != nil {
			return nil, err
		}
		found, err := p.Cluster.List(ctx, r, p.namespace(r, d.Location), selector.String())
		if err != nil {
			return nil, p.fail(err)
		}
		for _, o := range found {
			remove(r, o)
		}
	}
	if len(plan.Steps) == 0 {
		plan.Lines = append(plan.Lines, "No object matches the label selectors "+selector.String())
		plan.Steps = append(plan.Steps, Step{Action: Nothing, Kind: d.Kinds[0], Namespace: location, Application: d.App, TaskType: "noop"})
	}
	return plan, nil
}

// cleanup is cleanupArtifacts (operations.md 5.10).
type cleanup struct {
	base
	Manifests []manifest `json:"manifests"`
}

func (c *cleanup) check() error {
	for i, m := range c.Manifests {
		if err := stored(m); err != nil {
			return fmt.Errorf("manifests[%d]: %w", i, err)
		}
	}
	return nil
}

// Validate implements Operation.
func (c *cleanup) Validate(v *Validation) []string {
	var out []string
	for _, m := range c.Manifests {
		if m == nil || annotation(m, spinnaker.AnnotationArtifactName) == "" {
			continue
		}
		out = append(out, v.namespace(c.name, kindText(textOf(m, "apiVersion"), textOf(m, "kind")), annotation(m, spinnaker.AnnotationArtifactLocation))...)
	}
	return out
}

// Plan implements Operation.
func (c *cleanup) Plan(ctx context.Context, p *Planner) (*Plan, error) {
	plan := &Plan{Result: &ResultPlan{NoManifests: true}}
	own := map[string]bool{}
	for _, m := range c.Manifests {
		own[textOf(m, "kind")+" "+metadataText(m, "namespace")+" "+metadataText(m, "name")] = true
	}
	gone := map[string]bool{}
	for _, m := range c.Manifests {
		keep, err := strconv.Atoi(annotation(m, spinnaker.AnnotationMaxHistory))
		name := annotation(m, spinnaker.AnnotationArtifactName)
		if err != nil || keep < 1 || name == "" {
			continue
		}
		text := kindText(textOf(m, "apiVersion"), textOf(m, "kind"))
		r, err := p.kind(ctx, text)
		if err != nil {
			return nil, err
		}
		versions, err := versionsOf(ctx, p.Cluster, r, p.namespace(r, annotation(m, spinnaker.AnnotationArtifactLocation)), name)
		if err != nil {
			return nil, p.fail(err)
		}
		for i := 0; i < len(versions)-keep; i++ {
			o := versions[i]
			if own[r.Kind+" "+o.GetNamespace()+" "+o.GetName()] || gone[string(o.GetUID())] {
				continue
			}
			gone[string(o.GetUID())] = true
			s := p.step(Delete, r, o, p.Application)
			s.Propagated, s.MayBeGone, s.TaskType = string(metav1.DeletePropagationBackground), true, "cleanup"
			plan.Steps = append(plan.Steps, s)
		}
	}
	return plan, nil
}
