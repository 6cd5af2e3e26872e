package watch

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
)

// Identity is what is known of an account's cluster.
type Identity struct {
	// UID is that of its namespace kube-system, "" if it is not known.
	UID string
	// Version is as it says, "" if it has not said.
	Version string
}

// Past is what a sink holds of an account from before the service's start.
type Past struct {
	Identity
	Streams []PastStream
}

// PastStream is one kind in one namespace, or in all (""), up to which version what is
// held of it is complete, and when that was.
type PastStream struct {
	Resource           cluster.Resource
	Namespace, Version string
	Heard              time.Time
}

// recalls counts the accounts that take in what is held of them. Those that have wait
// at the service's start for the others, so that all is served before watches are
// resumed, which takes longer.
type recalls struct {
	mu     sync.Mutex
	left   int
	taken  bool          // one of them has something
	sealed bool          // those of the start are counted
	over   chan struct{} // closed when all of them have
}

func newRecalls() *recalls { return &recalls{over: make(chan struct{})} }

func (r *recalls) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left++
}

// end says whether the account has taken something in.
func (r *recalls) end(taken bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left--
	r.taken = r.taken || taken
	r.look()
}

// seal says that those of the service's start have begun.
func (r *recalls) seal() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sealed = true
	r.look()
}

func (r *recalls) look() {
	if !r.sealed || r.left > 0 {
		return
	}
	select {
	case <-r.over:
	default:
		close(r.over)
	}
}

// longRecall is when an account that has not taken in what is held of it is listed, and
// when those that have wait no more for the others: their disk hangs.
const longRecall = 15 * time.Second

// await is over once all have.
func (r *recalls) await(ctx context.Context) {
	late := time.NewTimer(longRecall)
	defer late.Stop()
	select {
	case <-r.over:
	case <-late.C:
	case <-ctx.Done():
	}
}

// Recalled is over once all accounts of the start have taken in what was held of them,
// or have been given the time for it, and says whether there was anything.
func (f *Fleet) Recalled(ctx context.Context) (anything bool) {
	f.recalls.await(ctx)
	f.recalls.mu.Lock()
	defer f.recalls.mu.Unlock()
	return f.recalls.taken
}

// Identity is what is known of an account's cluster; ok is false for one that is not
// synced, of which what is held may be a part.
func (f *Fleet) Identity(name string) (of Identity, ok bool) {
	s := f.health.Load().accounts[name]
	if s == nil {
		return Identity{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return Identity{UID: s.cluster, Version: s.version}, s.state == Synced && s.found
}

// takeUp begins with what the sink holds from before the service's start, if anything:
// it is served at once, marked as what no stream proves, while each watch is resumed
// from its version.
func (s *supervisor) takeUp(ctx context.Context) (did bool) {
	defer func() { s.recalls.end(did) }()
	bounded, cancel := context.WithTimeout(ctx, longRecall)
	defer cancel()
	known := s.recall(bounded)
	if bounded.Err() != nil && ctx.Err() == nil {
		s.log.Warn("what was kept of the account cannot be read in time; it is listed", "within", longRecall)
	}
	if len(known) == 0 {
		return false
	}
	s.reconcile(ctx, known)
	s.update(func() { s.state = Synced })
	return true
}

// recall lists the kinds that are held.
func (s *supervisor) recall(ctx context.Context) []cluster.Resource {
	past := s.sink.Past(ctx)
	if past == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cluster, s.version, s.recalled = past.UID, past.Version, map[watcherKey]PastStream{}
	var resources []cluster.Resource
	for _, p := range past.Streams {
		s.recalled[watcherKey{kind: p.Resource.KindText(), namespace: p.Namespace}] = p
		resources = append(resources, p.Resource)
	}
	return resources
}

// resume has a watcher go on from where its kind was, once. The lock is held.
func (s *supervisor) resume(key watcherKey, w *watcher) {
	past, ok := s.recalled[key]
	if !ok {
		return
	}
	delete(s.recalled, key)
	w.reflector.version, w.reflector.highest, w.reflector.doubted = past.Version, past.Version, true
	w.stream.recall(past.Version, past.Heard)
}

// recall takes note of what is held from before the service's start.
func (s *Stream) recall(version string, heard time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listed = true
	s.now = Freshness{
		Phase: Broken, Since: time.Now(), Complete: version, Heard: heard,
		Err: &cluster.Error{Reason: cluster.Unavailable, Err: fmt.Errorf("it is as it was at %s, before this service has started; its watch is not resumed yet", heard.UTC().Format(time.RFC3339))},
	}
}
