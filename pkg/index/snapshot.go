package index

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"
	"unique"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// Snapshots are what is kept of accounts from one start of the service to the next.
type Snapshots interface {
	// Load gives what was saved of an account as it is set up now, nil for nothing
	// that can be used, and the time before which nothing of it is worth anything.
	Load(a *account.Account) (content []byte, oldest time.Time)
	// Refuse is told that a content is not as it is written.
	Refuse(a *account.Account, why error)
}

// past is what is known of an account from before the service's start.
type past struct {
	streams    map[streamKey]*pastStream
	namespaces map[string]string
}

// streamKey names a stream by its kind text and namespace.
type streamKey struct{ kind, namespace string }

type pastStream struct {
	resource cluster.Resource
	passed   string
	heard    int64 // when it was true, in milliseconds since 1970
	ignored  bool
	objects  []*Object
}

// loading bounds how many snapshots are read at once.
type loading chan struct{}

func newLoading() loading { return make(loading, runtime.GOMAXPROCS(0)) }

// Past implements watch.AccountSink: what is kept of the account is taken in stream
// by stream, as they are opened. A disk that hangs keeps nobody.
func (a *Account) Past(ctx context.Context) *watch.Past {
	if a.index.snapshots == nil {
		return nil
	}
	type loaded struct {
		out  *watch.Past
		held *past
	}
	done := make(chan loaded, 1)
	go func() {
		select {
		case a.index.loading <- struct{}{}:
			defer func() { <-a.index.loading }()
			out, held := a.load()
			done <- loaded{out, held}
		case <-ctx.Done():
		}
	}()
	select {
	case l := <-done:
		a.mu.Lock()
		defer a.mu.Unlock()
		a.past = l.held
		return l.out
	case <-ctx.Done():
		return nil
	}
}

func (a *Account) load() (*watch.Past, *past) {
	content, oldest := a.index.snapshots.Load(a.account)
	if content == nil {
		return nil, nil
	}
	out, held, err := decodeSnapshot(content)
	if err != nil {
		a.index.snapshots.Refuse(a.account, err)
		return nil, nil
	}
	for key, s := range held.streams {
		heard := time.UnixMilli(s.heard)
		if heard.Before(oldest) {
			delete(held.streams, key)
			continue
		}
		out.Streams = append(out.Streams, watch.PastStream{Resource: s.resource, Namespace: key.namespace, Version: s.passed, Heard: heard})
	}
	return out, held
}

// adopt takes in what is kept of a stream that is opened. The lock is held.
func (a *Account) adopt(k *kindObjects, r *receiver) {
	s := a.taken(streamKey{r.kind, r.namespace})
	if s == nil {
		return
	}
	r.passed = s.passed
	k.ignored = k.ignored || s.ignored
	if len(k.objects) == 0 {
		k.objects = make(map[place]*Object, len(s.objects))
		k.table.expect(len(s.objects))
	}
	for _, o := range s.objects {
		o.Kind = k.kind
		a.upsert(k, o)
	}
	k.table.clip()
}

// adoptNamespaces does so for the account's list of namespaces. The lock is held.
func (a *Account) adoptNamespaces(r *namespaceReceiver) {
	if a.past == nil || a.past.streams[streamKey{namespaceKind, ""}] == nil {
		return
	}
	r.passed = a.past.streams[streamKey{namespaceKind, ""}].passed
	a.namespaces = a.past.namespaces
}

// taken is a kept stream that nobody has taken yet.
func (a *Account) taken(key streamKey) *pastStream {
	if a.past == nil {
		return nil
	}
	s := a.past.streams[key]
	delete(a.past.streams, key)
	if len(a.past.streams) == 0 {
		a.past = nil
	}
	return s
}

// namespaceKind is the text of the kind whose objects make the account's list of
// namespaces.
const namespaceKind = "namespace"

