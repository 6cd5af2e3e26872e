package operation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// create makes an object, and waits until then for a cluster that is away. When
// the answer is lost, it looks whether the object is there as it was sent.
func (a *Actor) create(ctx context.Context, r cluster.Resource, o *unstructured.Unstructured, manager string, until time.Time) (*unstructured.Unstructured, error) {
	lost := false
	return retryUntil(ctx, a, until, func() (*unstructured.Unstructured, error) {
		created, err := a.Client.Create(ctx, r, o, a.strict(manager))
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

// versionWithin bounds the search for a free version. Of those who look at the
// same time one finds it in every round.
const versionWithin = 2 * time.Minute

// newVersion creates an object whose name must be free. When it is not, and
// what is there is not ours, the versions are looked up again, and what is
// chosen is recorded before it is used.
func (a *Actor) newVersion(ctx context.Context, s *Step, r cluster.Resource) (*Outcome, error) {
	deadline := time.Now().Add(versionWithin)
	for round := 1; ; round++ {
		out, err := a.version(ctx, s, r)
		if out != nil || err != nil {
			return out, err
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("others took every version that was free, for %s: run the stage again", versionWithin)
		}
		if round > 1 {
			if err := pauseFor(ctx, rand.N(time.Duration(min(round, 10))*20*time.Millisecond)); err != nil {
				return nil, err
			}
		}
		if err := a.chooseAgain(ctx, s, r); err != nil {
			return nil, err
		}
		if s.Reused {
			return a.apply(ctx, s, r)
		}
	}
}

// afresh makes a new version of what was to be a version that is being deleted.
func (a *Actor) afresh(ctx context.Context, s *Step, r cluster.Resource) (*Outcome, error) {
	s.Reused = false
	if err := a.chooseAgain(ctx, s, r); err != nil {
		return nil, err
	}
	if s.Reused {
		return a.apply(ctx, s, r)
	}
	return a.newVersion(ctx, s, r)
}

// chooseAgain looks the versions up as they are now.
func (a *Actor) chooseAgain(ctx context.Context, s *Step, r cluster.Resource) error {
	all, err := retry(ctx, nil, func() ([]*metav1.PartialObjectMetadata, error) { return a.Client.Metadata(ctx, r, s.Namespace) })
	if err != nil {
		return err
	}
	existing := artifactsNamed(all, s.Artifact)
	version, reused := chooseVersion(existing, s.Manifest)
	if reused = reused && s.Action == Apply; !reused {
		version = max(nextVersion(existing), freeName(all, s.Artifact))
	}
	before := s.Name
	s.Version, s.Reused = &version, reused
	setVersion(s.Manifest, s.Artifact, version)
	s.Name = metadataText(s.Manifest, "name")
	if a.Choose == nil {
		return nil
	}
	return a.Choose(ctx, s, before)
}

// version tries to create one; nil and no error say that its name is taken.
func (a *Actor) version(ctx context.Context, s *Step, r cluster.Resource) (*Outcome, error) {
	wanted, manager := &unstructured.Unstructured{Object: s.Manifest}, cluster.ManagerReplace
	if s.Action != Replace {
		manager = cluster.ManagerApply
	}
	if s.Action == Apply || s.Action == Recreate {
		var err error
		if wanted, err = forCreation(s.Manifest); err != nil {
			return nil, err
		}
	}
	created, err := a.create(ctx, r, inNamespace(wanted, s.Namespace), manager, time.Time{})
	if cluster.Is(err, cluster.Exists) {
		if created, err = a.get(ctx, r, s.Namespace, s.Name); err == nil && (created == nil || !ours(created, wanted)) {
			return nil, nil
		}
	}
	if err != nil {
		return nil, err
	}
	if s.Action == ServerApply && !a.DryRun {
		// There is no create-only apply: an object that was created is handed
		// over to the manager that applies from now on.
		out, err := a.serverApply(ctx, s, r)
		if out != nil {
			out.Change = Created
		}
		return out, err
	}
	return &Outcome{Object: created, Change: Created}, nil
}

// createMarked makes an object that carries our mark, or finds the one that
// was made before.
func (a *Actor) createMarked(ctx context.Context, s *Step, r cluster.Resource, again bool) (*Outcome, error) {
	wanted := inNamespace(&unstructured.Unstructured{Object: s.Manifest}, s.Namespace)
	if again {
		if err := a.notRunYet(ctx, s, r); err != nil {
			return nil, err
		}
	}
	created, err := a.create(ctx, r, wanted, cluster.ManagerCreate, time.Time{})
	if cluster.Is(err, cluster.Exists) {
		live, getErr := a.get(ctx, r, s.Namespace, s.Name)
		if getErr == nil && live != nil && ours(live, wanted) {
			return &Outcome{Object: live, Change: Created}, nil
		}
	}
	return &Outcome{Object: created, Change: Created}, err
}

// notRunYet refuses to make a job that is not there because it has run already:
// one with a short time to live is gone before another process can go on with
// its task. What the cluster remembers of it are its events.
func (a *Actor) notRunYet(ctx context.Context, s *Step, r cluster.Resource) error {
	if r.KindText() != "job" {
		return nil
	}
	live, err := a.get(ctx, r, s.Namespace, s.Name)
	if err != nil || live != nil {
		return err
	}
	events, err := retry(ctx, nil, func() ([]*unstructured.Unstructured, error) { return a.Client.Events(ctx, s.Namespace, r.Kind, s.Name) })
	if cluster.Is(err, cluster.Forbidden) {
		if _, short := mapAt(s.Manifest, "spec")["ttlSecondsAfterFinished"]; !short {
			return nil // then it would be there
		}
		return fmt.Errorf("it is not known whether the job was run before the server that ran the task was lost, since its account may not list events: %w", err)
	}
	if err != nil {
		return err
	}
	for _, e := range events {
		uid, _, _ := unstructured.NestedString(e.Object, "involvedObject", "uid")
		if uid == s.UID || s.Sent != nil && e.GetCreationTimestamp().Time.Before(s.Sent.Add(-clockSkew)) {
			continue
		}
		return errors.New("the job was run and has been removed since (spec.ttlSecondsAfterFinished), before this could be recorded by the server that ran the task; it is not run a second time. Look for its outcome in its logs, or run the stage again")
	}
	return nil
}

// clockSkew is by how much the cluster's clock may be behind.
const clockSkew = 2 * time.Second

// recreate deletes the object of the name and creates it anew. Our own is known
// by its mark; one that others have made meanwhile is deleted like the one
// before it, as it would be if it had been there from the start.
func (a *Actor) recreate(ctx context.Context, s *Step, r cluster.Resource, again bool) (*Outcome, error) {
	wanted, err := forCreation(s.Manifest)
	if err != nil {
		return nil, err
	}
	inNamespace(wanted, s.Namespace)
	sentBefore := again && s.Sent != nil
	if sentBefore {
		if err := a.notRunYet(ctx, s, r); err != nil {
			return nil, err
		}
	}
	var before *unstructured.Unstructured
	var patience time.Time // it begins with the first deletion
	deadline := time.Now().Add(a.GoneWithin)
	for {
		live, err := a.getUntil(ctx, r, s.Namespace, s.Name, patience)
		switch {
		case err != nil:
			return nil, err
		case live != nil && ours(live, wanted):
			return &Outcome{Object: live, Before: before, Change: Created}, nil
		case live != nil && (sentBefore || time.Now().After(deadline)):
			return nil, inTheWay(live)
		case live != nil:
			if err := a.wouldTake(ctx, r, wanted, live, patience); err != nil {
				return nil, err
			}
			if a.DryRun {
				return &Outcome{Object: wanted, Before: live, Change: Updated}, nil
			}
			patience, before = deadline, live
			if err := a.removeObject(ctx, s, r, live); err != nil {
				return nil, err
			}
			continue
		}
		if err := a.sending(ctx, s); err != nil {
			return nil, err
		}
		created, err := a.create(ctx, r, wanted, cluster.ManagerApply, patience)
		if !cluster.Is(err, cluster.Exists) {
			return &Outcome{Object: created, Before: before, Change: Created}, err
		}
	}
}

func (a *Actor) removeObject(ctx context.Context, s *Step, r cluster.Resource, live *unstructured.Unstructured) error {
	s.UID = string(live.GetUID()) // its events are not those of what comes after it
	return a.remove(ctx, s, r, string(metav1.DeletePropagationBackground), nil)
}

// sending records, once, that the object is about to be made: whoever goes on
// with the task must not make it again when it has come and gone.
func (a *Actor) sending(ctx context.Context, s *Step) error {
	if s.Sent != nil || a.DryRun || a.Sending == nil {
		return nil
	}
	now := time.Now().UTC()
	s.Sent = &now
	return a.Sending(ctx, s)
}

// inTheWay names who has made an object under our name.
func inTheWay(live *unstructured.Unstructured) error {
	who := "somebody else"
	if mark := live.GetAnnotations()[markAnnotation]; mark != "" {
		task, _, _ := strings.Cut(mark, ".")
		who = "task " + task
	}
	if app := live.GetAnnotations()[spinnaker.AnnotationApplication]; app != "" {
		who += " (application " + app + ")"
	}
	return fmt.Errorf("%s made an object of the same name at the same time, at %s, and it is left as it is: run the stage again, or give each run a name of its own by metadata.generateName",
		who, live.GetCreationTimestamp().UTC().Format(time.RFC3339))
}

// wouldTake asks the server, changing nothing, whether it would take an object
// if the live one of its name were gone.
func (a *Actor) wouldTake(ctx context.Context, r cluster.Resource, o, live *unstructured.Unstructured, until time.Time) error {
	options := a.strict(cluster.ManagerApply)
	options.DryRun = true
	_, err := retryUntil(ctx, nil, until, func() (*unstructured.Unstructured, error) { return a.Client.Create(ctx, r, o, options) })
	switch {
	case err == nil, cluster.Is(err, cluster.Exists), heldBy(err, live):
		return nil
	case strings.Contains(err.Error(), "does not support dry run"):
		return nil // a webhook with side effects: only the real request can tell
	}
	return err
}

// freeName is the first version that no object's name uses: those that are not
// ours count, too.
func freeName(all []*metav1.PartialObjectMetadata, name string) int {
	next := 0
	for _, o := range all {
		text, ok := strings.CutPrefix(o.GetName(), name+"-")
		if !ok {
			continue
		}
		if v, ok := spinnaker.ParseVersion(text); ok {
			next = max(next, v+1)
		}
	}
	return next
}

// older orders by creation, and by version where that is equal.
func older(a, b metav1.Object) int {
	ta, tb := a.GetCreationTimestamp(), b.GetCreationTimestamp()
	if order := ta.Compare(tb.Time); order != 0 {
		return order
	}
	va, _ := versionOf(a)
	vb, _ := versionOf(b)
	return cmp.Compare(va, vb)
}
