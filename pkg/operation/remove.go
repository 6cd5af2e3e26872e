package operation

import (
	"context"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
)

func (a *Actor) delete(ctx context.Context, s *Step, r cluster.Resource) (*Outcome, error) {
	before, err := a.get(ctx, r, s.Namespace, s.Name)
	if err != nil {
		return nil, err
	}
	if before == nil || string(before.GetUID()) != s.UID {
		return &Outcome{Change: Deleted}, nil // somebody was faster, or we ourselves
	}
	if a.DryRun {
		return &Outcome{Before: before, Change: Deleted}, nil
	}
	if err := a.remove(ctx, s, r, s.Propagated, s.Grace); err != nil {
		return nil, err
	}
	return &Outcome{Before: before, Change: Deleted}, nil
}

// remove deletes by UID and waits until the object is gone.
func (a *Actor) remove(ctx context.Context, s *Step, r cluster.Resource, propagation string, grace *int64) error {
	uid, policy := types.UID(s.UID), metav1.DeletionPropagation(propagation)
	_, err := retry(ctx, a, func() (struct{}, error) {
		return struct{}{}, a.Client.Delete(ctx, r, s.Namespace, s.Name, metav1.DeleteOptions{
			Preconditions: &metav1.Preconditions{UID: &uid}, PropagationPolicy: &policy, GracePeriodSeconds: grace,
		})
	})
	if err != nil && !cluster.Is(err, cluster.NotFound) && !cluster.Is(err, cluster.Conflict) {
		return err
	}
	if gone, err := a.gone(ctx, s, r); gone || err != nil {
		return err
	}
	waiting := func() error { return a.untilGone(ctx, s, r) }
	if a.Idle != nil {
		return a.Idle(waiting)
	}
	return waiting()
}

// gone says whether the object with the step's UID is.
func (a *Actor) gone(ctx context.Context, s *Step, r cluster.Resource) (bool, error) {
	live, err := a.get(ctx, r, s.Namespace, s.Name)
	return err == nil && (live == nil || string(live.GetUID()) != s.UID), err
}

func (a *Actor) untilGone(ctx context.Context, s *Step, r cluster.Resource) error {
	deadline := time.Now().Add(a.GoneWithin)
	for wait := pollEvery / 4; ; wait = min(2*wait, 5*pollEvery) {
		if err := pauseFor(ctx, wait); err != nil {
			return err
		}
		if err := a.guard(); err != nil {
			return err
		}
		live, err := a.get(ctx, r, s.Namespace, s.Name)
		if err != nil {
			return err
		}
		if live == nil || string(live.GetUID()) != s.UID {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the deletion was accepted, but the object is still there after %s; finalizers remain: %s", a.GoneWithin, strings.Join(live.GetFinalizers(), ", "))
		}
	}
}
