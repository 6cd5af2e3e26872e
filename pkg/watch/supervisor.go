package watch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/flight"
)

// AccountSink receives what one account holds.
type AccountSink interface {
	// Past is what the sink holds from before the service's start, nil for
	// nothing. It is asked once, before all others, and gives up with the context.
	Past(ctx context.Context) *Past
	// Wants says whether a kind is to be watched.
	Wants(r cluster.Resource) bool
	// Open returns the receiver of one kind, in one namespace or in all (""). It
	// takes the place of an earlier one of the same kind, whose objects stay
	// until its first list.
	Open(r cluster.Resource, s *Stream) (Decode, Receiver)
	// Drop forgets a kind that the cluster no longer serves.
	Drop(r cluster.Resource, namespace string)
	// NewEpoch says that the cluster's history went backwards, or is another
	// one's: versions from before mean nothing.
	NewEpoch()
	// Close forgets the account.
	Close()
}

const (
	// discoverEvery is how often the kinds are looked up again. CRDs that come
	// and go are seen at once.
	discoverEvery = 5 * time.Minute
	// settleTime is how soon a CRD is served after it says so.
	settleTime = 300 * time.Millisecond
	// noticeAfter keeps the log quiet about what mends itself at once.
	noticeAfter = 2 * time.Second
)

// supervisor runs the watchers of one account.
type supervisor struct {
	account *account.Account
	sink    AccountSink
	log     *slog.Logger
	options Options
	shared  shared
	changed func(*supervisor) // the account's health may have changed

	client    *cluster.Client
	clientErr error
	began     time.Time
	life      context.Context //nolint:containedctx // what is asked for all watches ends with the account, and with none of them

	// versionAsked is when the cluster last said its version.
	versionAsked time.Time

	rediscover chan struct{}
	ready      chan struct{} // closed when the state is no longer Starting
	identity   flight.Group[struct{}, struct{}]

	mu        sync.Mutex
	state     State
	stale     bool
	since     time.Time
	discovery error
	found     bool // discovery has succeeded
	foundOnce chan struct{}
	watchers  map[watcherKey]*watcher
	cluster   string // the UID of its namespace kube-system, "" if not known
	// doubted is when somebody last had to know whether it is still the same cluster,
	// and identified when it was last asked and has answered.
	doubted, identified time.Time
	version             string // as it says, "" if not known
	logged              bool   // that the account is out of touch
	notice              *time.Timer
	over                bool // nothing is told any more
	recalls             *recalls
	// recalled are the streams from before the service's start that are not resumed
	// yet; nil for an account of which nothing was held.
	recalled map[watcherKey]PastStream
}

// watcherKey names a watcher. The version that a kind is served in may change
// under it.
type watcherKey struct {
	kind, namespace string
	internal        bool // not part of the account's content
}

// watcher is a reflector at work.
type watcher struct {
	resource  cluster.Resource
	reflector *Reflector
	stream    *Stream
	cancel    context.CancelFunc
	done      chan struct{}
}

func newSupervisor(a *account.Account, sink AccountSink, with shared, o Options, changed func(*supervisor)) *supervisor {
	s := &supervisor{
		account: a, sink: sink, shared: with, options: o, changed: changed,
		log: o.Log.With("account", a.Name), began: time.Now(),
		rediscover: make(chan struct{}, 1), ready: make(chan struct{}), foundOnce: make(chan struct{}),
		state: Starting, stale: true, since: time.Now(), watchers: map[watcherKey]*watcher{},
		life: context.Background(),
	}
	if a.Invalid != nil {
		s.clientErr = &cluster.Error{Reason: cluster.Invalid, Err: a.Invalid}
		return s
	}
	options := o.Client
	options.Identity = a.Server()
	s.client, s.clientErr = cluster.New(a.REST, options)
	return s
}

// rotate goes on with other credentials for the same cluster.
func (s *supervisor) rotate(a *account.Account) {
	if s.client == nil {
		return
	}
	if err := s.client.Rotate(a.REST); err != nil {
		s.log.Error("the account's new credentials cannot be used; it goes on with the old ones", "error", err)
		return
	}
	s.log.Info("the account's credentials have changed")
	s.poke()
	for _, w := range s.content() {
		w.reflector.nudge()
	}
}

