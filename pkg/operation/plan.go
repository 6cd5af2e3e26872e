// Package operation changes clusters as Spinnaker's operations ask for it
// (operations.md). Each operation is decoded and checked without a cluster,
// planned from what the cluster holds, and carried out step by step. A plan is
// data: it is recorded before its first step acts, with every choice that must
// not be made twice (versions, names, revisions, times, UIDs), so that another
// process can go on with it.
package operation

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// Action is what a step does with its object.
type Action string

// The actions.
const (
	Apply       Action = "apply"       // three-way apply, as kubectl apply
	ServerApply Action = "serverApply" // server-side apply
	Replace     Action = "replace"     // PUT, or create
	Create      Action = "create"      // make an object that must not exist
	Recreate    Action = "recreate"    // delete the object with the UID, then create
	Delete      Action = "delete"      // delete the object with the UID and wait until it is gone
	Patch       Action = "patch"       // send a patch
	Scale       Action = "scale"       // set the replicas through the subresource
	LabelPods   Action = "labelPods"   // set or remove labels of the pods that an object owns now
	Nothing     Action = "nothing"     // there is nothing to do; say so
)

// Step is one effect on one object.
type Step struct {
	Action Action `json:"action"`
	// APIVersion and Kind name the kind; Resource is known unless its
	// definition is part of the same plan.
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Resource   *cluster.Resource `json:"resource,omitempty"`
	Namespace  string            `json:"namespace,omitempty"`
	Name       string            `json:"name"`
	// Manifest is what is applied, replaced or created.
	Manifest manifest `json:"manifest,omitempty"`
	// Version is the number of a version, whose name must be free unless it is
	// Reused.
	Version *int `json:"version,omitempty"`
	Reused  bool `json:"reused,omitempty"`
	// Mark says that the manifest carries the task's id, which tells our own
	// object from another's of the same name.
	Mark bool `json:"mark,omitempty"`
	// UID is that of the object that is meant; another is left alone.
	UID string `json:"uid,omitempty"`
	// Sent is when the object was first about to be made in the place of another.
	Sent       *time.Time      `json:"sent,omitempty"`
	PatchType  types.PatchType `json:"patchType,omitempty"`
	Patch      json.RawMessage `json:"patch,omitempty"`
	Unsafe     bool            `json:"unsafe,omitempty"` // must not be sent twice
	Replicas   *int64          `json:"replicas,omitempty"`
	Force      bool            `json:"force,omitempty"` // of a server-side apply
	Propagated string          `json:"propagation,omitempty"`
	Grace      *int64          `json:"grace,omitempty"`
	// Pods is what becomes of the labels of owned pods.
	Pods *PodLabels `json:"pods,omitempty"`
	// MayBeGone makes a missing object no failure.
	MayBeGone bool `json:"mayBeGone,omitempty"`
	// Application and Cluster are for the ledger; Artifact is the name without
	// a version.
	Application string `json:"application,omitempty"`
	Cluster     string `json:"cluster,omitempty"`
	Artifact    string `json:"artifact,omitempty"`
	// TaskType is kubernetes_resources.task_type.
	TaskType string `json:"taskType,omitempty"`
	// Says is the line of the history instead of the usual one.
	Says string `json:"says,omitempty"`
}

// PodLabels are labels that the pods of an owner are to have, or not.
type PodLabels struct {
	// Selector is the owner's.
	Selector string            `json:"selector"`
	Keys     []string          `json:"keys"`
	Values   map[string]string `json:"values"`
	Enable   bool              `json:"enable"`
}

// KindText is Spinnaker's spelling of the step's kind.
func (s *Step) KindText() string { return kindText(s.APIVersion, s.Kind) }

// FullName is what people call the object.
func (s *Step) FullName() string { return spinnaker.FullName(s.KindText(), s.Name) }

// Plan is what an operation will do.
type Plan struct {
	Steps []Step `json:"steps"`
	// Lines are for the history.
	Lines []string `json:"lines,omitempty"`
	// Result says how the result object is made; nil for none.
	Result *ResultPlan `json:"result,omitempty"`
}

