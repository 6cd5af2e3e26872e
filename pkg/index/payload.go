package index

import (
	"bytes"
	"sync"

	"github.com/klauspost/compress/s2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

func payloadKey(account string, o *Object) string {
	return "payload\x00" + account + "\x00" + o.UID() + "\x00" + o.ResourceVersion() + "\x00" + o.Kind.APIVersion
}

// keep remembers the whole manifest of a version of an object. The cache may
// drop it at any time. Of a first list it gets as much as there is room for: nobody
// has asked for any of it.
func (a *Account) keep(o *Object, raw []byte, first bool) {
	if first && o.Kind.Text != "job" && !a.index.payloads.room(len(raw)) {
		return
	}
	packed := pack(raw)
	if o.Kind.Text == "job" && o.Group != nil {
		o.Group.packed = packed
	}
	key := payloadKey(a.Name, o)
	a.index.payloads.put(key, packed, int64(len(packed)+len(key)))
}

var scratch = sync.Pool{New: func() any { return new([]byte) }}

// pack compresses into no more room than it takes: what is kept counts in a budget.
func pack(raw []byte) []byte {
	room := scratch.Get().(*[]byte)
	defer scratch.Put(room)
	if need := s2.MaxEncodedLen(len(raw)); cap(*room) < need {
		*room = make([]byte, need)
	}
	return bytes.Clone(s2.Encode((*room)[:cap(*room)], raw))
}

// Manifest is the whole object of that name in the version that the readers
// are shown; nil when it is not there or was dropped. Items of lists come
// without kind and apiVersion: the caller sets them.
func (ix *Index) Manifest(accountName, namespace, kind, name string) *unstructured.Unstructured {
	a := ix.account(accountName)
	if a == nil || ix.payloads == nil {
		return nil
	}
	a.mu.RLock()
	o := a.find(namespace, kind, name)
	a.mu.RUnlock()
	if o == nil {
		return nil
	}
	packed, ok := ix.payloads.get(payloadKey(accountName, o))
	if !ok {
		return nil
	}
	raw, err := s2.Decode(nil, packed.([]byte))
	if err != nil {
		return nil
	}
	out := &unstructured.Unstructured{}
	if utiljson.Unmarshal(raw, &out.Object) != nil { // UnmarshalJSON demands a kind
		return nil
	}
	return out
}
