package watch

import (
	"cmp"
	"slices"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
)

// State is how far an account is.
type State string

// The states of an account. They are for operators and for the service's start;
// what an answer proves is said by the streams alone.
const (
	Starting State = "starting" // the first lists are under way
	Failed   State = "failed"   // they failed at least once and never succeeded
	Synced   State = "synced"   // every kind that can be listed has been, and is followed
)

// KindStatus is one stream as the operator sees it.
type KindStatus struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	// Phase is the stream's, since when, and up to which version it is complete.
	Phase    Phase     `json:"phase"`
	Since    time.Time `json:"since"`
	Complete string    `json:"complete,omitempty"`
	// Heard is when the API server last said anything on it.
	Heard  time.Time `json:"heard,omitzero"`
	Synced bool      `json:"synced"` // it was listed once
	// Reason and Message say why the kind is not followed right now.
	Reason  cluster.Reason `json:"reason,omitempty"`
	Message string         `json:"message,omitempty"`
	Events  uint64         `json:"events"`
	Lists   uint64         `json:"lists"`
	// Lag is how long after its creation the last new object was shown; 0 when
	// none came.
	Lag time.Duration `json:"lag,omitempty"`
	// Odd counts objects that could not be read as their kind is.
	Odd uint64 `json:"odd,omitempty"`
}

// Status is one account as the operator sees it.
type Status struct {
	Account string `json:"account"`
	State   State  `json:"state"`
	// Stale says that some stream of the account is not live.
	Stale   bool   `json:"stale"`
	Message string `json:"message,omitempty"`
	// Reason is the message's kind, "" without one.
	Reason cluster.Reason `json:"reason,omitempty"`
	// Version is the cluster's, "" while it has not said.
	Version string       `json:"version,omitempty"`
	Since   time.Time    `json:"since"`
	Kinds   []KindStatus `json:"kinds"`
}

func (s *supervisor) setDiscovery(err error) {
	s.update(func() {
		if err != nil && (s.discovery == nil || s.discovery.Error() != err.Error()) {
			s.log.Warn("the cluster does not say what it serves", "reason", cluster.ReasonOf(err), "error", err)
		}
		s.discovery = err
		if err == nil && !s.found {
			s.found = true
			close(s.foundOnce)
		}
	})
}

// update changes something under the lock and derives the account's state.
func (s *supervisor) update(change func()) {
	s.mu.Lock()
	stateBefore, staleBefore := s.state, s.stale
	if change != nil {
		change()
	}
	if s.state != Synced {
		s.state = s.derive()
	}
	s.stale = s.behind()
	if s.state != stateBefore || s.stale != staleBefore {
		s.since = time.Now()
	}
	if s.state != Starting && stateBefore == Starting {
		close(s.ready)
		s.shared.lists.calm(s.account.Name)
	}
	if s.state == Failed && stateBefore != Failed {
		s.shared.lists.silent(s.account.Name)
	}
	s.announce()
	changed := s.state != stateBefore || s.stale != staleBefore
	s.mu.Unlock()
	if changed {
		s.changed(s)
	}
}

// announce tells the log of an account that is out of touch for longer than a
// moment, and when it is back. The lock is held.
func (s *supervisor) announce() {
	if s.over {
		return
	}
	if s.stale && s.state != Starting {
		if !s.logged && s.notice == nil {
			s.notice = time.AfterFunc(s.patience(), s.complain)
		}
		return
	}
	if s.notice != nil {
		s.notice.Stop()
		s.notice = nil
	}
	if s.logged && !s.stale {
		s.logged = false
		s.log.Info("account is in touch again")
	}
}

// patience is how long an account may be out of touch before the log says so. One
// that is held from before the start is so until its watches are resumed.
func (s *supervisor) patience() time.Duration {
	if s.recalled == nil {
		return noticeAfter
	}
	return max(noticeAfter, s.options.StartWithin-time.Since(s.began))
}

// hush ends what would be told after the end.
func (s *supervisor) hush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	if s.notice != nil {
		s.notice.Stop()
		s.notice = nil
	}
}

func (s *supervisor) complain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notice = nil
	if !s.stale || s.over {
		return
	}
	s.logged = true
	text := "account is out of touch; its last known objects are served and marked"
	if s.state != Synced {
		text = "account cannot be listed; it is marked as missing"
	}
	s.log.Warn(text, "state", s.state, "error", s.message())
}

func (s *supervisor) derive() State {
	failed := s.discovery != nil || time.Since(s.began) >= s.options.StartWithin
	synced := s.found && len(s.watchers) > 0
	for key, w := range s.watchers {
		if key.internal {
			continue
		}
		phase := w.stream.Freshness().Phase
		synced = synced && w.stream.begun()
		failed = failed || phase == Broken
	}
	switch {
	case synced:
		return Synced
	case failed || s.state == Failed:
		return Failed
	}
	return Starting
}

// behind says whether some stream proves nothing at the moment.
func (s *supervisor) behind() bool {
	if !s.found {
		return true // there may be kinds that nobody has seen
	}
	for key, w := range s.watchers {
		if !key.internal && w.stream.Freshness().Phase != Live {
			return true
		}
	}
	return false
}

func (s *supervisor) message() string {
	text, _ := s.trouble()
	return text
}

// trouble is what is wrong, one of several, and of which kind that is.
func (s *supervisor) trouble() (text string, reason cluster.Reason) {
	if s.discovery != nil {
		return s.discovery.Error(), cluster.ReasonOf(s.discovery)
	}
	for key, w := range s.watchers {
		err := w.stream.Freshness().Err
		if err == nil || key.internal {
			continue
		}
		if said := key.kind + ": " + err.Error(); text == "" || said < text {
			text, reason = said, cluster.ReasonOf(err)
		}
	}
	return text, reason
}

// status is a copy for operators and metrics.
func (s *supervisor) status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Status{Account: s.account.Name, State: s.state, Stale: s.stale, Since: s.since, Version: s.version}
	out.Message, out.Reason = s.trouble()
	for key, w := range s.watchers {
		now := w.stream.Freshness()
		k := KindStatus{
			Kind: key.kind, Namespace: key.namespace, Phase: now.Phase, Since: now.Since, Complete: now.Complete, Heard: now.Heard, Synced: w.stream.Listed(),
			Events: w.stream.events.Load(), Lists: w.stream.lists.Load(), Odd: w.stream.odd.Load(), Lag: time.Duration(w.stream.lag.Load()),
		}
		if now.Err != nil {
			k.Reason, k.Message = cluster.ReasonOf(now.Err), now.Err.Error()
		}
		out.Kinds = append(out.Kinds, k)
	}
	slices.SortFunc(out.Kinds, func(a, b KindStatus) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace))
	})
	return out
}
