package operation

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// Preview is what an operation would do.
type Preview struct {
	Operation string        `json:"operation"`
	Account   string        `json:"account"`
	Objects   []PreviewItem `json:"objects"`
	// BoundArtifacts are those that manifests would use.
	BoundArtifacts []spinnaker.Artifact `json:"boundArtifacts"`
	// Error is why it would fail before it acts.
	Error string `json:"error,omitempty"`
}

// PreviewItem is what would become of one object.
type PreviewItem struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	// Action is create, update, unchanged, delete or new version.
	Action string `json:"action"`
	Diff   []Diff `json:"diff"`
	// Error is what the server, or the plan, says against it.
	Error string `json:"error,omitempty"`
	// Note says what could not be found out without acting.
	Note string `json:"note,omitempty"`
}

// Diff is one field that would change. The content of secrets is masked.
type Diff struct {
	Path   string `json:"path"`
	Before any    `json:"before,omitempty"`
	After  any    `json:"after,omitempty"`
}

const newVersion = "new version"

// DryRun plans an operation and has the server check every step, changing
// nothing.
func DryRun(ctx context.Context, op Operation, p *Planner, client Writer) Preview {
	out := Preview{Operation: op.Name(), Account: p.Account.Name, Objects: []PreviewItem{}, BoundArtifacts: []spinnaker.Artifact{}}
	plan, err := op.Plan(ctx, p)
	if err != nil {
		out.Error = err.Error()
		return out
	}
	if plan.Result != nil && plan.Result.Bound != nil {
		out.BoundArtifacts = plan.Result.Bound
	}
	actor := &Actor{Account: p.Account.Name, Client: client, Task: p.Task, DryRun: true}
	made := map[string]bool{} // namespaces and kinds that earlier steps would make
	for i := range plan.Steps {
		s := &plan.Steps[i]
		if s.Action == Nothing && s.Name == "" || s.Action == LabelPods {
			continue
		}
		out.Objects = append(out.Objects, preview(ctx, actor, s, made))
	}
	return out
}

func preview(ctx context.Context, a *Actor, s *Step, made map[string]bool) PreviewItem {
	item := PreviewItem{Name: s.FullName(), Namespace: s.Namespace, Diff: []Diff{}}
	switch {
	case s.Resource == nil:
		item.Action, item.Note = string(Created), "its kind is defined by this request, so the server cannot check it yet"
		return item
	case made["namespace "+s.Namespace]:
		item.Action, item.Note = string(Created), "its namespace is made by this request, so the server cannot check it yet"
		return item
	}
	o, err := a.Act(ctx, s, false)
	if err != nil {
		item.Action, item.Error = string(intended(s)), err.Error()
		return item
	}
	item.Name, item.Action = s.FullName(), string(o.Change)
	if s.Version != nil {
		item.Action = newVersion
	}
	if o.Change == Created && s.KindText() == "namespace" {
		made["namespace "+s.Name] = true
	}
	if o.Object != nil && o.Before != nil {
		item.Diff = diff(s.KindText() == "secret", o.Before, o.Object)
		if len(item.Diff) == 0 && item.Action == string(Updated) {
			item.Action = string(Unchanged)
		}
	}
	return item
}

func intended(s *Step) Change {
	switch s.Action {
	case Delete:
		return Deleted
	case Patch, Scale:
		return Updated
	}
	return Created
}

// diff lists the fields that differ, without those that every write changes.
func diff(secret bool, before, after *unstructured.Unstructured) []Diff {
	out := []Diff{}
	b, a := before.DeepCopy().Object, after.DeepCopy().Object
	for _, object := range []map[string]any{b, a} {
		delete(object, "status")
		for _, key := range []string{"managedFields", "resourceVersion", "generation", "creationTimestamp", "uid"} {
			unstructured.RemoveNestedField(object, "metadata", key)
		}
		unstructured.RemoveNestedField(object, "metadata", "annotations", lastApplied)
	}
	compare("", b, a, func(d Diff) {
		if secret && masked(d.Path) {
			d.Before, d.After = mask(d.Before), mask(d.After)
		}
		out = append(out, d)
	})
	return out
}

const (
	// mostDiffs of an object are kept with its task, and longestValue characters
	// of each value.
	mostDiffs    = 40
	longestValue = 200
)

// Changed is what a step changed of an object, as much of it as is kept.
func Changed(kindText string, o *Outcome) []Diff {
	out := []Diff{}
	if o.Object == nil || o.Before == nil {
		return out
	}
	all := diff(kindText == "secret", o.Before, o.Object)
	for _, d := range all[:min(len(all), mostDiffs)] {
		out = append(out, Diff{Path: d.Path, Before: brief(d.Before), After: brief(d.After)})
	}
	if more := len(all) - mostDiffs; more > 0 {
		out = append(out, Diff{Path: fmt.Sprintf("and %d more", more)})
	}
	return out
}

// brief is a value, or the begin of its JSON when that is long.
func brief(v any) any {
	text, err := json.Marshal(v)
	if err != nil || len(text) <= longestValue {
		return v
	}
	return strings.ToValidUTF8(string(text[:longestValue]), "") + "…"
}

func masked(path string) bool {
	return len(path) > 5 && (path[:5] == "/data" || path[:5] == "/stri")
}

func mask(v any) any {
	if v == nil {
		return nil
	}
	return "***"
}

func compare(path string, before, after any, found func(Diff)) {
	if reflect.DeepEqual(before, after) {
		return
	}
	b, beforeMap := before.(map[string]any)
	a, afterMap := after.(map[string]any)
	if (beforeMap || before == nil) && (afterMap || after == nil) && (len(b) > 0 || len(a) > 0) {
		keys := map[string]bool{}
		for k := range b {
			keys[k] = true
		}
		for k := range a {
			keys[k] = true
		}
		var sorted []string
		for k := range keys {
			sorted = append(sorted, k)
		}
		slices.SortFunc(sorted, cmp.Compare[string])
		for _, k := range sorted {
			compare(path+"/"+k, b[k], a[k], found)
		}
		return
	}
	bl, beforeList := before.([]any)
	al, afterList := after.([]any)
	if beforeList && afterList && len(bl) == len(al) {
		for i := range bl {
			compare(fmt.Sprintf("%s/%d", path, i), bl[i], al[i], found)
		}
		return
	}
	found(Diff{Path: path, Before: before, After: after})
}

// ClientFunc makes clients of a fleet's; it spares everybody a type for it.
type ClientFunc func(accountName string) (*cluster.Client, error)

// Client gives the client of an account.
func (f ClientFunc) Client(accountName string) (Writer, error) {
	c, err := f(accountName)
	if err != nil {
		return nil, err
	}
	return c, nil
}
