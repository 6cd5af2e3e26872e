package index

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"unique"

	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// writer encodes. What many objects share is written once.
type writer struct {
	b        []byte
	strings  map[string]uint64
	shared   map[unique.Handle[string]]uint64
	monikers map[unique.Handle[spinnaker.Moniker]]uint64
	owners   map[*Owner]uint64
}

func encodeSnapshot(over []byte, of watch.Identity, streams map[streamKey]*pastStream, namespaces map[string]string) []byte {
	w := &writer{
		b: over, strings: map[string]uint64{}, shared: map[unique.Handle[string]]uint64{},
		monikers: map[unique.Handle[spinnaker.Moniker]]uint64{}, owners: map[*Owner]uint64{},
	}
	w.text(of.UID)
	w.text(of.Version)
	w.count(len(namespaces))
	for uid, name := range namespaces {
		w.text(uid)
		w.text(name)
	}
	w.count(len(streams))
	for key, s := range streams {
		resource, err := json.Marshal(s.resource)
		if err != nil {
			panic(err) // strings and booleans
		}
		w.text(string(resource))
		w.text(key.namespace)
		w.text(s.passed)
		w.signed(s.heard)
		w.flag(s.ignored)
		w.count(len(s.objects))
		for _, o := range s.objects {
			w.object(o)
		}
	}
	return w.b
}

func (w *writer) number(n uint64) { w.b = binary.AppendUvarint(w.b, n) }
func (w *writer) signed(n int64)  { w.b = binary.AppendVarint(w.b, n) }
func (w *writer) count(n int)     { w.number(uint64(n)) }

func (w *writer) text(s string) {
	w.count(len(s))
	w.b = append(w.b, s...)
}

func (w *writer) flag(yes bool) {
	if yes {
		w.b = append(w.b, 1)
	} else {
		w.b = append(w.b, 0)
	}
}

// once writes a value when it comes first, and its number from then on; 0 stands for
// the first.
func once[K comparable](w *writer, known map[K]uint64, v K, write func(K)) {
	if n, ok := known[v]; ok {
		w.number(n)
		return
	}
	known[v] = uint64(len(known)) + 1
	w.number(0)
	write(v)
}

// optional writes what a handle stands for, or that it stands for nothing.
func optional[T comparable](w *writer, h unique.Handle[T], write func(T)) {
	there := h != unique.Handle[T]{}
	w.flag(there)
	if there {
		write(h.Value())
	}
}

func (w *writer) interned(s string) { once(w, w.strings, s, w.text) }

func (w *writer) handle(h unique.Handle[string]) {
	once(w, w.shared, h, func(h unique.Handle[string]) { optional(w, h, w.text) })
}

func (w *writer) moniker(h unique.Handle[spinnaker.Moniker]) {
	once(w, w.monikers, h, func(h unique.Handle[spinnaker.Moniker]) {
		m := h.Value()
		for _, s := range []string{m.App, m.Cluster, m.Stack, m.Detail} {
			w.text(s)
		}
		w.signed(int64(m.Sequence))
		w.flag(m.HasSequence)
	})
}

func (w *writer) owner(o *Owner) {
	w.flag(o != nil)
	if o != nil {
		once(w, w.owners, o, func(o *Owner) { w.oneOwner(*o) })
	}
}

func (w *writer) oneOwner(o Owner) {
	w.interned(o.Kind)
	w.text(o.Name)
	w.text(o.UID)
}

func (w *writer) pair(p pair) {
	w.interned(p.key)
	w.interned(p.value)
}

// each writes a list, or that there is none.
func each[T any](w *writer, all []T, write func(T)) {
	w.nilable(all == nil, len(all))
	for _, one := range all {
		write(one)
	}
}

// nilable writes a length, or that there is nothing to have one.
func (w *writer) nilable(none bool, length int) {
	if none {
		w.number(0)
		return
	}
	w.count(length + 1)
}

func (w *writer) object(o *Object) {
	w.interned(o.Namespace)
	w.text(o.Name)
	w.b = append(w.b, o.uid[:]...)
	w.number(o.version)
	w.signed(o.Created)
	w.moniker(o.moniker)
	w.handle(o.labels)
	w.owner(o.owner)
	w.flag(o.Stated)
	w.flag(o.Terminating)
	w.flag(o.hasStatus)
	w.number(uint64(o.phase))
	w.handle(o.containers)
	w.flag(o.Group != nil)
	if g := o.Group; g != nil {
		w.signed(g.Desired)
		each(w, g.Images, w.interned)
		each(w, g.Explicit, w.interned)
		each(w, g.template, w.pair)
		w.interned(g.serviceName)
		w.nilable(g.packed == nil, len(g.packed))
		w.b = append(w.b, g.packed...)
	}
	w.flag(o.rare != nil)
	if r := o.rare; r != nil {
		w.text(r.uid)
		w.text(r.version)
		each(w, r.more, w.oneOwner)
		each(w, r.selector, w.pair)
	}
}

// reader decodes what a writer has written. Once it has failed, it gives nothing but
// zeros.
type reader struct {
	b        []byte
	err      error
	strings  []string
	shared   []unique.Handle[string]
	monikers []unique.Handle[spinnaker.Moniker]
	owners   []*Owner
}

