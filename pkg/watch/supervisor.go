package watch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
)

// AccountSink receives what one account holds.
type AccountSink interface {
	// Wants says whether a kind is to be watched.
	Wants(r cluster.Resource) bool
	// Stream returns the receiver for one kind, in one namespace or in all ("").
	Stream(r cluster.Resource, namespace string) (Decode, Stream)
	// Drop forgets a kind that the cluster no longer serves.
	Drop(r cluster.Resource, namespace string)
	// Close forgets the account.
	Close()
}

// State is how far an account is.
type State string

// The states of an account.
const (
	Starting State = "starting" // the first lists are under way
	Failed   State = "failed"   // they failed at least once and never succeeded
	Synced   State = "synced"   // every kind that can be listed has been
)

// KindStatus is one watcher as the operator sees it.
type KindStatus struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Synced    bool   `json:"synced"`
	// Reason and Message say why the kind is not followed right now.
	Reason  cluster.Reason `json:"reason,omitempty"`
	Message string         `json:"message,omitempty"`
	Events  uint64         `json:"events"`
	Lists   uint64         `json:"lists"`
}

// Status is one account as the operator sees it.
type Status struct {
	Account string       `json:"account"`
	State   State        `json:"state"`
	Stale   bool         `json:"stale"`
	Message string       `json:"message,omitempty"`
	Since   time.Time    `json:"since"`
	Kinds   []KindStatus `json:"kinds"`
}

// discoverEvery is how often the kinds are looked up again, which also gives
// forbidden kinds another chance. CRDs that come and go are seen at once.
const discoverEvery = 5 * time.Minute

// supervisor runs the watchers of one account.
type supervisor struct {
	account *account.Account
	sink    AccountSink
	log     *slog.Logger
	options Options
	slots   *Slots
	changed func() // the account's health may have changed

	client    *cluster.Client
	clientErr error

	rediscover chan struct{}
	ready      chan struct{} // closed when the state is no longer Starting

	mu        sync.Mutex
	state     State
	since     time.Time
	discovery error
	found     bool // discovery has succeeded
	watchers  map[watcherKey]*watcher
}

type watcherKey struct {
	resource  cluster.Resource
	namespace string
}

// watcher is a reflector and what became of it.
type watcher struct {
	reflector *Reflector
	cancel    context.CancelFunc
	done      chan struct{}
	internal  bool // not part of the account's content
	events    atomic.Uint64
	lists     atomic.Uint64

	// Under the supervisor's lock:
	synced bool
	ended  bool // gave up: forbidden or not served
	err    error
}

func newSupervisor(a *account.Account, sink AccountSink, slots *Slots, o Options, changed func()) *supervisor {
	s := &supervisor{
		account: a, sink: sink, slots: slots, options: o, changed: changed,
		log:        o.Log.With("account", a.Name),
		rediscover: make(chan struct{}, 1), ready: make(chan struct{}),
		state: Starting, since: time.Now(), watchers: map[watcherKey]*watcher{},
	}
	if a.Invalid != nil {
		s.clientErr = &cluster.Error{Reason: cluster.Invalid, Err: a.Invalid}
		return s
	}
	options := o.Client
	options.Identity = a.Identity()
	s.client, s.clientErr = cluster.New(a.REST, options)
	return s
}

// run watches until the context is over.
func (s *supervisor) run(ctx context.Context) {
	defer s.slots.calm(s.account.Name)
	if s.clientErr != nil {
		s.setDiscovery(s.clientErr)
		<-ctx.Done()
		return
	}
	client := s.client
	defer client.Close()
	defer s.stopAll() // before the connections close, so that none ends as an error
	if known := client.Known(); known != nil {
		s.reconcile(ctx, client, known.Watchable()) // while the cluster is asked what is new
	}
	wait := backoffFirst
	for ctx.Err() == nil {
		catalog, err := client.Discover(ctx)
		if ctx.Err() != nil {
			return
		}
		s.setDiscovery(err)
		next := discoverEvery
		if err != nil {
			next, wait = wait, min(2*wait, backoffMost)
		} else {
			wait = backoffFirst
			s.reconcile(ctx, client, catalog.Watchable())
		}
		select {
		case <-ctx.Done():
		case <-time.After(next):
		case <-s.rediscover:
			// A CRD is served a moment after it says so.
			select {
			case <-ctx.Done():
			case <-time.After(settleTime):
			}
		}
	}
}

const settleTime = 300 * time.Millisecond