// Snapshot is what an account holds, for the next start of the service: of each
// stream no less than up to the version that it says. The cluster is what the fleet
// knows of it. It is nil where there is nothing worth keeping: what no stream has
// proved since oldest is not. The content is written over an earlier one, whose room
// it takes.
func (ix *Index) Snapshot(accountName string, of watch.Identity, oldest time.Time, over []byte) (a *account.Account, content []byte) {
	held := ix.account(accountName)
	if held == nil {
		return nil, nil
	}
	streams, namespaces := held.freeze()
	for key, s := range streams {
		if time.UnixMilli(s.heard).Before(oldest) {
			delete(streams, key)
		}
	}
	if len(streams) == 0 {
		return nil, nil
	}
	return held.account, encodeSnapshot(over[:0], of, streams, namespaces)
}

// freeze lists what is held. The objects are never changed; encoding them takes
// longer than anybody may be held up.
func (a *Account) freeze() (map[streamKey]*pastStream, map[string]string) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	out := map[streamKey]*pastStream{}
	if a.closed {
		return out, nil
	}
	var namespaces map[string]string
	if s := a.spaces; s != nil && s.passed != "" {
		out[streamKey{namespaceKind, ""}] = &pastStream{resource: s.resource, passed: s.passed, heard: provedAt(s.from)}
		namespaces = make(map[string]string, len(a.namespaces))
		for uid, name := range a.namespaces {
			namespaces[uid] = name
		}
	}
	for text, k := range a.kinds {
		for namespace, r := range k.receivers {
			if r.passed == "" {
				continue
			}
			s := &pastStream{resource: r.resource, passed: r.passed, heard: provedAt(r.from), ignored: k.ignored}
			if namespace == "" {
				s.objects = make([]*Object, 0, len(k.objects))
			}
			out[streamKey{text, namespace}] = s
		}
		for where, o := range k.objects {
			for _, namespace := range [...]string{"", where.namespace} {
				if s := out[streamKey{text, namespace}]; s != nil && k.receivers[namespace] != nil {
					s.objects = append(s.objects, o)
					break
				}
			}
		}
	}
	return out, namespaces
}

// provedAt is when a stream last proved what is held of it, in milliseconds since
// 1970.
func provedAt(s *watch.Stream) int64 {
	if s.Live() {
		return time.Now().UnixMilli()
	}
	return s.Freshness().Heard.UnixMilli()
}

// writer encodes. What many objects share is written once.
type writer struct {
	b        []byte
	strings  map[string]uint64
	shared   map[unique.Handle[string]]uint64
	monikers map[unique.Handle[spinnaker.Moniker]]uint64
	owners   map[unique.Handle[Owner]]uint64
}