// leastObject is less than any object takes, in bytes.
const leastObject = 30

var errSnapshot = errors.New("the snapshot is not as it is written")

func decodeSnapshot(content []byte) (*watch.Past, *past, error) {
	r := &reader{b: content}
	out := &watch.Past{Identity: watch.Identity{UID: r.text(), Version: r.text()}}
	held := &past{streams: map[streamKey]*pastStream{}, namespaces: map[string]string{}}
	for n := r.count(); n > 0 && r.err == nil; n-- {
		uid := r.text()
		held.namespaces[uid] = r.text()
	}
	for n := r.count(); n > 0 && r.err == nil; n-- {
		s := &pastStream{}
		if err := json.Unmarshal([]byte(r.text()), &s.resource); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", errSnapshot, err)
		}
		namespace := r.text()
		s.passed, s.heard, s.ignored = r.text(), r.signed(), r.flag()
		length := r.count()
		s.objects = make([]*Object, 0, min(length, len(r.b)/leastObject))
		for len(s.objects) < length && r.err == nil {
			s.objects = append(s.objects, r.object())
		}
		held.streams[streamKey{s.resource.KindText(), namespace}] = s
	}
	if r.err == nil && len(r.b) > 0 {
		r.fail()
	}
	return out, held, r.err
}

func (r *reader) fail() { r.b, r.err = nil, errSnapshot }

func (r *reader) number() uint64 { return varint(r, binary.Uvarint) }
func (r *reader) signed() int64  { return varint(r, binary.Varint) }

func varint[N uint64 | int64](r *reader, decode func([]byte) (N, int)) N {
	n, size := decode(r.b)
	if size <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[size:]
	return n
}

// count is a number of things that have a byte each, at least.
func (r *reader) count() int {
	n := r.number()
	if n > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) bytes(n int) []byte {
	if n > len(r.b) {
		r.fail()
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) text() string { return string(r.bytes(r.count())) }

func (r *reader) flag() bool {
	b := r.bytes(1)
	return b != nil && b[0] == 1
}

// again reads what once has written.
func again[V any](r *reader, known *[]V, read func() V) V {
	n := r.number()
	switch {
	case n == 0:
		v := read()
		*known = append(*known, v)
		return v
	case n > uint64(len(*known)):
		r.fail()
		var zero V
		return zero
	}
	return (*known)[n-1]
}

// made reads what optional has written.
func made[T comparable](r *reader, read func() T) unique.Handle[T] {
	if !r.flag() {
		return unique.Handle[T]{}
	}
	return unique.Make(read())
}

func (r *reader) interned() string { return again(r, &r.strings, r.text) }

func (r *reader) handle() unique.Handle[string] {
	return again(r, &r.shared, func() unique.Handle[string] { return made(r, r.text) })
}

func (r *reader) moniker() unique.Handle[spinnaker.Moniker] {
	return again(r, &r.monikers, func() unique.Handle[spinnaker.Moniker] {
		m := spinnaker.Moniker{App: r.text(), Cluster: r.text(), Stack: r.text(), Detail: r.text()}
		m.Sequence = int(r.signed())
		m.HasSequence = r.flag()
		return unique.Make(m)
	})
}

func (r *reader) owner() *Owner {
	if !r.flag() {
		return nil
	}
	return again(r, &r.owners, func() *Owner {
		o := r.oneOwner()
		return &o
	})
}

func (r *reader) oneOwner() Owner {
	kind, name := r.interned(), r.text()
	return ownerOf(kind, name, r.text())
}

// nilable reads a length; none says that there is nothing to have one.
func (r *reader) nilable() (length int, none bool) {
	n := r.number()
	if n == 0 {
		return 0, true
	}
	if n-1 > uint64(len(r.b)) {
		r.fail()
		return 0, true
	}
	return int(n - 1), false
}

func (r *reader) pair() pair { return pair{key: r.interned(), value: r.interned()} }

// all reads what each has written.
func all[T any](r *reader, read func() T) []T {
	length, none := r.nilable()
	if none {
		return nil
	}
	out := make([]T, 0, length)
	for len(out) < length && r.err == nil {
		out = append(out, read())
	}
	return out
}

func (r *reader) object() *Object {
	o := &Object{Namespace: r.interned(), Name: r.text()}
	copy(o.uid[:], r.bytes(uidBytes))
	o.version = r.number()
	o.Created = r.signed()
	o.moniker = r.moniker()
	o.labels = r.handle()
	o.owner = r.owner()
	o.Stated, o.Terminating = r.flag(), r.flag()
	o.hasStatus = r.flag()
	o.phase = Phase(min(r.number(), math.MaxUint8))
	o.containers = r.handle()
	if r.flag() {
		g := &GroupState{Desired: r.signed(), Images: all(r, r.interned), Explicit: all(r, r.interned), template: all(r, r.pair), serviceName: r.interned()}
		if length, none := r.nilable(); !none {
			g.packed = slices.Clone(r.bytes(length))
		}
		o.Group = g
	}
	if r.flag() {
		o.rare = &rare{uid: r.text(), version: r.text(), more: all(r, r.oneOwner), selector: all(r, r.pair)}
	}
	return o
}
