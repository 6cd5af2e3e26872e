package operation

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
)

var errUnclear = errors.New("it is not known whether the patch took effect before the server was restarted, and it cannot be sent twice: check the object and run the stage again")

var errReplaced = errors.New("the object was replaced by another of its name while the task was running: run the stage again")

func (a *Actor) patch(ctx context.Context, s *Step, r cluster.Resource, again bool) (*Outcome, error) {
	if again && s.Unsafe {
		return nil, errUnclear
	}
	body := s.Patch
	if s.UID != "" {
		var err error
		if body, err = onlyFor(s); err != nil {
			return nil, err
		}
	}
	send := func() (*unstructured.Unstructured, error) {
		return a.Client.Patch(ctx, r, s.Namespace, s.Name, "", s.PatchType, body, a.options(cluster.ManagerPatch))
	}
	var before *unstructured.Unstructured
	if a.DryRun || a.Before {
		var err error
		// For people only, unless nothing is to be changed: the patch goes without.
		if before, err = a.get(ctx, r, s.Namespace, s.Name); err != nil && a.DryRun {
			return nil, err
		}
	}
	var out *unstructured.Unstructured
	var err error
	if s.Unsafe {
		if err = a.guard(); err == nil {
			out, err = send()
		}
	} else {
		out, err = retry(ctx, a, send)
		for attempt := 0; cluster.Is(err, cluster.Conflict) && attempt < conflictAttempts && s.UID == ""; attempt++ {
			out, err = retry(ctx, a, send)
		}
	}
	if cluster.Is(err, cluster.NotFound) && s.MayBeGone {
		return &Outcome{Change: Absent}, nil
	}
	if err != nil && s.UID != "" && s.PatchType == types.JSONPatchType {
		// A removal of what is gone already fails; see whether all is done.
		if live, getErr := a.get(ctx, r, s.Namespace, s.Name); getErr == nil && live != nil && string(live.GetUID()) == s.UID && holds(live, s.Patch) {
			return &Outcome{Object: live, Change: Unchanged}, nil
		}
	}
	return &Outcome{Object: out, Before: before, Change: Updated}, err
}

// onlyFor adds the UID to a patch, which the server compares.
func onlyFor(s *Step) ([]byte, error) {
	if s.PatchType == types.JSONPatchType {
		return []byte(strings.Replace(string(s.Patch), "[", `[{"op":"test","path":"/metadata/uid","value":"`+s.UID+`"},`, 1)), nil
	}
	return ofObject(s.Patch, types.UID(s.UID))
}

// scale patches the subresource, as kubectl does; the UID keeps it from
// another object of the name.
func (a *Actor) scale(ctx context.Context, s *Step, r cluster.Resource) (*Outcome, error) {
	live, err := a.get(ctx, r, s.Namespace, s.Name)
	if err != nil {
		return nil, err
	}
	if live == nil {
		return nil, &cluster.Error{Reason: cluster.NotFound, Err: errors.New("not found")}
	}
	if string(live.GetUID()) != s.UID {
		return nil, errReplaced
	}
	if now, _, _ := unstructured.NestedInt64(live.Object, "spec", "replicas"); now == *s.Replicas {
		return &Outcome{Object: live, Change: Unchanged}, nil
	}
	body := fmt.Appendf(nil, `{"metadata":{"uid":%q},"spec":{"replicas":%d}}`, s.UID, *s.Replicas)
	for attempt := 0; ; attempt++ {
		_, err := retry(ctx, a, func() (*unstructured.Unstructured, error) {
			return a.Client.Patch(ctx, r, s.Namespace, s.Name, "scale", types.MergePatchType, body, a.options("kubectl"))
		})
		if cluster.Is(err, cluster.Conflict) && attempt < conflictAttempts {
			continue
		}
		if err != nil {
			return nil, err
		}
		break
	}
	if a.DryRun { // the server has checked the count and kept the old one
		after := live.DeepCopy()
		err := unstructured.SetNestedField(after.Object, *s.Replicas, "spec", "replicas")
		return &Outcome{Object: after, Before: live, Change: Updated}, err
	}
	// The scale object is not the target: what readers must see is that.
	after, err := a.get(ctx, r, s.Namespace, s.Name)
	if err != nil {
		return nil, err
	}
	if after == nil {
		return nil, &cluster.Error{Reason: cluster.NotFound, Err: errors.New("not found")}
	}
	return &Outcome{Object: after, Before: live, Change: Updated}, nil
}
