package index

import (
	"iter"

	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// receiver takes one kind in one namespace, or in all. It only goes forward:
// everything up to passed has been delivered, so an event that is not newer is
// late, and an object that is not there by then is gone.
type receiver struct {
	a         *Account
	resource  cluster.Resource
	kind      string
	namespace string
	from      *watch.Stream
	progress
}

// progress is how far a watch has delivered; it only goes forward.
type progress struct {
	passed string
	// void says that the history that was delivered is over: until the first list
	// of the next one, what comes proves nothing.
	void bool
}

// end voids what has been delivered.
func (p *progress) end() { p.passed, p.void = "", true }

// late says whether an event has been overtaken, and moves on if not.
func (p *progress) late(version string) bool {
	if p.void {
		return false
	}
	if order, err := resourceversion.CompareResourceVersion(version, p.passed); err == nil && order <= 0 {
		return true
	}
	p.passed = version
	return false
}

// beyond says whether what is held is as of a later moment than a list.
func (p *progress) beyond(version string) bool { return p.passed != "" && newer(p.passed, version) }

// into is where the objects go; nil for a receiver that is not in use any more.
// The account's lock is held.
func (r *receiver) into() *kindObjects {
	k := r.a.kinds[r.kind]
	if k == nil || r.a.closed || k.receivers[r.namespace] != r {
		return nil
	}
	return k
}

// Replace implements watch.Receiver.
func (r *receiver) Replace(objects []watch.Object, version string, reset bool) {
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	r.replace(objects, version, reset)
}

func (r *receiver) replace(objects []watch.Object, version string, reset bool) {
	k := r.into()
	if k == nil || !reset && (r.void || r.beyond(version)) {
		return
	}
	r.a.leaveOut(r, k, objects, version, reset)
	k.table.expect(shown(objects))
	take := func() {
		for _, o := range objects {
			r.a.upsert(k, o)
		}
	}
	if first := k.table.len() == 0; first && len(objects) > len(r.a.apps) {
		r.a.fill(take)
	} else {
		take()
	}
	k.table.clip()
	r.passed, r.void = version, false
}

// shown are those of a list that views may show.
func shown(list []watch.Object) iter.Seq[*Object] {
	return func(yield func(*Object) bool) {
		for _, o := range list {
			if o, ok := o.(*Object); ok && !yield(o) {
				return
			}
		}
	}
}

// leaveOut takes away what a list does not have.
func (a *Account) leaveOut(r *receiver, k *kindObjects, objects []watch.Object, version string, reset bool) {
	if k.table.len() == 0 {
		return
	}
	listed := make([]bool, len(k.table.rows))
	for o := range shown(objects) {
		if row := k.table.row(o.Namespace, o.Name); row >= 0 && !reset {
			listed[row] = true
		}
	}
	for o := range k.table.objects() {
		if listed[o.row] || !r.covers(o.Namespace) {
			continue
		}
		// What is newer than the list was written after it.
		if reset || !o.newerThan(version) {
			a.remember(o)
			a.vanish(k, o)
		}
	}
}

// Held implements watch.Holder: most of what is listed anew has not changed since, and
// need not be read.
func (r *receiver) Held(raw []byte) watch.Object {
	is, ok := identify(raw)
	if !ok {
		return nil
	}
	r.a.mu.RLock()
	defer r.a.mu.RUnlock()
	k := r.into()
	if k == nil || r.passed == "" {
		return nil
	}
	o := k.table.find(string(is.namespace), string(is.name))
	if o == nil || o.Kind != k.kind || !o.hasVersion(is.version) || !o.hasUID(is.uid) {
		return nil
	}
	return o
}

func (r *receiver) covers(namespace string) bool {
	return r.namespace == "" || r.namespace == namespace
}

// Upsert implements watch.Receiver.
func (r *receiver) Upsert(o watch.Object) {
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	r.upsert(o)
}

func (r *receiver) upsert(o watch.Object) {
	if k := r.into(); k != nil && !r.late(o.ResourceVersion()) {
		r.a.upsert(k, o)
	}
}

// Passed implements watch.Receiver.
func (r *receiver) Passed(version string) {
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	r.pass(version)
}

func (r *receiver) pass(version string) {
	if r.into() != nil {
		r.late(version)
	}
}

// Delete implements watch.Receiver. An object also "goes" when its labels no
// longer match the selector, and may come back with a higher version.
func (r *receiver) Delete(gone watch.Object) {
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	r.remove(gone)
}

func (r *receiver) remove(gone watch.Object) {
	k := r.into()
	if k == nil || r.late(gone.ResourceVersion()) {
		return
	}
	o := objectOf(gone)
	if r.a.deleted(o) {
		delete(r.a.gone, o.UID())
		r.a.remember(o) // a read may have found it gone before its last event came
	}
	cur := k.table.find(o.Namespace, o.Name)
	if cur != nil && sameUID(cur, o) && !cur.newer(o) {
		r.a.remember(o) // as it was at the end
		r.a.vanish(k, cur)
	}
}