// run watches until the context is over.
func (s *supervisor) run(ctx context.Context) {
	s.life = ctx
	defer s.hush()
	defer s.shared.lists.calm(s.account.Name)
	late := time.AfterFunc(s.options.StartWithin, func() { s.update(nil) })
	defer late.Stop()
	if s.clientErr != nil {
		s.recalls.end(false)
		s.setDiscovery(s.clientErr)
		<-ctx.Done()
		return
	}
	client := s.client
	defer client.Close()
	defer s.stopAll() // before the connections close, so that none ends as an error
	if s.takeUp(ctx) {
		_ = s.sameCluster(ctx) // when it is the account's turn
	} else if known := client.Known(); known != nil {
		s.reconcile(ctx, known.Watchable()) // while the cluster is asked what is new
	}
	wait := backoffFirst
	small := cluster.OnWatchConnection(ctx) // one connection is enough to begin with
	for ctx.Err() == nil {
		catalog, err := client.Rediscover(small)
		if ctx.Err() != nil {
			return
		}
		next := discoverEvery
		if err != nil {
			next, wait = wait, min(2*wait, backoffMost)
		} else {
			wait = backoffFirst
			s.reconcile(ctx, catalog.Watchable())
			s.learn(small)
			s.askVersion(small)
		}
		s.setDiscovery(err)
		select {
		case <-ctx.Done():
		case <-time.After(next):
		case <-s.rediscover:
			select {
			case <-ctx.Done():
			case <-time.After(settleTime):
			}
		}
	}
}

// poke has the kinds looked up again soon.
func (s *supervisor) poke() {
	select {
	case s.rediscover <- struct{}{}:
	default:
	}
}

// reconcile starts and stops watchers so that they fit what the cluster
// serves now.
func (s *supervisor) reconcile(ctx context.Context, resources []cluster.Resource) {
	wanted := s.wanted(resources)
	s.mu.Lock()
	var ended []*watcher
	dropped := map[watcherKey]cluster.Resource{}
	for key, w := range s.watchers {
		now, ok := wanted[key]
		if ok && now == w.resource {
			continue
		}
		// A kind that is served in another version now keeps its objects until
		// they are listed there.
		w.cancel()
		ended = append(ended, w)
		delete(s.watchers, key)
		if !ok {
			dropped[key] = w.resource
		}
	}
	s.mu.Unlock()
	for _, w := range ended {
		<-w.done
	}
	for key, resource := range dropped {
		s.log.Info("kind is no longer served", "kind", key.kind)
		if !key.internal {
			s.sink.Drop(resource, key.namespace)
		}
	}
	s.mu.Lock()
	for key, resource := range wanted {
		if s.watchers[key] != nil {
			continue
		}
		w := s.newWatcher(key, resource)
		s.resume(key, w)
		s.watchers[key] = w
		watching, cancel := context.WithCancel(ctx)
		w.cancel = cancel
		go func() {
			defer close(w.done)
			w.reflector.run(watching)
		}()
	}
	s.mu.Unlock()
	s.update(nil)
}

// wanted maps the watchers that the account needs to the resources that the
// server prefers for them.
func (s *supervisor) wanted(resources []cluster.Resource) map[watcherKey]cluster.Resource {
	out := map[watcherKey]cluster.Resource{}
	add := func(key watcherKey, r cluster.Resource) {
		if _, taken := out[key]; !taken {
			out[key] = r
		}
	}
	for _, r := range resources {
		if announcesKinds(r) {
			add(watcherKey{kind: r.KindText(), internal: true}, r)
		}
		switch {
		case !s.sink.Wants(r):
		case len(s.account.Namespaces) == 0 || !r.Namespaced:
			add(watcherKey{kind: r.KindText()}, r)
		default:
			for _, namespace := range s.account.Namespaces {
				add(watcherKey{kind: r.KindText(), namespace: namespace}, r)
			}
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

func (s *supervisor) newWatcher(key watcherKey, resource cluster.Resource) *watcher {
	w := &watcher{resource: resource, done: make(chan struct{})}
	w.stream = newStream(key.kind, key.namespace, s.options.Timing.Life, func() { s.update(nil) })
	selector := s.account.LabelSelector
	var source Source = s.client
	var decode Decode
	var receiver Receiver
	if key.internal {
		decode, receiver, selector = decodeVersion, &trigger{poke: s.poke, known: s.served(resource)}, ""
		source = cluster.Metadata{Client: s.client}
	} else {
		decode, receiver = s.sink.Open(resource, w.stream)
	}
	if resource.Plural == "namespaces" {
		selector = "" // the account's list of namespaces is not Spinnaker's alone
	}
	w.reflector = &Reflector{
		source: source, path: resource.Path(key.namespace), selector: selector,
		decode: decode, receiver: receiver, stream: w.stream, shared: s.shared, slotOf: s.account.Name,
		timing: s.options.Timing, wake: make(chan struct{}, 1), log: s.log,
		sameCluster: s.sameCluster, unserved: s.poke,
	}
	w.reflector.wentBack = func(begun bool) {
		if begun {
			s.newEpoch(w.reflector)
		} else {
			s.newEpoch(nil)
		}
	}
	return w
}

func (s *supervisor) all() []*watcher {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.watchers))
}

func (s *supervisor) stopAll() {
	all := s.all()
	for _, w := range all {
		w.cancel()
	}
	for _, w := range all {
		<-w.done
	}
}

// content are the watchers of the account's content.
func (s *supervisor) content() []*watcher {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*watcher, 0, len(s.watchers))
	for key, w := range s.watchers {
		if !key.internal {
			out = append(out, w)
		}
	}
	return out
}

