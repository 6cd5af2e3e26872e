package operation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// deploy is deployManifest (operations.md 4).
type deploy struct {
	base
	Manifests              []manifest            `json:"manifests"`
	Manifest               manifest              `json:"manifest"`
	Moniker                *moniker              `json:"moniker"`
	NamespaceOverride      string                `json:"namespaceOverride"`
	Versioned              *bool                 `json:"versioned"`
	RequiredArtifacts      []*spinnaker.Artifact `json:"requiredArtifacts"`
	OptionalArtifacts      []*spinnaker.Artifact `json:"optionalArtifacts"`
	EnableArtifactBinding  *bool                 `json:"enableArtifactBinding"`
	Services               []string              `json:"services"`
	EnableTraffic          *bool                 `json:"enableTraffic"`
	Strategy               string                `json:"strategy"`
	LabelSelectors         selectors             `json:"labelSelectors"`
	AllowNothingSelected   bool                  `json:"allowNothingSelected"`
	SkipSpecTemplateLabels bool                  `json:"skipSpecTemplateLabels"`

	job bool
}

func (d *deploy) check() error {
	if d.Moniker == nil {
		return errors.New("moniker: must be given, with at least the application: {\"app\": \"web\"}")
	}
	if _, err := d.LabelSelectors.selector(); err != nil {
		return err
	}
	flat, err := flatten(d.Manifests, d.size)
	if err != nil {
		return err
	}
	if len(flat) == 0 && d.Manifest != nil {
		if flat, err = flatten([]manifest{d.Manifest}, d.size); err != nil {
			return err
		}
	}
	d.Manifests = flat
	return nil
}

// Validate implements Operation.
func (d *deploy) Validate(v *Validation) []string {
	var out []string
	scopes := definitions(d.Manifests)
	for _, m := range d.Manifests {
		text := kindText(textOf(m, "apiVersion"), textOf(m, "kind"))
		if r, ok := scopes[textOf(m, "apiVersion")+" "+textOf(m, "kind")]; ok && !r.Namespaced {
			continue
		}
		namespace := metadataText(m, "namespace")
		if o := strings.TrimSpace(d.NamespaceOverride); o != "" && v.Namespaced(text) {
			namespace = o
		}
		for _, finding := range v.namespace(d.name, text, namespace) {
			if !slices.Contains(out, finding) {
				out = append(out, finding)
			}
		}
	}
	return out
}

// definitions are the kinds that the request itself defines, by apiVersion and
// kind.
func definitions(manifests []manifest) map[string]cluster.Resource {
	out := map[string]cluster.Resource{}
	for _, m := range manifests {
		if kindText(textOf(m, "apiVersion"), textOf(m, "kind")) != "customResourceDefinition" {
			continue
		}
		spec := mapAt(m, "spec")
		names := mapAt(spec, "names")
		for _, v := range mapsAt(spec, "versions") {
			r := cluster.Resource{
				Group: textOf(spec, "group"), Version: textOf(v, "name"), Plural: textOf(names, "plural"), Kind: textOf(names, "kind"),
				Namespaced: textOf(spec, "scope") == "Namespaced",
			}
			out[r.APIVersion()+" "+r.Kind] = r
		}
	}
	return out
}

// planned is a manifest on its way through the plan.
type planned struct {
	manifest  map[string]any
	kindText  string
	resource  *cluster.Resource
	name      string // without a version
	namespace string // where it goes; "" for cluster-scoped
	version   *int
	isNew     bool
}

// Plan implements Operation.
func (d *deploy) Plan(ctx context.Context, p *Planner) (*Plan, error) {
	objects, err := d.resolve(ctx, p)
	if err != nil {
		return nil, err
	}
	selector, err := d.LabelSelectors.selector()
	if err != nil {
		return nil, err
	}
	required := deref(d.RequiredArtifacts)
	lists := [][]spinnaker.Artifact{required, deref(d.OptionalArtifacts)}
	binding := d.EnableArtifactBinding == nil || *d.EnableArtifactBinding
	if !binding {
		lists = nil
	}
	b := newBinder(p.Account.Name, p.Settings.MatchNameOnly, lists...)
	plan := &Plan{Result: &ResultPlan{Manifests: true, Job: d.job, Created: []spinnaker.Artifact{}}}
	known := map[string][]*metav1.PartialObjectMetadata{}
	for _, o := range objects {
		artifact, err := d.prepare(ctx, p, b, o, objects, known)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", spinnaker.FullName(o.kindText, o.name), err)
		}
		b.created(artifact)
		if selector != nil && !selector.Matches(labelsOf(o.manifest)) {
			plan.Lines = append(plan.Lines, "Left out by the label selectors: "+spinnaker.FullName(o.kindText, o.name))
			continue
		}
		step, err := d.step(ctx, p, o, selector != nil)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", spinnaker.FullName(o.kindText, o.name), err)
		}
		plan.Steps = append(plan.Steps, step)
		plan.Result.Created = append(plan.Result.Created, artifact)
	}
	if unbound := b.unbound(required); binding && len(unbound) > 0 {
		var names []string
		for _, a := range unbound {
			names = append(names, a.Type+" "+a.Name)
		}
		return nil, fmt.Errorf("these required artifacts are used by no manifest: %s. Check that the image or name in the manifest is the same as the artifact's name", strings.Join(names, ", "))
	}
	if len(plan.Steps) == 0 && len(objects) > 0 && !d.AllowNothingSelected {
		return nil, fmt.Errorf("no manifest matches the label selectors %s; set allowNothingSelected if that is fine", selector)
	}
	plan.Result.Bound = b.bound
	var order []string
	for _, s := range plan.Steps {
		order = append(order, s.FullName())
	}
	if len(order) > 0 {
		plan.Lines = append(plan.Lines, "Order: "+strings.Join(order, ", "))
	}
	return plan, nil
}