// Rename has the later steps refer to an object by the name that it got instead
// of the planned one.
func (p *Plan) Rename(s *Step, before string) {
	artifactType := spinnaker.KubernetesArtifactPrefix + s.KindText()
	for i := range p.Steps {
		later := &p.Steps[i]
		if later == s || later.Manifest == nil || later.Namespace != s.Namespace {
			continue
		}
		references(later.KindText(), later.Manifest, func(r reference) {
			if r.artifactType == artifactType && r.value == before {
				r.set(s.Name)
			}
		})
	}
	if p.Result == nil {
		return
	}
	for i := range p.Result.Bound {
		if a := &p.Result.Bound[i]; a.Type == artifactType && a.Reference == before && s.Version != nil {
			a.Reference, a.Version = s.Name, spinnaker.VersionText(*s.Version)
		}
	}
}

// ResultPlan is what of the result object is known before acting.
type ResultPlan struct {
	// Created has one artifact for every step, in order.
	Created []spinnaker.Artifact `json:"created,omitempty"`
	Bound   []spinnaker.Artifact `json:"bound,omitempty"`
	// Location is the key of the names, for operations on a named target.
	Location *string `json:"location,omitempty"`
	// Manifests says whether objects are part of the result.
	Manifests   bool `json:"manifests,omitempty"`
	NoManifests bool `json:"noManifests,omitempty"` // not even the key
	Job         bool `json:"job,omitempty"`
}

// Cluster is what planning reads; cluster.Client is one.
type Cluster interface {
	Catalog(ctx context.Context) (*cluster.Catalog, error)
	Discover(ctx context.Context) (*cluster.Catalog, error)
	Get(ctx context.Context, r cluster.Resource, namespace, name string) (*unstructured.Unstructured, error)
	List(ctx context.Context, r cluster.Resource, namespace, selector string) ([]*unstructured.Unstructured, error)
	// Metadata lists that of all objects of a kind in a namespace.
	Metadata(ctx context.Context, r cluster.Resource, namespace string) ([]*metav1.PartialObjectMetadata, error)
}

// Patient repeats reads that the cluster could not serve at the moment.
type Patient struct{ Cluster }

// Catalog implements Cluster.
func (p Patient) Catalog(ctx context.Context) (*cluster.Catalog, error) {
	return retry(ctx, nil, func() (*cluster.Catalog, error) { return p.Cluster.Catalog(ctx) })
}

// Discover implements Cluster.
func (p Patient) Discover(ctx context.Context) (*cluster.Catalog, error) {
	return retry(ctx, nil, func() (*cluster.Catalog, error) { return p.Cluster.Discover(ctx) })
}

// Get implements Cluster.
func (p Patient) Get(ctx context.Context, r cluster.Resource, namespace, name string) (*unstructured.Unstructured, error) {
	return retry(ctx, nil, func() (*unstructured.Unstructured, error) { return p.Cluster.Get(ctx, r, namespace, name) })
}

// List implements Cluster.
func (p Patient) List(ctx context.Context, r cluster.Resource, namespace, selector string) ([]*unstructured.Unstructured, error) {
	return retry(ctx, nil, func() ([]*unstructured.Unstructured, error) { return p.Cluster.List(ctx, r, namespace, selector) })
}

// Metadata implements Cluster.
func (p Patient) Metadata(ctx context.Context, r cluster.Resource, namespace string) ([]*metav1.PartialObjectMetadata, error) {
	return retry(ctx, nil, func() ([]*metav1.PartialObjectMetadata, error) { return p.Cluster.Metadata(ctx, r, namespace) })
}

// Settings are those of all operations.
type Settings struct {
	// ManagedBySuffix and NoLabels are kubernetes.v2.managed-by-suffix and the
	// opposite of kubernetes.v2.apply-app-labels.
	ManagedBySuffix string
	NoLabels        bool
	// MatchNameOnly is kubernetes.artifact-binding.docker-image=match-name-only.
	MatchNameOnly bool
	// OnCancel is jobs.cancelDeletes.
	OnCancel string
}

func (s Settings) labeling() labeling {
	l := labeling{ManagedBy: "spinnaker", Off: s.NoLabels}
	if s.ManagedBySuffix != "" {
		l.ManagedBy += "-" + s.ManagedBySuffix
	}
	return l
}

// Planner is what an operation plans with.
type Planner struct {
	Account  *account.Account
	Cluster  Cluster
	Settings Settings
	// Task, User and Execution are for marks and change causes.
	Task, User, Execution string
	// Application is the request's header.
	Application string
	Now         time.Time
	// Ran lists the jobs that runJob made for an account in an execution; nil
	// when nothing is recorded.
	Ran func(ctx context.Context, accountName, execution string) ([]Ran, error)
}