// versionEvery is how often a cluster is asked for its version, at most.
const versionEvery = 5 * time.Minute

// askVersion keeps the cluster's version for people; one that does not say keeps
// the last. Only the supervisor's own loop calls it.
func (s *supervisor) askVersion(ctx context.Context) {
	if time.Since(s.versionAsked) < versionEvery {
		return
	}
	version, _, err := s.client.Version(ctx)
	if err != nil {
		return
	}
	s.versionAsked = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version = version
}

// refreshAtOnce is how many kinds of an account are listed at once for somebody
// who waits.
const refreshAtOnce = 4

// refresh lists what a cover names as it is now, beside the watches.
func (s *supervisor) refresh(ctx context.Context, c Cover) error {
	if s.clientErr != nil {
		return s.clientErr
	}
	if err := s.known(ctx); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(refreshAtOnce)
	var mu sync.Mutex
	var hidden []string
	for _, w := range s.content() {
		if !c.names(w.stream) {
			continue
		}
		group.Go(func() error {
			err := w.reflector.refresh(ctx)
			switch {
			case cluster.Is(err, cluster.Forbidden):
				mu.Lock()
				defer mu.Unlock()
				hidden = append(hidden, w.stream.Kind)
				return nil
			case cluster.Is(err, cluster.NoKind):
				s.poke()
			}
			if err != nil {
				return fmt.Errorf("list %s: %w", w.stream.Kind, err)
			}
			w.reflector.nudge() // the cluster answers
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if len(hidden) > 0 {
		slices.Sort(hidden)
		return &cluster.Error{Reason: cluster.Forbidden, Err: fmt.Errorf("it may not list %s: allow that, or leave the kinds out of the account by its omitKinds", strings.Join(slices.Compact(hidden), ", "))}
	}
	return nil
}

// known waits until it is known what the cluster serves.
func (s *supervisor) known(ctx context.Context) error {
	s.mu.Lock()
	found := s.found
	s.mu.Unlock()
	if found {
		return nil
	}
	if _, err := s.client.Rediscover(ctx); err != nil {
		return err
	}
	s.poke()
	select {
	case <-s.foundOnce:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// served says of the names of what announces kinds whether what they announce is known
// to be served.
func (s *supervisor) served(announcing cluster.Resource) func(name string) bool {
	return func(name string) bool {
		catalog := s.client.Known()
		first, rest, _ := strings.Cut(name, ".")
		switch {
		case catalog == nil:
			return false
		case announcing.Plural == "apiservices": // version.group
			return catalog.Serves(func(r cluster.Resource) bool { return r.Version == first && r.Group == rest })
		}
		return catalog.Serves(func(r cluster.Resource) bool { return r.Plural == first && r.Group == rest })
	}
}

// trigger turns any change of the watched kind into a rediscovery. The first list is
// none where all that it announces is known: it comes right after a discovery.
type trigger struct {
	poke   func()
	known  func(name string) bool
	listed bool
}

func (t *trigger) Replace(objects []Object, _ string, _ bool) {
	first := !t.listed
	t.listed = true
	if !first || slices.ContainsFunc(objects, func(o Object) bool { return !t.known(o.(versioned).name) }) {
		t.poke()
	}
}
func (t *trigger) Upsert(Object) { t.poke() }
func (t *trigger) Delete(Object) { t.poke() }
func (t *trigger) Passed(string) {}

type versioned struct{ name, version string }

func (v versioned) ResourceVersion() string { return v.version }

func decodeVersion(raw []byte) (Object, error) {
	var o struct {
		Metadata struct {
			Name            string `json:"name"`
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		return nil, err
	}
	if o.Metadata.ResourceVersion == "" {
		return nil, errors.New("an object without resourceVersion")
	}
	return versioned{o.Metadata.Name, o.Metadata.ResourceVersion}, nil
}