func deref(in []*spinnaker.Artifact) []spinnaker.Artifact {
	var out []spinnaker.Artifact
	for _, a := range in {
		if a != nil {
			out = append(out, *a)
		}
	}
	return out
}

func labelsOf(manifest map[string]any) labels.Set {
	set := labels.Set{}
	for k, v := range mapAt(manifest, "metadata", "labels") {
		if v, ok := v.(string); ok {
			set[k] = v
		}
	}
	return set
}

// resolve finds the kinds and puts the manifests into order.
func (d *deploy) resolve(ctx context.Context, p *Planner) ([]*planned, error) {
	defined := definitions(d.Manifests)
	var out []*planned
	for _, m := range d.Manifests {
		m := runtime.DeepCopyJSON(m)
		fresh(m)
		delete(mapAt(m, "metadata", "annotations"), markAnnotation) // of the task that made what it was read from
		apiVersion, kind := textOf(m, "apiVersion"), textOf(m, "kind")
		o := &planned{manifest: m, kindText: kindText(apiVersion, kind)}
		o.name = cmp.Or(metadataText(m, "name"), metadataText(m, "generateName"))
		if oneOf(o.kindText, "event", "controllerRevision") {
			return nil, fmt.Errorf("%s: objects of this kind cannot be deployed", spinnaker.FullName(o.kindText, o.name))
		}
		// What the cluster serves is the truth, also for a kind that the request
		// defines once more.
		r, err := p.resource(ctx, func(c *cluster.Catalog) (cluster.Resource, bool) { return c.Exact(apiVersion, kind) }, kind+" in "+apiVersion)
		var unknown *UnknownKindError
		here, isDefined := defined[apiVersion+" "+kind]
		switch {
		case err == nil:
			o.resource = &r
		case isDefined && errors.As(err, &unknown):
			r = here
		default:
			return nil, err
		}
		namespaced := r.Namespaced
		metadata := mapAt(m, "metadata")
		if namespaced {
			if override := strings.TrimSpace(d.NamespaceOverride); override != "" {
				metadata["namespace"] = override
			}
			if only := p.Account.OnlyNamespace(); only != "" {
				metadata["namespace"] = only
			}
			o.namespace = cmp.Or(metadataText(m, "namespace"), p.Account.DefaultNamespace())
		}
		out = append(out, o)
	}
	slices.SortStableFunc(out, func(a, b *planned) int {
		return cmp.Compare(priority(a.kindText, p.Account.DeployPriorities), priority(b.kindText, p.Account.DeployPriorities))
	})
	return out, nil
}

