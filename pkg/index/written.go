package index

import (
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// goneFor is how long a deletion is remembered whose event never comes, for
// example since a list came instead.
const goneFor = 10 * time.Minute

// kindOf finds the objects of a kind in any spelling; nil when no view shows
// it.
func (a *Account) kindOf(kindText string) *kindObjects {
	if k := a.kinds[kindText]; k != nil {
		return k
	}
	for text, k := range a.kinds {
		if spinnaker.SameKind(text, kindText) {
			return k
		}
	}
	return nil
}

// Written brings an object as a server returned it to the readers, ahead of
// the watch, which may have been faster.
func (ix *Index) Written(accountName, kindText string, object *unstructured.Unstructured) {
	a := ix.account(accountName)
	if a == nil {
		return
	}
	a.mu.RLock()
	k := a.kindOf(kindText)
	var kind *Kind
	if k != nil {
		kind = k.kind
	}
	a.mu.RUnlock()
	if k == nil {
		return
	}
	raw, err := object.MarshalJSON()
	if err != nil {
		return // it came as JSON
	}
	decoded, _ := a.decoder(kind, func() bool { return false })(raw)
	if decoded == nil {
		return // what the watch cannot show either
	}
	if !a.selects(object.GetLabels()) {
		decoded = hidden{objectOf(decoded)} // the watch does not see it
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || a.kinds[kind.Text] != k || k.kind != kind || !k.followed(object.GetNamespace()) || k.passed(object.GetNamespace(), object.GetResourceVersion()) {
		return
	}
	a.upsert(k, decoded)
}

// Gone takes a deleted object from the readers, and keeps late events from
// bringing it back.
func (ix *Index) Gone(accountName, kindText, namespace, name, uid string) {
	a := ix.account(accountName)
	if a == nil || uid == "" {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	k := a.kindOf(kindText)
	if k == nil || a.closed {
		return
	}
	a.forgetGone()
	a.gone[uid] = time.Now()
	if cur := k.table.find(namespace, name); cur != nil && cur.UID() == uid {
		a.remember(cur)
		a.vanish(k, cur)
	}
}

// Write is a write of an object as it was recorded.
type Write struct {
	Account, Kind, Namespace, Name, UID string
	// Version is what readers have to be shown, or newer; "" for a deletion.
	Version string
}

// Confirms says whether the readers are shown a write, or something newer.
func (ix *Index) Confirms(w Write) bool {
	a := ix.account(w.Account)
	if a == nil {
		return true // nothing of it is shown
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	k := a.kindOf(w.Kind)
	if k == nil || !k.followed(w.Namespace) {
		return true
	}
	if _, known := a.gone[w.UID]; known {
		return true
	}
	if w.Version == "" {
		// Without an end in the watch, an event from before may still come.
		return false
	}
	cur := k.table.find(w.Namespace, w.Name)
	if cur != nil && (cur.hasVersion([]byte(w.Version)) || cur.newerThan(w.Version)) {
		return true
	}
	return k.passed(w.Namespace, w.Version)
}

// UID is that of the object which the readers are shown under a name, "" for
// none.
func (ix *Index) UID(accountName, kindText, namespace, name string) string {
	a := ix.account(accountName)
	if a == nil {
		return ""
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	if k := a.kindOf(kindText); k != nil {
		if cur := k.table.find(namespace, name); cur != nil {
			return cur.UID()
		}
	}
	return ""
}

// Complete says whether lists of a kind leave nothing out that has Spinnaker's
// annotations.
func (ix *Index) Complete(accountName, kindText string) bool {
	a := ix.account(accountName)
	if a == nil {
		return false
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	k := a.kindOf(kindText)
	return k != nil && !k.ignored && a.account.LabelSelector == ""
}

// followed says whether the kind is listed in a namespace, or will be. Where it
// may not be, nothing would ever take an object away again that was brought by
// a write.
func (k *kindObjects) followed(namespace string) bool {
	for _, r := range k.receivers {
		if r.covers(namespace) && r.from.Freshness().Phase != watch.Ended {
			return true
		}
	}
	return false
}

// passed says whether the watch has delivered everything up to a version.
func (k *kindObjects) passed(namespace, version string) bool {
	for _, r := range k.receivers {
		if !r.covers(namespace) || r.passed == "" {
			continue
		}
		if order, err := resourceversion.CompareResourceVersion(version, r.passed); err == nil && order <= 0 {
			return true
		}
	}
	return false
}

// selects says whether the account's watches see an object with the labels.
func (a *Account) selects(set map[string]string) bool {
	if a.account.LabelSelector == "" {
		return true
	}
	selector, err := labels.Parse(a.account.LabelSelector)
	return err == nil && selector.Matches(labels.Set(set))
}

// forgetGone forgets deletions whose event never came, now and then.
func (a *Account) forgetGone() {
	const seldom = time.Minute
	if time.Since(a.swept) < seldom {
		return
	}
	a.swept = time.Now()
	for uid, since := range a.gone {
		if time.Since(since) > goneFor {
			delete(a.gone, uid)
		}
	}
}
