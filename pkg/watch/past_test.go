package watch

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/rest"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
)

// remembering is a sink with a past.
type remembering struct{ past *Past }

func (r remembering) Past(context.Context) *Past                           { return r.past }
func (remembering) Wants(cluster.Resource) bool                            { return true }
func (remembering) Open(cluster.Resource, *Stream) (d Decode, in Receiver) { return nil, nil }
func (remembering) Drop(cluster.Resource, string)                          {}
func (remembering) NewEpoch()                                              {}
func (remembering) Close()                                                 {}

func TestRecall_EachStreamGoesOnFromItsVersionAndProvesNothing(t *testing.T) {
	pods := cluster.Resource{Version: "v1", Plural: "pods", Kind: "Pod", Namespaced: true, Watchable: true}
	services := cluster.Resource{Version: "v1", Plural: "services", Kind: "Service", Namespaced: true, Watchable: true}
	heard := time.Now().Add(-time.Minute)
	past := &Past{Identity: Identity{UID: "c", Version: "v1.37.2"}, Streams: []PastStream{{Resource: pods, Version: "17", Heard: heard}}}
	supervised := func(p *Past) *supervisor {
		a := &account.Account{Name: "a", REST: &rest.Config{Host: "https://127.0.0.1:1"}}
		s := newSupervisor(a, remembering{p}, shared{lists: NewSlots(1)}, Options{StartWithin: time.Minute, Log: slog.New(slog.DiscardHandler)}, func(*supervisor) {})
		t.Cleanup(s.hush)
		return s
	}
	s := supervised(past)
	known := s.recall(t.Context())
	if len(known) != 1 || known[0] != pods || s.cluster != "c" || s.version != "v1.37.2" {
		t.Fatalf("%+v", s)
	}
	if s.patience() < 50*time.Second {
		t.Error("the log complains of what has hardly begun")
	}
	begin := func(r cluster.Resource) *watcher {
		key := watcherKey{kind: r.KindText()}
		w := s.newWatcher(key, r)
		s.resume(key, w)
		s.watchers[key] = w
		return w
	}
	resumed := begin(pods)
	version, doubted := resumed.reflector.at()
	now := resumed.stream.Freshness()
	if version != "17" || !doubted || resumed.reflector.highest != "17" {
		t.Errorf("%s, doubted %v, highest %s", version, doubted, resumed.reflector.highest)
	}
	if now.Phase != Broken || !now.Heard.Equal(heard) || now.Complete != "17" || !strings.Contains(now.Err.Error(), "as it was at "+heard.UTC().Format("2006-01-02T15:04")) || resumed.stream.Live() || !resumed.stream.Listed() {
		t.Errorf("%+v", now)
	}
	s.update(func() { s.state = Synced })
	if state, stale := s.condition(); state != Synced || !stale {
		t.Errorf("%s, stale %v", state, stale)
	}
	select {
	case <-s.ready:
	default:
		t.Error("readers wait for what is held")
	}
	// While it is not known what the cluster serves, there may be kinds that nobody has
	// seen, whatever is live.
	health := &Health{accounts: map[string]*supervisor{"a": s}, registry: account.NewRegistry("test")}
	health.registry.Replace("test", []*account.Account{s.account})
	resumed.stream.live(nil)
	s.update(nil)
	if _, stale := s.condition(); !stale || health.Unproved("a", Everything) == nil {
		t.Error("a part is taken for the whole")
	}
	s.setDiscovery(nil)
	if _, stale := s.condition(); stale {
		t.Error("it is in touch")
	}
	if err := health.Unproved("a", Everything); err != nil {
		t.Error(err)
	}
	// It is so once: a kind that is opened anew is listed.
	if version, _ := begin(pods).reflector.at(); version != "" {
		t.Error(version)
	}
	if version, _ := begin(services).reflector.at(); version != "" {
		t.Error(version)
	}
	if fresh := supervised(nil); fresh.recall(t.Context()) != nil || fresh.patience() != noticeAfter {
		t.Error("nothing is held")
	}
}

func TestRecalls_WatchesAreResumedWhenAllIsHeld(t *testing.T) {
	over := func(r *recalls) bool {
		select {
		case <-r.over:
			return true
		default:
			return false
		}
	}
	r := newRecalls()
	r.begin()
	r.begin()
	r.end(false)
	r.seal()
	if over(r) {
		t.Error("one is still at it")
	}
	r.end(false)
	if !over(r) {
		t.Error("all have")
	}
	r.begin() // an account that comes later waits for nobody
	r.end(false)
	r.await(t.Context())
	none := newRecalls()
	none.seal()
	none.await(t.Context())
	synctest.Test(t, func(t *testing.T) {
		hangs := newRecalls()
		hangs.begin()
		hangs.seal()
		began := time.Now()
		hangs.await(t.Context())
		if took := time.Since(began); took != longRecall {
			t.Error(took)
		}
	})
}
