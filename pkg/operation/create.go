package operation

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
)

// create makes an object. When the answer is lost, it looks whether the object
// is there as it was sent.
func (a *Actor) create(ctx context.Context, r cluster.Resource, o *unstructured.Unstructured, manager string) (*unstructured.Unstructured, error) {
	lost := false
	return retry(ctx, a, func() (*unstructured.Unstructured, error) {
		created, err := a.Client.Create(ctx, r, o, a.options(manager))
		if lost && cluster.Is(err, cluster.Exists) {
			if live, getErr := a.Client.Get(ctx, r, o.GetNamespace(), o.GetName()); getErr == nil && ours(live, o) {
				return live, nil
			}
		}
		lost = lost || cluster.Is(err, cluster.Unavailable)
		return created, err
	})
}

// ours says whether a live object is the one that was sent.
func ours(live, sent *unstructured.Unstructured) bool {
	for _, key := range []string{markAnnotation, lastApplied} {
		if want := sent.GetAnnotations()[key]; want != "" {
			return live.GetAnnotations()[key] == want
		}
	}
	return false
}

// newVersion creates an object whose name must be free. When it is not, and
// what is there is not ours, the next free number is taken, recorded before it
// is used.
func (a *Actor) newVersion(ctx context.Context, s *Step, r cluster.Resource) (*Outcome, error) {
	const most = 10
	for range most {
		wanted, manager := &unstructured.Unstructured{Object: s.Manifest}, cluster.ManagerReplace
		if s.Action == Apply || s.Action == Recreate {
			var err error
			if wanted, err = withLastApplied(s.Manifest); err != nil {
				return nil, err
			}
			manager = cluster.ManagerApply
		}
		if s.Action == ServerApply {
			// There is no create-only apply: the name is looked up instead.
			live, err := a.get(ctx, r, s.Namespace, s.Name)
			if err != nil {
				return nil, err
			}
			if live == nil {
				return a.serverApply(ctx, s, r)
			}
			if ours(live, wanted) {
				return &Outcome{Object: live, Change: Created}, nil
			}
		} else {
			created, err := a.create(ctx, r, inNamespace(wanted, s.Namespace), manager)
			if err == nil {
				return &Outcome{Object: created, Change: Created}, nil
			}
			if !cluster.Is(err, cluster.Exists) {
				return nil, err
			}
			live, err := a.get(ctx, r, s.Namespace, s.Name)
			if err != nil {
				return nil, err
			}
			if live != nil && ours(live, wanted) {
				return &Outcome{Object: live, Change: Created}, nil
			}
		}
		next, before := *s.Version+1, s.Name
		s.Version = &next
		setVersion(s.Manifest, s.Artifact, next)
		s.Name = metadataText(s.Manifest, "name")
		if a.Choose != nil {
			if err := a.Choose(ctx, s, before); err != nil {
				return nil, err
			}
		}
	}
	return nil, fmt.Errorf("no free version after %d attempts", most)
}

// createMarked makes an object that carries our mark, or finds the one that
// was made before.
func (a *Actor) createMarked(ctx context.Context, s *Step, r cluster.Resource) (*Outcome, error) {
	wanted := inNamespace(&unstructured.Unstructured{Object: s.Manifest}, s.Namespace)
	created, err := a.create(ctx, r, wanted, cluster.ManagerCreate)
	if cluster.Is(err, cluster.Exists) {
		live, getErr := a.get(ctx, r, s.Namespace, s.Name)
		if getErr == nil && live != nil && ours(live, wanted) {
			return &Outcome{Object: live, Change: Created}, nil
		}
	}
	return &Outcome{Object: created, Change: Created}, err
}

// recreate deletes the object that was there when the plan was made, and
// creates it anew. Another UID means that this has happened already.
func (a *Actor) recreate(ctx context.Context, s *Step, r cluster.Resource) (*Outcome, error) {
	wanted, err := withLastApplied(s.Manifest)
	if err != nil {
		return nil, err
	}
	inNamespace(wanted, s.Namespace)
	var before *unstructured.Unstructured
	if s.UID != "" {
		live, err := a.get(ctx, r, s.Namespace, s.Name)
		if err != nil {
			return nil, err
		}
		if live != nil && string(live.GetUID()) == s.UID {
			before = live
			if a.DryRun {
				return &Outcome{Object: wanted, Before: before, Change: Updated}, nil
			}
			if err := a.remove(ctx, s, r, string(metav1.DeletePropagationBackground), nil); err != nil {
				return nil, err
			}
		}
	}
	created, err := a.create(ctx, r, wanted, cluster.ManagerApply)
	if cluster.Is(err, cluster.Exists) {
		live, getErr := a.get(ctx, r, s.Namespace, s.Name)
		if getErr == nil && live != nil && ours(live, wanted) {
			return &Outcome{Object: live, Before: before, Change: Created}, nil
		}
		return a.apply(ctx, s, r)
	}
	return &Outcome{Object: created, Before: before, Change: Created}, err
}