// prepare binds, versions and describes one manifest, and returns the artifact
// that it will be.
func (d *deploy) prepare(ctx context.Context, p *Planner, b *binder, o *planned, all []*planned, known map[string][]*metav1.PartialObjectMetadata) (spinnaker.Artifact, error) {
	none := spinnaker.Artifact{}
	if err := d.keepsHistory(o); err != nil {
		return none, err
	}
	// The namespace as the manifest says counts for artifacts.
	location := metadataText(o.manifest, "namespace")
	b.bind(o.kindText, location, o.manifest)

	generate := metadataText(o.manifest, "name") == ""
	existing, err := d.chooseVersion(ctx, p, o, all, known)
	if err != nil {
		return none, err
	}
	if annotation(o.manifest, spinnaker.AnnotationSourceCapacity) == "true" && oneOf(o.kindText, "deployment", "replicaSet", "statefulSet") && o.resource != nil {
		if err := keepCapacity(ctx, p, o, existing); err != nil {
			return none, err
		}
	}
	if receivesTraffic(o.kindText) {
		if err := d.traffic(ctx, p, o, all); err != nil {
			return none, err
		}
	}
	version := -1
	if o.version != nil {
		version = *o.version
	}
	plain, err := d.keepsTemplate(ctx, p, o)
	if err != nil {
		return none, err
	}
	describe(o.manifest, o.kindText, o.name, location, version, *d.Moniker, p.Settings.labeling(), d.SkipSpecTemplateLabels || plain)
	artifact := spinnaker.Artifact{
		Type: spinnaker.KubernetesArtifactPrefix + o.kindText, Name: o.name, Location: location, Reference: o.name,
		Metadata: map[string]any{"account": p.Account.Name},
	}
	metadata := mapAt(o.manifest, "metadata")
	switch {
	case o.version != nil:
		setVersion(o.manifest, o.name, version)
		artifact.Version, artifact.Reference = spinnaker.VersionText(version), metadataText(o.manifest, "name")
	case generate:
		metadata["name"] = generated(o.name)
		delete(metadata, "generateName")
		artifact.Name, artifact.Reference = metadataText(o.manifest, "name"), metadataText(o.manifest, "name")
		o.isNew = true
	}
	return artifact, nil
}

// keepsHistory refuses a history in which a traffic strategy would find nothing
// to go back to.
func (d *deploy) keepsHistory(o *planned) error {
	history := annotation(o.manifest, spinnaker.AnnotationMaxHistory)
	if history == "" || d.Strategy != "RED_BLACK" && d.Strategy != "BLUE_GREEN" {
		return nil
	}
	if n, err := strconv.Atoi(history); err == nil && n < 2 {
		return fmt.Errorf("annotation %s is %d: %s needs at least 2 versions", spinnaker.AnnotationMaxHistory, n, d.Strategy)
	}
	return nil
}

// chooseVersion gives a manifest its version, if it is to have one, and returns
// those that there are. known has the objects of the kinds and namespaces that
// were looked up before: each is looked up once.
func (d *deploy) chooseVersion(ctx context.Context, p *Planner, o *planned, all []*planned, known map[string][]*metav1.PartialObjectMetadata) ([]*metav1.PartialObjectMetadata, error) {
	if metadataText(o.manifest, "name") == "" || !d.versioned(p, o) {
		return nil, nil
	}
	if base := edited(o.manifest, o.kindText); base != "" {
		o.name = base
	}
	if o.resource == nil { // its kind is not served yet
		o.version, o.isNew = new(int), true
		return nil, nil
	}
	key := o.kindText + " " + o.namespace
	if _, ok := known[key]; !ok {
		found, err := metadataOf(ctx, p.Cluster, *o.resource, o.namespace)
		if err != nil {
			return nil, p.fail(err)
		}
		known[key] = found
	}
	existing := artifactsNamed(known[key], o.name)
	version, reused := chooseVersion(existing, o.manifest)
	for _, other := range all {
		if !reused && o.sharesName(other) {
			version = max(version, *other.version+1)
		}
	}
	o.version, o.isNew = &version, !reused
	return existing, nil
}

// sharesName says whether another manifest of the request is a version of the
// same name.
func (o *planned) sharesName(other *planned) bool {
	return other != o && other.version != nil && other.kindText == o.kindText && other.namespace == o.namespace && other.name == o.name
}

// keepsTemplate says whether a job is there whose template has no labels of
// ours: it cannot get any, since the template of a job never changes.
func (d *deploy) keepsTemplate(ctx context.Context, p *Planner, o *planned) (bool, error) {
	if !oneOf(o.kindText, "job") || o.resource == nil || metadataText(o.manifest, "name") == "" || o.version != nil ||
		annotation(o.manifest, spinnaker.AnnotationRecreate) == "true" || mapAt(o.manifest, "spec", "template", "metadata") != nil {
		return false, nil
	}
	live, err := p.Cluster.Get(ctx, *o.resource, o.namespace, o.name)
	if cluster.Is(err, cluster.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, p.fail(err)
	}
	_, labelled := mapAt(live.Object, "spec", "template", "metadata", "labels")[spinnaker.LabelManagedBy]
	return !labelled, nil
}

// markAnnotation holds the task that made an object, and a part of its own.
const markAnnotation = "task.clouddriver.spinnaker.io/id"

func (d *deploy) versioned(p *Planner, o *planned) bool {
	if v, ok := mapAt(o.manifest, "metadata", "annotations")[spinnaker.AnnotationVersioned].(string); ok {
		return strings.EqualFold(v, "true")
	}
	if d.Versioned != nil {
		return *d.Versioned
	}
	for kind, versioned := range p.Account.VersionedKinds {
		if spinnaker.SameKind(kind, o.kindText) {
			return versioned
		}
	}
	return oneOf(o.kindText, "configMap", "secret", "replicaSet", "pod")
}

