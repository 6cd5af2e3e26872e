package watch

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
)

// Health is what the reads need to know of all accounts at one moment.
type Health struct {
	// Stale are the accounts of which something is not proved by a live stream,
	// sorted.
	Stale    []string
	starting int
	accounts map[string]*supervisor
	registry *account.Registry
	revision uint64
}

// IsStale says whether something of an account is not proved.
func (h *Health) IsStale(name string) bool {
	_, found := slices.BinarySearch(h.Stale, name)
	return found || h.accounts[name] == nil
}

// Current says whether the health is of the accounts that there are now. While
// one is changed, what was read of it may be nothing.
func (h *Health) Current() bool { return h.registry == nil || h.revision == h.registry.Revision() }

// withUnwatched is the health with the accounts that are not watched yet as they
// are known.
func (h *Health) withUnwatched() *Health {
	out := *h
	out.Stale = slices.Clone(h.Stale)
	all, _ := h.registry.List()
	for _, a := range all {
		if !h.has(a.Name) {
			out.Stale = append(out.Stale, a.Name)
		}
	}
	slices.Sort(out.Stale)
	out.Stale = slices.Compact(out.Stale)
	return &out
}

// has says whether the account is watched as it is known.
func (h *Health) has(name string) bool {
	known, there := h.registry.Get(name)
	s := h.accounts[name]
	return there == (s != nil) && (!there || known.WatchFingerprint() == s.account.WatchFingerprint())
}

// Cover names streams of an account: those of the kinds, in one namespace or in
// all (""). Covers of one name and namespace have the same kinds.
type Cover struct {
	Name      string
	Kinds     func(kindText string) bool
	Namespace string
}

// Everything covers all of an account.
var Everything = Cover{Name: "everything", Kinds: func(string) bool { return true }}

func (c Cover) names(s *Stream) bool {
	return c.Kinds(s.Kind) && (c.Namespace == "" || s.Namespace == "" || s.Namespace == c.Namespace)
}

// Errors of Unproved.
var (
	// ErrNotCovered says that no stream covers what was asked for.
	ErrNotCovered = errors.New("the kind is not watched")
	errNotYet     = errors.New("it is not known yet what the cluster serves")
)

// HiddenError says that all that a cover names is proved but for kinds that the
// account's identity may not list.
type HiddenError struct {
	Kinds []string // sorted
	// Since is when the last of them was refused first.
	Since time.Time
	Err   error
}

func (e *HiddenError) Error() string {
	return fmt.Sprintf("it may not list %s: allow that, or leave the kinds out of the account by its omitKinds: %v", strings.Join(e.Kinds, ", "), e.Err)
}

func (e *HiddenError) Unwrap() error { return e.Err }

// Unproved says why what is held of an account does not prove what the cover
// names; nil when every stream of it is live.
func (h *Health) Unproved(name string, c Cover) error {
	s := h.accounts[name]
	if s == nil || !h.has(name) {
		return &cluster.Error{Reason: cluster.Unavailable, Err: fmt.Errorf("account %s is not watched yet", name)}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clientErr != nil {
		return s.clientErr
	}
	covered := false
	var hidden *HiddenError
	for key, w := range s.watchers {
		if key.internal || !c.names(w.stream) {
			continue
		}
		covered = true
		if w.stream.Live() {
			continue
		}
		now := w.stream.Freshness()
		if now.Phase != Ended || !cluster.Is(now.Err, cluster.Forbidden) {
			return w.stream.reason()
		}
		if hidden == nil {
			hidden = &HiddenError{}
		}
		hidden.Kinds, hidden.Err = append(hidden.Kinds, key.kind), now.Err
		if now.Since.After(hidden.Since) {
			hidden.Since = now.Since
		}
	}
	switch {
	case !s.found:
		if s.discovery != nil {
			return s.discovery
		}
		return &cluster.Error{Reason: cluster.Unavailable, Err: errNotYet}
	case hidden != nil:
		slices.Sort(hidden.Kinds)
		hidden.Kinds = slices.Compact(hidden.Kinds)
		return hidden
	case covered:
		return nil
	}
	return ErrNotCovered
}

// reason is why a stream is not live.
func (s *Stream) reason() error {
	now := s.Freshness()
	if now.Err != nil {
		return fmt.Errorf("%s: %w", s.Kind, now.Err)
	}
	return &cluster.Error{Reason: cluster.Unavailable, Err: fmt.Errorf("%s: the stream is %s", s.Kind, now.Phase)}
}

// Silent says for how long an account's cluster has not answered as Kubernetes
// does.
func (h *Health) Silent(name string) time.Duration { return h.ago(name, (*cluster.Client).Answered) }

// Refused says for how long nothing that was asked of an account's cluster has
// succeeded.
func (h *Health) Refused(name string) time.Duration { return h.ago(name, (*cluster.Client).Succeeded) }

// ago is the time since something last happened to an account's client, or since
// the account began.
func (h *Health) ago(name string, last func(*cluster.Client) time.Time) time.Duration {
	s := h.accounts[name]
	if s == nil {
		return 0
	}
	since := s.began
	if s.client != nil {
		if at := last(s.client); at.After(since) {
			since = at
		}
	}
	return time.Since(since)
}
