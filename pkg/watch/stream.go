package watch

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
)

// Phase is how far a stream is.
type Phase string

// The phases of a stream. Only a live one proves that an object is as it is
// shown, or is not there.
const (
	NeverListed Phase = "neverListed"
	Listing     Phase = "listing"
	Live        Phase = "live"
	Broken      Phase = "broken" // it was listed, or could not be; it is tried again
	Ended       Phase = "ended"  // forbidden, or not served; that is looked at again, too
)

// Freshness is what a stream knows of itself.
type Freshness struct {
	Phase Phase
	// Since is when the phase began, and Err why a stream is broken or ended.
	Since time.Time
	Err   error
	// Complete is the version up to which the content is, "" before the first
	// list.
	Complete string
	// Heard is when the API server last said anything on the stream.
	Heard time.Time
}

// Stream is one kind of an account, in one namespace or in all (""), and how
// fresh what is known of it is.
type Stream struct {
	// lag is how long the last new object took to be shown, in nanoseconds.
	lag atomic.Int64

	Kind, Namespace string

	life    time.Duration // a live stream's connection shows a sign of life this often
	changed func()

	events, lists, odd atomic.Uint64

	mu      sync.Mutex
	now     Freshness
	entered uint64 // how often a phase was
	listed  bool
	// heard is when the connection last brought anything; ok is false where
	// its silence means nothing.
	heard func() (at time.Time, ok bool)
	grace *time.Timer     // runs while a watch that ended as agreed is opened anew
	named map[string]bool // odd objects that the log has
}

// mostNamed bounds how many odd objects of a stream the log names.
const mostNamed = 100

// names says whether an odd object is to be named, which happens once.
func (s *Stream) names(object string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.named[object] || len(s.named) >= mostNamed {
		return false
	}
	if s.named == nil {
		s.named = map[string]bool{}
	}
	s.named[object] = true
	return true
}

// reopenGrace is how long opening a watch anew may take that ended as agreed,
// before its stream counts as broken. It is much less than it takes to find
// that a connection is dead.
const reopenGrace = time.Second

func newStream(kind, namespace string, life time.Duration, changed func()) *Stream {
	return &Stream{Kind: kind, Namespace: namespace, life: life, changed: changed, now: Freshness{Phase: NeverListed, Since: time.Now()}}
}

// EndedStream is one of a kind that may not be listed, over all namespaces.
func EndedStream(kind string, why error) *Stream {
	s := newStream(kind, "", 0, nil)
	s.enter(Ended, why)
	return s
}

// Freshness is how the stream is.
func (s *Stream) Freshness() Freshness {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// Live says whether the stream proves what is held of it.
func (s *Stream) Live() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now.Phase != Live {
		return false
	}
	if s.heard == nil {
		return true
	}
	at, ok := s.heard()
	if !ok { // nobody pings
		return time.Since(s.now.Heard) <= unpingedLife
	}
	return time.Since(at) <= s.life
}

// unpingedLife is how long a connection that is not pinged may be silent: API
// servers send a bookmark about every minute.
const unpingedLife = 90 * time.Second

// Listed says whether there was a complete list ever.
func (s *Stream) Listed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listed
}

// begun says whether the stream is through with its first list and the opening of
// its watch, or with trying to. A list alone proves nothing for long: who begins to
// read then would be told that what has just been listed is behind.
func (s *Stream) begun() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now.Phase == Ended || s.listed && s.now.Phase != Listing
}

// enter changes the phase and tells of it.
func (s *Stream) enter(p Phase, err error) { s.enterFrom(nil, p, err) }

// enterFrom does so only if nothing was entered since.
func (s *Stream) enterFrom(since *uint64, p Phase, err error) {
	s.mu.Lock()
	if since != nil && *since != s.entered {
		s.mu.Unlock()
		return
	}
	s.entered++
	if s.grace != nil {
		s.grace.Stop()
		s.grace = nil
	}
	same := s.now.Phase == p && (s.now.Err == nil) == (err == nil)
	if s.now.Phase != p {
		s.now.Since = time.Now()
	}
	s.now.Phase, s.now.Err = p, err
	s.mu.Unlock()
	if !same && s.changed != nil {
		s.changed()
	}
}

// listing begins a list. A stream that is broken stays so until it is through.
func (s *Stream) listing() {
	if s.Freshness().Phase == NeverListed {
		s.enter(Listing, nil)
	}
}

// complete takes note of a whole list.
func (s *Stream) complete(version string) {
	s.lists.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listed = true
	s.now.Complete, s.now.Heard = version, time.Now()
}

// live takes note of a watch that is open and has brought what came before.
func (s *Stream) live(body any) {
	s.mu.Lock()
	s.heard = nil
	if line, ok := body.(lively); ok {
		s.heard = line.Heard
	}
	s.now.Heard = time.Now()
	s.mu.Unlock()
	s.enter(Live, nil)
}

// lively is a body that knows when its connection last brought anything; ok is
// false where that says nothing, since nobody pings. cluster.Body is one.
type lively interface {
	Heard() (at time.Time, ok bool)
}

// said takes note of an event or a bookmark.
func (s *Stream) said(version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.Heard = time.Now()
	if version != "" {
		s.now.Complete = version
	}
}

// reopening takes note of a watch that ended as agreed.
func (s *Stream) reopening() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now.Phase != Live {
		return
	}
	s.heard = nil
	if s.grace != nil {
		return
	}
	since := s.entered
	s.grace = time.AfterFunc(reopenGrace, func() {
		// It may have been opened at the same moment.
		s.enterFrom(&since, Broken, &cluster.Error{Reason: cluster.Unavailable, Err: errSlowReopen})
	})
}

// broke takes note of a failure.
func (s *Stream) broke(err error) {
	switch cluster.ReasonOf(err) {
	case cluster.Forbidden, cluster.NoKind:
		s.enter(Ended, err)
	default:
		s.enter(Broken, err)
	}
}