// resource finds a kind, asking the cluster anew when it is unknown.
func (p *Planner) resource(ctx context.Context, find func(*cluster.Catalog) (cluster.Resource, bool), kind string) (cluster.Resource, error) {
	catalog, err := p.Cluster.Catalog(ctx)
	if err != nil {
		return cluster.Resource{}, p.fail(err)
	}
	if r, ok := find(catalog); ok {
		return r, nil
	}
	if catalog, err = p.Cluster.Discover(ctx); err != nil {
		return cluster.Resource{}, p.fail(err)
	}
	if r, ok := find(catalog); ok {
		return r, nil
	}
	return cluster.Resource{}, &UnknownKindError{Kind: kind, Account: p.Account.Name}
}

// UnknownKindError says that a cluster does not serve a kind.
type UnknownKindError struct{ Kind, Account string }

func (e *UnknownKindError) Error() string {
	return fmt.Sprintf("account %s: the cluster knows no kind %s; is its custom resource definition installed?", e.Account, e.Kind)
}

func (p *Planner) kind(ctx context.Context, text string) (cluster.Resource, error) {
	return p.resource(ctx, func(c *cluster.Catalog) (cluster.Resource, bool) { return c.Find(text) }, text)
}

// fail names the account in failures to reach the cluster.
func (p *Planner) fail(err error) error { return failure(p.Account.Name, err) }

func failure(accountName string, err error) error {
	switch cluster.ReasonOf(err) {
	case cluster.Unavailable, cluster.Unauthorized, cluster.Throttled:
		return fmt.Errorf("account %s: %w", accountName, err)
	}
	return err
}

// target reads the object that an operation names.
func (p *Planner) target(ctx context.Context, t target) (cluster.Resource, *unstructured.Unstructured, error) {
	kind, name, _ := t.split()
	r, err := p.kind(ctx, kind)
	if err != nil {
		return r, nil, err
	}
	o, err := p.Cluster.Get(ctx, r, p.namespace(r, t.Location), name)
	if cluster.Is(err, cluster.NotFound) {
		return r, nil, fmt.Errorf("%s in namespace %q: not found", spinnaker.FullName(r.KindText(), name), p.namespace(r, t.Location))
	}
	if err != nil {
		return r, nil, fmt.Errorf("read %s: %w", t.ManifestName, p.fail(err))
	}
	return r, o, nil
}

// namespace is where an object is looked for.
func (p *Planner) namespace(r cluster.Resource, location string) string {
	return p.Account.ObjectNamespace(r.Namespaced, location)
}

// step begins a step on a live object.
func (p *Planner) step(action Action, r cluster.Resource, o metav1.Object, application string) Step {
	annotations := o.GetAnnotations()
	if app := annotations[spinnaker.AnnotationApplication]; app != "" {
		application = app
	}
	if application == "" {
		application = p.Application
	}
	application, text := cut(application), cut(annotations[spinnaker.AnnotationCluster])
	return Step{
		Action: action, APIVersion: r.APIVersion(), Kind: r.Kind, Resource: &r, Namespace: o.GetNamespace(), Name: o.GetName(), UID: string(o.GetUID()),
		Application: application, Cluster: text, Artifact: annotations[spinnaker.AnnotationArtifactName],
	}
}

// recordedMost is how many characters of an application and of a cluster the
// database takes.
const recordedMost = 256

// cut shortens what an object of others says to what can be recorded.
func cut(text string) string {
	runes := []rune(text)
	return string(runes[:min(len(runes), recordedMost)])
}

// mark tells the object of one step from all others of its name.
func (p *Planner) mark() string { return p.Task + "." + generated("") }

const nameAlphabet = "bcdfghjklmnpqrstvwxz2456789"

// generated is a name as the API server makes one (kubernetes/apiserver,
// pkg/storage/names).
func generated(prefix string) string {
	const most, random = 63, 5
	if len(prefix) > most-random {
		prefix = prefix[:most-random]
	}
	suffix := make([]byte, random)
	for i := range suffix {
		suffix[i] = nameAlphabet[rand.IntN(len(nameAlphabet))]
	}
	return prefix + string(suffix)
}

func kindText(apiVersion, kind string) string {
	group, _, ok := cutGroup(apiVersion)
	if !ok {
		group = ""
	}
	return spinnaker.KindText(group, kind)
}
