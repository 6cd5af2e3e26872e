package operation

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
)

// Writer is what acting needs of a cluster; cluster.Client is one.
type Writer interface {
	Cluster
	Create(ctx context.Context, r cluster.Resource, o *unstructured.Unstructured, options cluster.WriteOptions) (*unstructured.Unstructured, error)
	Update(ctx context.Context, r cluster.Resource, o *unstructured.Unstructured, options cluster.WriteOptions) (*unstructured.Unstructured, error)
	Patch(ctx context.Context, r cluster.Resource, namespace, name, subresource string, kind types.PatchType, patch []byte, options cluster.WriteOptions) (*unstructured.Unstructured, error)
	Delete(ctx context.Context, r cluster.Resource, namespace, name string, options metav1.DeleteOptions) error
	// PatchMeta is how the cluster merges objects of a kind; nil when it does
	// not say.
	PatchMeta(ctx context.Context, r cluster.Resource) strategicpatch.LookupPatchMeta
	Events(ctx context.Context, namespace, kind, name string) ([]*unstructured.Unstructured, error)
}

// Actor carries out steps on one account.
type Actor struct {
	Account string
	Client  Writer
	// Task marks objects of generated names.
	Task string
	// Guard is asked before every call that changes something; its error ends
	// the step. It is how an owner that has lost its task stops.
	Guard func() error
	// Choose records that a step takes another version than planned, before it
	// is used; before is the name that it had.
	Choose func(ctx context.Context, s *Step, before string) error
	// Sending records that a step is about to make its object, once it has
	// deleted the one before it.
	Sending func(ctx context.Context, s *Step) error
	// Before reads objects before they are patched, so that what has changed of
	// them can be told.
	Before bool
	// DryRun lets the server check and change nothing.
	DryRun bool
	// GoneWithin bounds the wait for a deleted object.
	GoneWithin time.Duration
	// Idle, when set, runs a wait that may be long, during which others may
	// act in the actor's place.
	Idle func(wait func() error) error
}

// Change is what a step did.
type Change string

// The changes.
const (
	Created   Change = "create"
	Updated   Change = "update"
	Unchanged Change = "unchanged"
	Deleted   Change = "delete"
	Absent    Change = "absent"
)

// Outcome is how a step ended.
type Outcome struct {
	Change Change
	// Object is as the server returned it; nil when it is gone. Before is how
	// it was, if it was read.
	Object, Before *unstructured.Unstructured
	// Resource is the kind that the step turned out to be.
	Resource cluster.Resource
}

const (
	establishedWithin = 30 * time.Second
	pollEvery         = 200 * time.Millisecond
)

// Act carries a step out. again says that it may have been carried out before,
// by a process that could not record it.
func (a *Actor) Act(ctx context.Context, s *Step, again bool) (*Outcome, error) {
	if s.Action == Nothing {
		return &Outcome{Change: Unchanged}, nil
	}
	r, err := a.resource(ctx, s)
	if err != nil {
		return nil, err
	}
	if a.Guard != nil {
		ctx = cluster.Guarded(ctx, a.Guard)
	}
	if again {
		ctx = goingOn(ctx, time.Now().Add(a.GoneWithin))
	}
	out, err := a.act(ctx, s, r, again)
	if err != nil {
		return nil, a.explain(s, r, err)
	}
	out.Resource = r
	if s.KindText() == "customResourceDefinition" && out.Object != nil && !a.DryRun && s.Action != Delete {
		if err := a.established(ctx, s, r); err != nil {
			return out, a.explain(s, r, err)
		}
	}
	return out, nil
}

func (a *Actor) act(ctx context.Context, s *Step, r cluster.Resource, again bool) (*Outcome, error) {
	switch {
	case s.Version != nil && !s.Reused:
		return a.newVersion(ctx, s, r)
	case s.Action == Apply:
		return a.apply(ctx, s, r)
	case s.Action == ServerApply:
		return a.serverApply(ctx, s, r)
	case s.Action == Replace:
		return a.replace(ctx, s, r)
	case s.Action == Create:
		return a.createMarked(ctx, s, r, again)
	case s.Action == Recreate:
		return a.recreate(ctx, s, r, again)
	case s.Action == Delete:
		return a.delete(ctx, s, r)
	case s.Action == Patch:
		return a.patch(ctx, s, r, again)
	case s.Action == LabelPods:
		return a.labelPods(ctx, s, r)
	case s.Action == Scale:
		return a.scale(ctx, s, r)
	}
	return nil, fmt.Errorf("a step with the unknown action %q: was it planned by a newer version?", s.Action)
}

func (a *Actor) guard() error {
	if a.Guard == nil {
		return nil
	}
	return a.Guard()
}

func (a *Actor) options(manager string) cluster.WriteOptions {
	return cluster.WriteOptions{Manager: manager, DryRun: a.DryRun}
}

// strict is for writes of whole manifests, which kubectl has validated strictly
// by default.
func (a *Actor) strict(manager string) cluster.WriteOptions {
	o := a.options(manager)
	o.Strict = true
	return o
}

// resource finds the step's kind; one whose definition was just made takes a
// moment until it is served.
func (a *Actor) resource(ctx context.Context, s *Step) (cluster.Resource, error) {
	if s.Resource != nil {
		return *s.Resource, nil
	}
	catalog, err := a.Client.Catalog(ctx)
	deadline := time.Now().Add(establishedWithin)
	for {
		if err != nil {
			return cluster.Resource{}, failure(a.Account, err)
		}
		if r, ok := catalog.Exact(s.APIVersion, s.Kind); ok {
			return r, nil
		}
		if time.Now().After(deadline) || a.DryRun {
			return cluster.Resource{}, &UnknownKindError{Kind: s.Kind + " in " + s.APIVersion, Account: a.Account}
		}
		if err := pauseFor(ctx, pollEvery); err != nil {
			return cluster.Resource{}, err
		}
		catalog, err = a.Client.Discover(ctx)
	}
}

// established waits until the kind of a definition is served.
func (a *Actor) established(ctx context.Context, s *Step, r cluster.Resource) error {
	deadline := time.Now().Add(establishedWithin)
	for {
		o, err := a.get(ctx, r, "", s.Name)
		if err != nil {
			return err
		}
		if o != nil && hasCondition(o, "Established") {
			_, err := a.Client.Discover(ctx)
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not established within %s", establishedWithin)
		}
		if err := pauseFor(ctx, pollEvery); err != nil {
			return err
		}
	}
}

// get returns nil for an object that is not there. What a cluster serves no kind
// for, it holds no objects of: the kind was looked for anew.
func (a *Actor) get(ctx context.Context, r cluster.Resource, namespace, name string) (*unstructured.Unstructured, error) {
	return a.getUntil(ctx, r, namespace, name, time.Time{})
}

// getUntil waits until then for a cluster that is away.
func (a *Actor) getUntil(ctx context.Context, r cluster.Resource, namespace, name string, until time.Time) (*unstructured.Unstructured, error) {
	o, err := retryUntil(ctx, nil, until, func() (*unstructured.Unstructured, error) { return a.Client.Get(ctx, r, namespace, name) })
	if cluster.Is(err, cluster.NotFound) || cluster.Is(err, cluster.NoKind) {
		return nil, nil
	}
	return o, err
}