// keepCapacity puts the live number of replicas into the manifest.
func keepCapacity(ctx context.Context, p *Planner, o *planned, existing []*metav1.PartialObjectMetadata) error {
	name, newest := o.name, -1
	for _, e := range existing {
		if v, ok := versionOf(e); ok && v > newest {
			newest, name = v, e.Name
		}
	}
	if o.version != nil && newest < 0 {
		return nil
	}
	live, err := p.Cluster.Get(ctx, *o.resource, o.namespace, name)
	if cluster.Is(err, cluster.NotFound) {
		return nil
	}
	if err != nil {
		return p.fail(err)
	}
	if replicas, ok, _ := unstructured.NestedInt64(live.Object, "spec", "replicas"); ok {
		spec := mapAt(o.manifest, "spec")
		if spec != nil {
			spec["replicas"] = replicas
		}
	}
	return nil
}

// traffic records the services and attaches the manifest to them (operations.md
// 4.5).
func (d *deploy) traffic(ctx context.Context, p *Planner, o *planned, all []*planned) error {
	if err := recordServices(o.manifest, d.Services); err != nil {
		return err
	}
	if d.EnableTraffic != nil && !*d.EnableTraffic {
		return nil
	}
	services, err := trafficServices(annotation(o.manifest, spinnaker.AnnotationLoadBalancers))
	if err != nil || len(services) == 0 {
		return err
	}
	to := attachment{labels: podLabels(o.manifest), by: map[string]string{}}
	for _, name := range services {
		selector, err := d.selectorOf(ctx, p, o.namespace, name, all)
		if err != nil {
			return err
		}
		if err := to.attach("service "+name, selector); err != nil {
			return err
		}
	}
	return nil
}

// selectorOf finds a service among the manifests, else in the cluster.
func (d *deploy) selectorOf(ctx context.Context, p *Planner, namespace, name string, all []*planned) (map[string]any, error) {
	for _, other := range all {
		if other.kindText == "service" && other.name == name && other.namespace == namespace {
			return mapAt(other.manifest, "spec", "selector"), nil
		}
	}
	return liveSelector(ctx, p, namespace, name)
}

// step chooses the action by the strategy annotations (operations.md 3.3).
func (d *deploy) step(ctx context.Context, p *Planner, o *planned, selected bool) (Step, error) {
	if o.namespace != "" {
		mapAt(o.manifest, "metadata")["namespace"] = o.namespace // as kubectl does
	}
	s := Step{
		Action: Apply, APIVersion: textOf(o.manifest, "apiVersion"), Kind: textOf(o.manifest, "kind"), Resource: o.resource,
		Namespace: o.namespace, Name: metadataText(o.manifest, "name"), Manifest: o.manifest,
		Application: d.Moniker.App, Cluster: annotation(o.manifest, spinnaker.AnnotationCluster), Artifact: o.name,
	}
	if cut(s.Application) != s.Application || cut(s.Cluster) != s.Cluster {
		return s, fmt.Errorf("annotations %s and %s: %d and %d characters, of which %d can be recorded: shorten them", spinnaker.AnnotationApplication, spinnaker.AnnotationCluster,
			len([]rune(s.Application)), len([]rune(s.Cluster)), recordedMost)
	}
	switch strategy := annotation(o.manifest, spinnaker.AnnotationServerApply); {
	case o.isNew && o.version == nil:
		s.Action = Create
	case annotation(o.manifest, spinnaker.AnnotationRecreate) == "true":
		s.Action = Recreate
		if o.resource != nil {
			live, err := p.Cluster.Get(ctx, *o.resource, o.namespace, s.Name)
			if err != nil && !cluster.Is(err, cluster.NotFound) {
				return s, p.fail(err)
			}
			if live != nil {
				s.UID = string(live.GetUID())
			}
		}
	case annotation(o.manifest, spinnaker.AnnotationReplace) == "true":
		if selected {
			return s, fmt.Errorf("annotation %s cannot be used together with label selectors", spinnaker.AnnotationReplace)
		}
		s.Action = Replace
	case strategy == "true", strategy == "force-conflicts":
		s.Action, s.Force = ServerApply, strategy == "force-conflicts"
	}
	s.Version, s.Reused = o.version, o.version != nil && !o.isNew
	// By its mark a task knows its own object again: of new objects whose name
	// others may want as well, and of those that keep no record of the manifest.
	s.Mark = s.Action == Create || s.Action == Recreate || s.Version != nil && !s.Reused && s.Action != Apply
	if s.Mark {
		write(mapAt(o.manifest, "metadata"), "annotations", map[string]string{markAnnotation: p.mark()}, map[string]bool{markAnnotation: true})
	}
	return s, nil
}