// reconcile starts and stops watchers so that they fit what the cluster
// serves now.
func (s *supervisor) reconcile(ctx context.Context, client *cluster.Client, resources []cluster.Resource) {
	wanted := s.wanted(resources)
	s.mu.Lock()
	var gone []watcherKey
	for key, w := range s.watchers {
		if _, ok := wanted[key]; !ok {
			gone = append(gone, key)
			w.cancel()
			delete(s.watchers, key)
			defer func() { // after the lock is released
				<-w.done
				if !w.internal {
					s.sink.Drop(key.resource, key.namespace)
				}
			}()
		}
	}
	for key, internal := range wanted {
		if w, ok := s.watchers[key]; ok && !w.ended {
			continue
		}
		w := s.newWatcher(client, key, internal)
		if old := s.watchers[key]; old != nil {
			w.synced, w.err = old.synced, old.err
		}
		s.watchers[key] = w
		watching, cancel := context.WithCancel(ctx)
		w.cancel = cancel
		go s.follow(watching, key, w)
	}
	s.mu.Unlock()
	for _, key := range gone {
		s.log.Info("kind is no longer served", "kind", key.resource.KindText())
	}
	s.update(nil)
}

// wanted maps what to watch to whether it is for the supervisor itself.
func (s *supervisor) wanted(resources []cluster.Resource) map[watcherKey]bool {
	out := map[watcherKey]bool{}
	taken := map[string]bool{}
	for _, r := range resources {
		if announcesKinds(r) {
			out[watcherKey{r, ""}] = true
			continue
		}
		if taken[r.KindText()] || !s.sink.Wants(r) {
			continue
		}
		taken[r.KindText()] = true
		if len(s.account.Namespaces) == 0 || !r.Namespaced {
			out[watcherKey{r, ""}] = false
			continue
		}
		for _, namespace := range s.account.Namespaces {
			out[watcherKey{r, namespace}] = false
		}
	}
	return out
}

// announcesKinds says whether a change of such an object may change what the
// cluster serves.
func announcesKinds(r cluster.Resource) bool {
	return r.Plural == "customresourcedefinitions" && r.Group == "apiextensions.k8s.io" ||
		r.Plural == "apiservices" && r.Group == "apiregistration.k8s.io"
}

func (s *supervisor) newWatcher(client *cluster.Client, key watcherKey, internal bool) *watcher {
	w := &watcher{done: make(chan struct{}), internal: internal}
	selector := s.account.LabelSelector
	var source Source = client
	var decode Decode
	var stream Stream
	if internal {
		decode, stream, selector = decodeVersion, &trigger{s.rediscover}, ""
		source = cluster.Metadata{Client: client}
	} else {
		decode, stream = s.sink.Stream(key.resource, key.namespace)
	}
	if key.resource.Plural == "namespaces" {
		selector = "" // the account's list of namespaces is not Spinnaker's alone
	}
	w.reflector = &Reflector{
		source: source, path: key.resource.Path(key.namespace), selector: selector,
		decode: decode, stream: &counting{stream, w}, slots: s.slots, slotOf: s.account.Name,
		timing: s.options.Timing, wake: make(chan struct{}, 1),
		report: func(err error) {
			s.update(func() {
				w.err = err
				w.synced = w.synced || err == nil
			})
		},
	}
	return w
}

func (s *supervisor) follow(ctx context.Context, key watcherKey, w *watcher) {
	defer close(w.done)
	err := w.reflector.run(ctx)
	if err == nil || ctx.Err() != nil {
		return
	}
	s.log.Warn("kind is not watched", "kind", key.resource.KindText(), "namespace", key.namespace, "reason", cluster.ReasonOf(err), "error", err)
	s.update(func() { w.ended, w.err = true, err })
}

func (s *supervisor) stopAll() {
	s.mu.Lock()
	var all []*watcher
	for _, w := range s.watchers {
		w.cancel()
		all = append(all, w)
	}
	s.mu.Unlock()
	for _, w := range all {
		<-w.done
	}
}

func (s *supervisor) setDiscovery(err error) {
	if err != nil {
		s.log.Warn("cluster cannot be watched", "reason", cluster.ReasonOf(err), "error", err)
	}
	s.update(func() { s.discovery, s.found = err, s.found || err == nil })
}

