package watch

import (
	"fmt"
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

// Identity is what is known of an account's cluster.
func (f *Fleet) Identity(name string) Identity {
	s := f.health.Load().accounts[name]
	if s == nil {
		return Identity{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return Identity{UID: s.cluster, Version: s.version}
}

// recall begins with what the sink holds from before: it is served at once, marked as
// what no stream proves, while each watch is resumed from its version.
func (s *supervisor) recall() []cluster.Resource {
	past := s.sink.Past()
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
