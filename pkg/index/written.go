package index

import (
	"encoding/json"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
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
	a.mu.RUnlock()
	if k == nil {
		return
	}
	decoded, err := a.decoder(k.kind)(func(v any) error {
		raw, err := object.MarshalJSON()
		if err != nil {
			return err
		}
		return json.Unmarshal(raw, v)
	})
	if err != nil || decoded == nil {
		return // what the watch cannot show either
	}
	if !a.selects(object.GetLabels()) {
		decoded = hidden{objectOf(decoded)} // the watch does not see it
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || a.kinds[k.kind.Text] != k || k.passed(object.GetNamespace(), object.GetResourceVersion()) {
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
	a.gone[uid] = time.Now()
	if cur := k.objects[place{namespace, name}]; cur != nil && cur.UID == uid {
		a.remember(cur)
		a.vanish(k, cur)
	}
}

// Confirms says whether the readers are shown a write, or something newer. A
// deleted object has no version.
func (ix *Index) Confirms(accountName, kindText, namespace, name, uid, version string) bool {
	a := ix.account(accountName)
	if a == nil {
		return true // nothing of it is shown
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	k := a.kindOf(kindText)
	if k == nil {
		return true
	}
	cur := k.objects[place{namespace, name}]
	if version == "" {
		if _, known := a.gone[uid]; known {
			return true
		}
		// Without an end in the watch, an event from before may still come.
		return false
	}
	if cur != nil && (cur.version == version || newer(cur.version, version)) {
		return true
	}
	if _, known := a.gone[uid]; known {
		return true
	}
	return k.passed(namespace, version)
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
		if cur := k.objects[place{namespace, name}]; cur != nil {
			return cur.UID
		}
	}
	return ""
}

// Follows says whether the readers are shown every object of a kind in a
// namespace that has Spinnaker's annotations.
func (ix *Index) Follows(accountName, kindText, namespace string) bool {
	a := ix.account(accountName)
	if a == nil {
		return false
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	k := a.kindOf(kindText)
	if k == nil || k.ignored {
		return false
	}
	for _, s := range k.streams {
		if s.covers(namespace) && s.passed != "" {
			return true
		}
	}
	return false
}

// passed says whether the watch has delivered everything up to a version.
func (k *kindObjects) passed(namespace, version string) bool {
	for _, s := range k.streams {
		if !s.covers(namespace) || s.passed == "" {
			continue
		}
		if order, err := resourceversion.CompareResourceVersion(version, s.passed); err == nil && order <= 0 {
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

func (a *Account) forgetGone() {
	for uid, since := range a.gone {
		if time.Since(since) > goneFor {
			delete(a.gone, uid)
		}
	}
}
