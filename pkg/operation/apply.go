package operation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"k8s.io/apimachinery/pkg/util/mergepatch"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/util/csaupgrade"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
)

// withLastApplied is a manifest with kubectl's record of itself, byte for byte
// as kubectl writes it (kubernetes/kubectl, pkg/util/apply.go).
func withLastApplied(manifest map[string]any) (*unstructured.Unstructured, error) {
	o := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(manifest)}
	annotations := o.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	delete(annotations, lastApplied)
	o.SetAnnotations(annotations)
	var record bytes.Buffer
	if err := json.NewEncoder(&record).Encode(o.Object); err != nil { // with the newline
		return nil, err
	}
	annotations[lastApplied] = record.String()
	o.SetAnnotations(annotations)
	return o, nil
}

// withoutNulls drops the members that are null, as kubectl does when an apply
// creates: they stand in the record of the manifest, and a later apply removes
// them (kubernetes/kubectl, pkg/cmd/apply/apply.go, pruneNullsFromMap).
func withoutNulls(v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, child := range v {
			if child == nil {
				delete(v, key)
				continue
			}
			withoutNulls(child)
		}
	case []any:
		for _, child := range v {
			withoutNulls(child)
		}
	}
}

// forCreation is a manifest with kubectl's record of it, as an apply creates it.
func forCreation(manifest map[string]any) (*unstructured.Unstructured, error) {
	o, err := withLastApplied(manifest)
	if err == nil {
		withoutNulls(o.Object)
	}
	return o, err
}

// threeWay is the patch from what was applied last and what is live to what is
// wanted. As kubectl does, it merges strategically by what the cluster says of
// the kind, so that a field newer than our libraries is merged right, else by
// the built-in structs, and sends a JSON merge patch for all other kinds
// (kubernetes/kubectl, pkg/cmd/apply/patcher.go).
func threeWay(meta strategicpatch.LookupPatchMeta, live, wanted *unstructured.Unstructured) (types.PatchType, []byte, error) {
	original := []byte(live.GetAnnotations()[lastApplied])
	modified, err := json.Marshal(wanted.Object)
	if err != nil {
		return "", nil, err
	}
	current, err := json.Marshal(live.Object)
	if err != nil {
		return "", nil, err
	}
	preconditions := []mergepatch.PreconditionFunc{
		mergepatch.RequireKeyUnchanged("apiVersion"), mergepatch.RequireKeyUnchanged("kind"), mergepatch.RequireMetadataKeyUnchanged("name"),
	}
	if meta != nil {
		patch, err := strategicpatch.CreateThreeWayMergePatch(original, modified, current, meta, true, preconditions...)
		if err == nil {
			return types.StrategicMergePatchType, patch, nil
		}
		// The built-in structs may know what the cluster's description leaves out.
	}
	typed, err := scheme.Scheme.New(live.GroupVersionKind())
	if runtime.IsNotRegisteredError(err) {
		patch, err := jsonmergepatch.CreateThreeWayJSONMergePatch(original, modified, current, preconditions...)
		return types.MergePatchType, patch, err
	}
	if err != nil {
		return "", nil, err
	}
	builtIn, err := strategicpatch.NewPatchMetaFromStruct(typed)
	if err != nil {
		return "", nil, err
	}
	patch, err := strategicpatch.CreateThreeWayMergePatch(original, modified, current, builtIn, true, preconditions...)
	return types.StrategicMergePatchType, patch, err
}

// ofObject adds a UID to a patch, which the server compares: the patch holds
// for the object that it was computed from, in whatever state that is by then.
func ofObject(patch []byte, uid types.UID) ([]byte, error) {
	return jsonpatch.MergeMergePatches(patch, []byte(`{"metadata":{"uid":"`+string(uid)+`"}}`))
}

const (
	conflictAttempts = 5
	conflictPause    = time.Second
	// upgradeAttempts are more, since handing fields over is the one patch that
	// holds for a single version of an object.
	upgradeAttempts = 40
)

// apply is kubectl's client-side apply (operations.md 3.4).
func (a *Actor) apply(ctx context.Context, s *Step, r cluster.Resource) (*Outcome, error) {
	wanted, err := withLastApplied(s.Manifest)
	if err != nil {
		return nil, err
	}
	for attempt := 0; ; attempt++ {
		live, err := a.get(ctx, r, s.Namespace, s.Name)
		if err != nil {
			return nil, err
		}
		if live == nil {
			fresh, err := forCreation(s.Manifest)
			if err != nil {
				return nil, err
			}
			created, err := a.create(ctx, r, fresh, cluster.ManagerApply, time.Time{})
			if cluster.Is(err, cluster.Exists) && attempt < conflictAttempts {
				continue
			}
			return &Outcome{Object: created, Change: Created}, err
		}
		if s.Reused && live.GetDeletionTimestamp() != nil {
			return a.afresh(ctx, s, r)
		}
		kind, patch, err := threeWay(a.Client.PatchMeta(ctx, r), live, wanted)
		if err != nil {
			return nil, fmt.Errorf("compare with the live object: %w", err)
		}
		if string(patch) == "{}" {
			return &Outcome{Object: live, Before: live, Change: Unchanged}, nil
		}
		if patch, err = ofObject(patch, live.GetUID()); err != nil {
			return nil, err
		}
		patched, err := retry(ctx, a, func() (*unstructured.Unstructured, error) {
			return a.Client.Patch(ctx, r, s.Namespace, s.Name, "", kind, patch, a.strict(cluster.ManagerApply))
		})
		if cluster.Is(err, cluster.Conflict) && attempt < conflictAttempts {
			if attempt > 0 {
				if err := pauseFor(ctx, conflictPause); err != nil {
					return nil, err
				}
			}
			continue
		}
		return &Outcome{Object: patched, Before: live, Change: Updated}, err
	}
}