// update changes a watcher's or the discovery's outcome and derives the
// account's state from all of them.
func (s *supervisor) update(change func()) {
	s.mu.Lock()
	staleBefore, stateBefore := s.stale(), s.state
	if change != nil {
		change()
	}
	if s.state != Synced {
		s.state = s.derive()
		if s.state != Starting && stateBefore == Starting {
			close(s.ready)
		}
	}
	state, stale := s.state, s.stale()
	if state != stateBefore || stale != staleBefore {
		s.since = time.Now()
	}
	message := s.message()
	s.mu.Unlock()
	if state == stateBefore && stale == staleBefore {
		return
	}
	if state == Synced {
		s.slots.calm(s.account.Name)
	}
	if stale {
		s.log.Warn("account is out of touch; its last known objects are served", "state", state, "error", message)
	} else {
		s.log.Info("account is in touch", "state", state)
	}
	s.changed()
}

func (s *supervisor) derive() State {
	failed := s.discovery != nil
	synced := s.found && len(s.watchers) > 0
	for _, w := range s.watchers {
		if w.internal {
			continue
		}
		synced = synced && (w.synced || w.ended)
		failed = failed || (w.err != nil && !w.ended)
	}
	switch {
	case synced:
		return Synced
	case failed || s.state == Failed:
		return Failed
	}
	return Starting
}

// stale says whether what is known may be behind the cluster. A kind that
// could never be listed does not count: there is nothing to be behind of.
func (s *supervisor) stale() bool {
	if s.state != Synced {
		return s.state == Failed
	}
	for _, w := range s.watchers {
		if w.err != nil && !w.internal && (w.synced || !w.ended) {
			return true
		}
	}
	return false
}

func (s *supervisor) message() string {
	if s.discovery != nil {
		return s.discovery.Error()
	}
	for key, w := range s.watchers {
		if w.err != nil && !w.ended && !w.internal {
			return key.resource.KindText() + ": " + w.err.Error()
		}
	}
	return ""
}

// status is a copy for operators and metrics.
func (s *supervisor) status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Status{Account: s.account.Name, State: s.state, Stale: s.stale(), Since: s.since, Message: s.message()}
	for key, w := range s.watchers {
		k := KindStatus{Kind: key.resource.KindText(), Namespace: key.namespace, Synced: w.synced, Events: w.events.Load(), Lists: w.lists.Load()}
		if w.err != nil {
			k.Reason, k.Message = cluster.ReasonOf(w.err), w.err.Error()
		}
		out.Kinds = append(out.Kinds, k)
	}
	slices.SortFunc(out.Kinds, func(a, b KindStatus) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace))
	})
	return out
}

// relist makes every watcher list anew.
func (s *supervisor) relist() {
	for _, w := range s.snapshot() {
		w.reflector.relist()
	}
}

// hurry moves the account's first lists to the front and ends back-off.
func (s *supervisor) hurry() {
	s.slots.promote(s.account.Name)
	for _, w := range s.snapshot() {
		w.reflector.nudge()
	}
}

func (s *supervisor) snapshot() []*watcher {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*watcher, 0, len(s.watchers))
	for _, w := range s.watchers {
		out = append(out, w)
	}
	return out
}

// counting counts what passes for the metrics.
type counting struct {
	Stream
	w *watcher
}

func (c *counting) Replace(objects []Object, version string, reset bool) {
	c.w.lists.Add(1)
	c.Stream.Replace(objects, version, reset)
}

func (c *counting) Upsert(o Object) {
	c.w.events.Add(1)
	c.Stream.Upsert(o)
}

func (c *counting) Delete(o Object) {
	c.w.events.Add(1)
	c.Stream.Delete(o)
}

// trigger turns any change of the watched kind into a rediscovery.
type trigger struct{ fire chan<- struct{} }

func (t *trigger) Replace([]Object, string, bool) { t.poke() }
func (t *trigger) Upsert(Object)                  { t.poke() }
func (t *trigger) Delete(Object)                  { t.poke() }

func (t *trigger) poke() {
	select {
	case t.fire <- struct{}{}:
	default:
	}
}

type versioned string

func (v versioned) ResourceVersion() string { return string(v) }

func decodeVersion(unmarshal func(any) error) (Object, error) {
	var o struct {
		Metadata struct {
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
	}
	if err := unmarshal(&o); err != nil {
		return nil, err
	}
	if o.Metadata.ResourceVersion == "" {
		return nil, fmt.Errorf("an object without resourceVersion: %w", errors.ErrUnsupported)
	}
	return versioned(o.Metadata.ResourceVersion), nil
}
