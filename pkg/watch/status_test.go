package watch

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
)

// TestDerive_AnAccountIsSyncedOnceItIsFollowed: who reads at the moment of being
// told that an account is there gets nothing that is marked as behind.
func TestDerive_AnAccountIsSyncedOnceItIsFollowed(t *testing.T) {
	refused := &cluster.Error{Reason: cluster.Forbidden, Err: errors.New("no")}
	away := &cluster.Error{Reason: cluster.Unavailable, Err: errors.New("away")}
	body := io.NopCloser(strings.NewReader(""))
	listed := func(s *Stream) {
		s.listing()
		s.complete("7")
	}
	for name, c := range map[string]struct {
		do    func(*Stream)
		state State
		stale bool
	}{
		"never listed":               {func(*Stream) {}, Starting, true},
		"being listed":               {func(s *Stream) { s.listing() }, Starting, true},
		"listed, not watched yet":    {listed, Starting, true},
		"watched":                    {func(s *Stream) { listed(s); s.live(body) }, Synced, false},
		"not to be watched":          {func(s *Stream) { listed(s); s.broke(away) }, Synced, true},
		"not to be listed":           {func(s *Stream) { s.listing(); s.broke(away) }, Failed, true},
		"refused":                    {func(s *Stream) { s.broke(refused) }, Synced, true},
		"watched, and listed anew":   {func(s *Stream) { listed(s); s.live(body); s.broke(errRelist); s.listing() }, Synced, true},
		"watched, and reopened soon": {func(s *Stream) { listed(s); s.live(body); s.reopening() }, Synced, false},
	} {
		t.Run(name, func(t *testing.T) {
			a := &account.Account{Name: "a", Invalid: errors.New("not used")}
			s := newSupervisor(a, nil, shared{lists: NewSlots(1)}, Options{StartWithin: time.Minute, Log: slog.New(slog.DiscardHandler)}, func(*supervisor) {})
			defer s.hush()
			stream := newStream("pod", "", 0, nil)
			s.update(func() {
				s.found = true
				s.watchers[watcherKey{kind: "pod"}] = &watcher{stream: stream}
			})
			c.do(stream)
			s.update(nil)
			if s.state != c.state || s.stale != c.stale {
				t.Errorf("got %s, stale %v; want %s, %v", s.state, s.stale, c.state, c.stale)
			}
		})
	}
}
