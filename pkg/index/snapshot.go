package index

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/processors"
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

func newLoading() loading { return make(loading, processors.Count) }

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
	k.table.expect(slices.Values(s.objects))
	a.fill(func() {
		for _, o := range s.objects {
			o.Kind = k.kind
			a.upsert(k, o)
		}
	})
	k.table.clip()
}

// adoptNamespaces does so for the account's list of namespaces. The lock is held.
func (a *Account) adoptNamespaces(r *namespaceReceiver) {
	if a.past == nil || a.past.streams[streamKey{namespaceKind, ""}] == nil {
		return
	}
	r.passed = a.past.streams[streamKey{namespaceKind, ""}].passed
	a.namespaces = a.past.namespaces
	a.index.renamed()
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
		namespaces = maps.Clone(a.namespaces)
	}
	for text, k := range a.kinds {
		for namespace, r := range k.receivers {
			if r.passed == "" {
				continue
			}
			s := &pastStream{resource: r.resource, passed: r.passed, heard: provedAt(r.from), ignored: k.ignored}
			if namespace == "" {
				s.objects = make([]*Object, 0, k.table.len())
			}
			out[streamKey{text, namespace}] = s
		}
		for o := range k.table.objects() {
			for _, namespace := range [...]string{"", o.Namespace} {
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