// serverApply is a server-side apply. Objects of the older Go rewrite keep its
// field manager, so that they do not conflict with themselves.
func (a *Actor) serverApply(ctx context.Context, s *Step, r cluster.Resource) (*Outcome, error) {
	for attempt := 0; ; attempt++ {
		live, err := a.get(ctx, r, s.Namespace, s.Name)
		if err != nil {
			return nil, err
		}
		if s.Reused && live != nil && live.GetDeletionTimestamp() != nil {
			return a.afresh(ctx, s, r)
		}
		manager := cluster.ManagerServerApply
		wanted := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(s.Manifest)}
		annotations := wanted.GetAnnotations()
		delete(annotations, lastApplied)
		wanted.SetAnnotations(annotations)
		if live != nil {
			manager = serverApplyManager(live.GetManagedFields())
			if !a.DryRun {
				if live, err = a.upgradeFields(ctx, s, r, live, manager); err != nil {
					return nil, err
				}
			}
		}
		if live != nil {
			wanted.SetUID(live.GetUID()) // and of no other object of that name
		}
		body, err := json.Marshal(wanted.Object)
		if err != nil {
			return nil, err
		}
		options := a.strict(manager)
		options.Force = s.Force
		out, err := retry(ctx, a, func() (*unstructured.Unstructured, error) {
			return a.Client.Patch(ctx, r, s.Namespace, s.Name, "", types.ApplyPatchType, body, options)
		})
		if cluster.Is(err, cluster.Conflict) && !cluster.OwnedByOthers(err) && attempt < conflictAttempts {
			continue
		}
		return changed(live, out), err
	}
}

func changed(before, after *unstructured.Unstructured) *Outcome {
	o := &Outcome{Object: after, Before: before, Change: Updated}
	switch {
	case before == nil:
		o.Change = Created
	case after != nil && before.GetResourceVersion() == after.GetResourceVersion():
		o.Change = Unchanged
	}
	return o
}

const olderManager = "spinnaker" // of homedepot/go-clouddriver

func serverApplyManager(fields []metav1.ManagedFieldsEntry) string {
	applied := func(manager string) bool {
		return slices.ContainsFunc(fields, func(f metav1.ManagedFieldsEntry) bool {
			return f.Manager == manager && f.Operation == metav1.ManagedFieldsOperationApply
		})
	}
	if applied(olderManager) && !applied(cluster.ManagerServerApply) {
		return olderManager
	}
	return cluster.ManagerServerApply
}

// upgradeFields hands fields of client-side apply over to the manager, as
// kubectl does; otherwise nobody would remove them. It returns the object as
// it is then, nil when it is gone.
func (a *Actor) upgradeFields(ctx context.Context, s *Step, r cluster.Resource, live *unstructured.Unstructured, manager string) (*unstructured.Unstructured, error) {
	for range upgradeAttempts {
		patch, err := csaupgrade.UpgradeManagedFieldsPatch(live, sets.New(cluster.ManagerApply), manager)
		if err != nil || patch == nil {
			return live, err
		}
		upgraded, err := retry(ctx, a, func() (*unstructured.Unstructured, error) {
			return a.Client.Patch(ctx, r, s.Namespace, s.Name, "", types.JSONPatchType, patch, cluster.WriteOptions{})
		})
		if !cluster.Is(err, cluster.Conflict) {
			return upgraded, err
		}
		if live, err = a.get(ctx, r, s.Namespace, s.Name); err != nil || live == nil {
			return nil, err
		}
	}
	return nil, &cluster.Error{Reason: cluster.Conflict, Err: errors.New("the object changes all the time")}
}

// replace is a PUT over whatever is live.
func (a *Actor) replace(ctx context.Context, s *Step, r cluster.Resource) (*Outcome, error) {
	wanted := &unstructured.Unstructured{Object: s.Manifest}
	if _, carried := wanted.GetAnnotations()[lastApplied]; carried {
		var err error
		if wanted, err = withLastApplied(s.Manifest); err != nil {
			return nil, err
		}
	}
	for attempt := 0; ; attempt++ {
		live, err := a.get(ctx, r, s.Namespace, s.Name)
		if err != nil {
			return nil, err
		}
		if live == nil {
			created, err := a.create(ctx, r, wanted, cluster.ManagerReplace, time.Time{})
			if cluster.Is(err, cluster.Exists) && attempt < conflictAttempts {
				continue
			}
			return &Outcome{Object: created, Change: Created}, err
		}
		if s.Reused && live.GetDeletionTimestamp() != nil {
			return a.afresh(ctx, s, r)
		}
		next := wanted.DeepCopy()
		next.SetResourceVersion(live.GetResourceVersion())
		out, err := retry(ctx, a, func() (*unstructured.Unstructured, error) {
			return a.Client.Update(ctx, r, inNamespace(next, s.Namespace), a.strict(cluster.ManagerReplace))
		})
		if cluster.Is(err, cluster.Conflict) && attempt < conflictAttempts {
			continue
		}
		return changed(live, out), err
	}
}

func inNamespace(o *unstructured.Unstructured, namespace string) *unstructured.Unstructured {
	if o.GetNamespace() == "" && namespace != "" {
		o.SetNamespace(namespace)
	}
	return o
}