func encodeSnapshot(over []byte, of watch.Identity, streams map[streamKey]*pastStream, namespaces map[string]string) []byte {
	w := &writer{
		b: over, strings: map[string]uint64{}, shared: map[unique.Handle[string]]uint64{},
		monikers: map[unique.Handle[spinnaker.Moniker]]uint64{}, owners: map[unique.Handle[Owner]]uint64{},
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

func (w *writer) interned(s string) { once(w, w.strings, s, w.text) }

func (w *writer) handle(h unique.Handle[string]) {
	once(w, w.shared, h, func(h unique.Handle[string]) {
		w.flag(h != unique.Handle[string]{})
		if h != (unique.Handle[string]{}) {
			w.text(h.Value())
		}
	})
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

func (w *writer) owner(h unique.Handle[Owner]) {
	once(w, w.owners, h, func(h unique.Handle[Owner]) {
		w.flag(h != unique.Handle[Owner]{})
		if h != (unique.Handle[Owner]{}) {
			w.oneOwner(h.Value())
		}
	})
}

func (w *writer) oneOwner(o Owner) {
	w.interned(o.Kind)
	w.text(o.Name)
	w.text(o.UID)
}

func (w *writer) texts(all []string) {
	w.nilable(all == nil, len(all))
	for _, s := range all {
		w.interned(s)
	}
}

func (w *writer) pairs(all []pair) {
	w.nilable(all == nil, len(all))
	for _, p := range all {
		w.interned(p.key)
		w.interned(p.value)
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
	w.text(o.version)
	w.signed(o.Created)
	w.moniker(o.moniker)
	w.handle(o.labels)
	w.owner(o.owners)
	w.flag(o.Stated)
	w.flag(o.Terminating)
	w.flag(o.Pod.HasStatus)
	w.number(uint64(o.Pod.Phase))
	w.handle(o.Pod.containers)
	w.flag(o.Group != nil)
	if g := o.Group; g != nil {
		w.signed(g.Desired)
		w.texts(g.Images)
		w.texts(g.Explicit)
		w.pairs(g.template)
		w.interned(g.serviceName)
		w.nilable(g.packed == nil, len(g.packed))
		w.b = append(w.b, g.packed...)
	}
	w.flag(o.rare != nil)
	if r := o.rare; r != nil {
		w.text(r.uid)
		w.nilable(r.more == nil, len(r.more))
		for _, owner := range r.more {
			w.oneOwner(owner)
		}
		w.pairs(r.selector)
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
	owners   []unique.Handle[Owner]
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

func (r *reader) number() uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *reader) signed() int64 {
	n, size := binary.Varint(r.b)
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

func (r *reader) interned() string { return again(r, &r.strings, r.text) }

func (r *reader) handle() unique.Handle[string] {
	return again(r, &r.shared, func() unique.Handle[string] {
		if !r.flag() {
			return unique.Handle[string]{}
		}
		return unique.Make(r.text())
	})
}

func (r *reader) moniker() unique.Handle[spinnaker.Moniker] {
	return again(r, &r.monikers, func() unique.Handle[spinnaker.Moniker] {
		m := spinnaker.Moniker{App: r.text(), Cluster: r.text(), Stack: r.text(), Detail: r.text()}
		m.Sequence = int(r.signed())
		m.HasSequence = r.flag()
		return unique.Make(m)
	})
}

func (r *reader) owner() unique.Handle[Owner] {
	return again(r, &r.owners, func() unique.Handle[Owner] {
		if !r.flag() {
			return unique.Handle[Owner]{}
		}
		return unique.Make(r.oneOwner())
	})
}

func (r *reader) oneOwner() Owner {
	return Owner{Kind: r.interned(), Name: r.text(), UID: r.text()}
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

func (r *reader) texts() []string {
	length, none := r.nilable()
	if none {
		return nil
	}
	out := make([]string, 0, length)
	for len(out) < length && r.err == nil {
		out = append(out, r.interned())
	}
	return out
}

func (r *reader) pairs() []pair {
	length, none := r.nilable()
	if none {
		return nil
	}
	out := make([]pair, 0, length)
	for len(out) < length && r.err == nil {
		out = append(out, pair{key: r.interned(), value: r.interned()})
	}
	return out
}

func (r *reader) object() *Object {
	o := &Object{Namespace: r.interned(), Name: r.text()}
	copy(o.uid[:], r.bytes(uidBytes))
	o.version = r.text()
	o.Created = r.signed()
	o.moniker = r.moniker()
	o.labels = r.handle()
	o.owners = r.owner()
	o.Stated, o.Terminating = r.flag(), r.flag()
	o.Pod.HasStatus = r.flag()
	o.Pod.Phase = Phase(min(r.number(), math.MaxUint8))
	o.Pod.containers = r.handle()
	if r.flag() {
		g := &GroupState{Desired: r.signed(), Images: r.texts(), Explicit: r.texts(), template: r.pairs(), serviceName: r.interned()}
		if length, none := r.nilable(); !none {
			g.packed = slices.Clone(r.bytes(length))
		}
		o.Group = g
	}
	if r.flag() {
		some := &rare{uid: r.text()}
		if length, none := r.nilable(); !none {
			some.more = make([]Owner, 0, length)
			for len(some.more) < length && r.err == nil {
				some.more = append(some.more, r.oneOwner())
			}
		}
		some.selector = r.pairs()
		o.rare = some
	}
	return o
}
