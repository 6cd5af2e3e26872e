package operation

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
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
	deadline := time.Now().Add(a.GoneWithin)
	// What comes after it makes a deletion that must be brought to its end.
	var patience time.Time
	if s.Action == Recreate {
		patience = deadline
	}
	if err := a.sendDelete(ctx, s, r, propagation, grace, patience); err != nil {
		return err
	}
	if gone, err := a.gone(ctx, s, r, deadline); gone || err != nil {
		return err
	}
	return a.idle(func() error { return a.untilGone(ctx, s, r, deadline) })
}

func (a *Actor) sendDelete(ctx context.Context, s *Step, r cluster.Resource, propagation string, grace *int64, until time.Time) error {
	uid, policy := types.UID(s.UID), metav1.DeletionPropagation(propagation)
	_, err := retryUntil(ctx, a, until, func() (struct{}, error) {
		return struct{}{}, a.Client.Delete(ctx, r, s.Namespace, s.Name, metav1.DeleteOptions{
			Preconditions: &metav1.Preconditions{UID: &uid}, PropagationPolicy: &policy, GracePeriodSeconds: grace,
		})
	})
	if cluster.Is(err, cluster.NotFound) || cluster.Is(err, cluster.Conflict) {
		return nil // it is gone, or another is in its place
	}
	return err
}

func (a *Actor) idle(wait func() error) error {
	if a.Idle == nil {
		return wait()
	}
	return a.Idle(wait)
}

// Removal is one deletion of several that run side by side.
type Removal struct {
	Outcome *Outcome
	Err     error
}

// besides is how many deletions are under way at once.
const besides = 10

// RemoveTogether carries deletions out side by side, and waits for all of them
// together. again says that they may have been carried out before.
func (a *Actor) RemoveTogether(ctx context.Context, steps []*Step, again bool) []Removal {
	if again {
		ctx = goingOn(ctx, time.Now().Add(a.GoneWithin))
	}
	if a.Guard != nil {
		ctx = cluster.Guarded(ctx, a.Guard)
	}
	out := make([]Removal, len(steps))
	resources := make([]cluster.Resource, len(steps))
	sideBySide(len(steps), func(i int) {
		s := steps[i]
		r, err := a.resource(ctx, s)
		if err == nil {
			err = a.sendDelete(ctx, s, r, s.Propagated, s.Grace, time.Time{})
		}
		resources[i] = r
		if err != nil {
			out[i].Err = a.explain(s, r, err)
		}
	})
	deadline := time.Now().Add(a.GoneWithin)
	waiting := a.idle(func() error {
		sideBySide(len(steps), func(i int) {
			if out[i].Err != nil {
				return
			}
			if err := a.untilGone(ctx, steps[i], resources[i], deadline); err != nil {
				out[i].Err = a.explain(steps[i], resources[i], err)
			}
		})
		return nil
	})
	for i := range out {
		if out[i].Err == nil && waiting != nil {
			out[i].Err = waiting
		}
		if out[i].Err == nil {
			out[i].Outcome = &Outcome{Change: Deleted, Resource: resources[i]}
		}
	}
	return out
}

func sideBySide(n int, do func(i int)) {
	var all errgroup.Group
	all.SetLimit(besides)
	for i := range n {
		all.Go(func() error { do(i); return nil })
	}
	_ = all.Wait() // none fails
}

// gone says whether the object with the step's UID is.
func (a *Actor) gone(ctx context.Context, s *Step, r cluster.Resource, deadline time.Time) (bool, error) {
	live, err := a.getUntil(ctx, r, s.Namespace, s.Name, deadline)
	return err == nil && (live == nil || string(live.GetUID()) != s.UID), err
}

// untilGone waits, also for an API server that is away: the deletion has begun.
func (a *Actor) untilGone(ctx context.Context, s *Step, r cluster.Resource, deadline time.Time) error {
	for wait := pollEvery / 4; ; wait = min(2*wait, 5*pollEvery) {
		if err := pauseFor(ctx, wait); err != nil {
			return err
		}
		if err := a.guard(); err != nil {
			return err
		}
		live, err := a.getUntil(ctx, r, s.Namespace, s.Name, deadline)
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
