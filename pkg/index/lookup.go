package index

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/s2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// Find finds an object of any watched kind, in any spelling; nil when the
// readers are shown none.
func (ix *Index) Find(accountName, namespace, kind, name string) *Object {
	a := ix.account(accountName)
	if a == nil {
		return nil
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.find(namespace, kind, name)
}

// Decode makes an object of a live one, for an answer about it alone: it is shown
// without label and annotations, too. nil when the account may not show it, or
// nobody should.
func Decode(a *account.Account, live *unstructured.Unstructured) *Object {
	if spinnaker.Ignored(live.GetAnnotations()) {
		return nil
	}
	gvk := live.GroupVersionKind()
	text := spinnaker.KindText(gvk.Group, gvk.Kind)
	class, _ := a.Class(text) // none for a kind that no view has
	raw, err := live.MarshalJSON()
	if err != nil {
		return nil
	}
	shown := *a
	shown.DeriveNames = true
	decoded, _ := objectDecoder(&shown, &Kind{Text: text, APIVersion: strings.ToLower(gvk.GroupVersion().String()), Class: class})(raw)
	if decoded == nil {
		return nil
	}
	return objectOf(decoded)
}

// GroupOf is a server group that the index need not hold, with what is held of
// its relations and with these instances.
func (ix *Index) GroupOf(accountName string, o *Object, instances []*Object) Group {
	a := ix.account(accountName)
	if a == nil {
		return Group{Object: o, Instances: instances}
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	g := a.group(o)
	g.Instances = instances
	return g
}

// BalancerOf is a load balancer likewise.
func (ix *Index) BalancerOf(accountName string, o *Object) Balancer {
	a := ix.account(accountName)
	if a == nil {
		return Balancer{Object: o}
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.balancer(o, nil)
}

// Instances are the UIDs of the instances of an object that the readers are
// shown, and a text that identifies them in their versions.
func (ix *Index) Instances(accountName, ownerUID string) (uids map[string]struct{}, versions string) {
	uids = map[string]struct{}{}
	a := ix.account(accountName)
	if a == nil {
		return uids, ""
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	var all []*Object
	children := a.children[uidOf(ownerUID)]
	for o := range children.all() {
		if o.Kind.Class == spinnaker.Instances {
			all = append(all, o)
		}
	}
	slices.SortFunc(all, Compare)
	sum := fnv.New128a()
	for _, o := range all {
		uids[o.UID()] = struct{}{}
		_, _ = fmt.Fprintln(sum, o.UID(), o.ResourceVersion())
	}
	return uids, fmt.Sprintf("%x", sum.Sum(nil))
}

// Members lists what an application has in an account beside instances, in
// order.
func (ix *Index) Members(application, accountName string) []*Object {
	a := ix.account(accountName)
	if a == nil {
		return nil
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	p := a.apps[strings.ToLower(application)]
	if p == nil {
		return nil
	}
	var out []*Object
	for _, members := range []*set{&p.groups, &p.managers, &p.balancers, &p.policies, &p.others} {
		out = slices.AppendSeq(out, members.all())
	}
	slices.SortFunc(out, Compare)
	return out
}

// finishedFor is how long a job that is gone is remembered: Orca asks until it
// knows how the job ended, and a job may go before that by its own time to
// live.
const finishedFor = time.Hour

// finishedMost bounds how many of them an account remembers.
const finishedMost = 1000

type finished struct {
	packed []byte
	since  time.Time
}

// remember keeps the last state of a job that goes.
func (a *Account) remember(o *Object) {
	if o.Kind.Text != "job" || o.Group == nil || o.Group.packed == nil {
		return
	}
	if len(a.finished) >= finishedMost {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(a.finished)), func(x, y place) int {
			return cmp.Compare(a.finished[x].since.UnixNano(), a.finished[y].since.UnixNano())
		})
		delete(a.finished, oldest)
	}
	a.finished[place{o.Namespace, o.Name}] = finished{o.Group.packed, time.Now()}
}

// LastJob is the last known state of a job that is gone since less than an
// hour; nil for none.
func (ix *Index) LastJob(accountName, namespace, name string) *unstructured.Unstructured {
	a := ix.account(accountName)
	if a == nil {
		return nil
	}
	a.mu.RLock()
	f, ok := a.finished[place{namespace, name}]
	a.mu.RUnlock()
	if !ok || time.Since(f.since) > finishedFor {
		return nil
	}
	raw, err := s2.Decode(nil, f.packed)
	if err != nil {
		return nil
	}
	out := &unstructured.Unstructured{}
	if utiljson.Unmarshal(raw, &out.Object) != nil {
		return nil
	}
	return out
}
