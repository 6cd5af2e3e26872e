package operation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// Writer is what acting needs of a cluster; cluster.Client is one.
type Writer interface {
	Cluster
	Create(ctx context.Context, r cluster.Resource, o *unstructured.Unstructured, options cluster.WriteOptions) (*unstructured.Unstructured, error)
	Update(ctx context.Context, r cluster.Resource, o *unstructured.Unstructured, options cluster.WriteOptions) (*unstructured.Unstructured, error)
	Patch(ctx context.Context, r cluster.Resource, namespace, name, subresource string, kind types.PatchType, patch []byte, options cluster.WriteOptions) (*unstructured.Unstructured, error)
	Subresource(ctx context.Context, r cluster.Resource, namespace, name, subresource string) (*unstructured.Unstructured, error)
	UpdateSubresource(ctx context.Context, r cluster.Resource, namespace, name, subresource string, o *unstructured.Unstructured, options cluster.WriteOptions) (*unstructured.Unstructured, error)
	Delete(ctx context.Context, r cluster.Resource, namespace, name string, options metav1.DeleteOptions) error
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
	case s.Version != nil && s.Action != Delete && s.Action != Patch:
		return a.newVersion(ctx, s, r)
	case s.Action == Apply:
		return a.apply(ctx, s, r)
	case s.Action == ServerApply:
		return a.serverApply(ctx, s, r)
	case s.Action == Replace:
		return a.replace(ctx, s, r)
	case s.Action == Create:
		return a.createMarked(ctx, s, r)
	case s.Action == Recreate:
		return a.recreate(ctx, s, r)
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
		if o != nil {
			conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
			for _, c := range conditions {
				if c, ok := c.(map[string]any); ok && c["type"] == "Established" && c["status"] == "True" {
					_, err := a.Client.Discover(ctx)
					return err
				}
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not established within %s", establishedWithin)
		}
		if err := pauseFor(ctx, pollEvery); err != nil {
			return err
		}
	}
}

// get returns nil for an object that is not there.
func (a *Actor) get(ctx context.Context, r cluster.Resource, namespace, name string) (*unstructured.Unstructured, error) {
	o, err := retry(ctx, nil, func() (*unstructured.Unstructured, error) { return a.Client.Get(ctx, r, namespace, name) })
	if cluster.Is(err, cluster.NotFound) {
		return nil, nil
	}
	return o, err
}

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

var errUnclear = errors.New("it is not known whether the patch took effect before the server was restarted, and it cannot be sent twice: check the object and run the stage again")

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
	if a.DryRun {
		var err error
		if before, err = a.get(ctx, r, s.Namespace, s.Name); err != nil {
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
	return jsonpatch.MergeMergePatches(s.Patch, []byte(`{"metadata":{"uid":"`+s.UID+`"}}`))
}

func (a *Actor) scale(ctx context.Context, s *Step, r cluster.Resource) (*Outcome, error) {
	for attempt := 0; ; attempt++ {
		current, err := retry(ctx, nil, func() (*unstructured.Unstructured, error) {
			return a.Client.Subresource(ctx, r, s.Namespace, s.Name, "scale")
		})
		if err != nil {
			return nil, err
		}
		if string(current.GetUID()) != s.UID {
			return nil, errors.New("the object was replaced by another while the task was running")
		}
		now, _, _ := unstructured.NestedInt64(current.Object, "spec", "replicas")
		if now != *s.Replicas {
			if err := unstructured.SetNestedField(current.Object, *s.Replicas, "spec", "replicas"); err != nil {
				return nil, err
			}
			_, err = retry(ctx, a, func() (*unstructured.Unstructured, error) {
				return a.Client.UpdateSubresource(ctx, r, s.Namespace, s.Name, "scale", current, a.options("kubectl"))
			})
			if cluster.Is(err, cluster.Conflict) && attempt < conflictAttempts {
				continue
			}
			if err != nil {
				return nil, err
			}
		}
		// The scale object is not the target: what readers must see is that.
		live, err := a.get(ctx, r, s.Namespace, s.Name)
		if err != nil {
			return nil, err
		}
		if live == nil {
			return nil, &cluster.Error{Reason: cluster.NotFound, Err: errors.New("not found")}
		}
		out := &Outcome{Object: live, Change: Updated}
		if a.DryRun { // the server has checked the count and kept the old one
			out.Before, out.Object = live, live.DeepCopy()
			if err := unstructured.SetNestedField(out.Object.Object, *s.Replicas, "spec", "replicas"); err != nil {
				return nil, err
			}
		}
		if now == *s.Replicas {
			out.Change = Unchanged
		}
		return out, nil
	}
}

// retry repeats what may be repeated: calls that did not reach the server or
// that it could not serve. a is nil for reads.
func retry[T any](ctx context.Context, a *Actor, call func() (T, error)) (T, error) {
	const most = 4
	wait := 250 * time.Millisecond
	for attempt := 1; ; attempt++ {
		if a != nil {
			if err := a.guard(); err != nil {
				var none T
				return none, err
			}
		}
		out, err := call()
		var e *cluster.Error
		if err == nil || attempt == most || !errors.As(err, &e) || (e.Reason != cluster.Unavailable && e.Reason != cluster.Throttled) || ctx.Err() != nil {
			return out, err
		}
		if strings.Contains(e.Error(), "webhook") {
			return out, err // it has had its time-out
		}
		const longest = 10 * time.Second
		if e.RetryAfter > 0 {
			wait = min(time.Duration(e.RetryAfter)*time.Second, longest)
		}
		if pauseFor(ctx, wait) != nil {
			return out, err
		}
		wait *= 2
	}
}

func pauseFor(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// explain says what failed on which object, for the people who read the task.
func (a *Actor) explain(s *Step, r cluster.Resource, err error) error {
	var e *cluster.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("%s: %w", s.FullName(), err)
	}
	where := ""
	if r.Namespaced {
		where = fmt.Sprintf(" in namespace %q", s.Namespace)
	}
	text := cluster.Message(err)
	switch e.Reason {
	case cluster.NotFound:
		if !strings.Contains(text, "not found") {
			text += " (not found)"
		}
	case cluster.Unavailable, cluster.Unauthorized, cluster.Throttled:
		text = "account " + a.Account + ": " + text
	}
	if strings.Contains(text, "metadata.annotations: Too long") {
		text += "; use the annotation " + spinnaker.AnnotationReplace + " or " + spinnaker.AnnotationServerApply + ", which keep no copy of the manifest in it"
	}
	return &ActError{text: s.FullName() + where + ": " + redact(s, e.Reason, text), err: err}
}

// ActError is a step that failed, in words for people.
type ActError struct {
	text string
	err  error
}

func (e *ActError) Error() string { return e.text }
func (e *ActError) Unwrap() error { return e.err }

// redact cuts what may be the content of a secret out of a text: servers and
// webhooks quote what they refuse, in forms that cannot all be foreseen.
func redact(s *Step, reason cluster.Reason, text string) string {
	if s.KindText() != "secret" {
		return text
	}
	if hook, _, denied := strings.Cut(text, " denied the request"); denied {
		return hook + " denied the request; why is not shown, since it may quote the secret"
	}
	if reason == cluster.Unsupported || reason == cluster.Invalid {
		return "the server refused it; why is not shown, since it may quote the secret"
	}
	return text
}
