package watch

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
)

// Object is what a Receiver keeps; only its version matters to a Reflector.
type Object interface {
	ResourceVersion() string
}

// Decode makes an Object of one object's JSON, which it must not keep. A nil
// Object without an error is one that the receiver does not want. An error
// beside an Object says what could not be read of it; without one, that it is
// left out.
type Decode func(raw []byte) (Object, error)

// Receiver takes one kind's (and namespace's) objects, in the order of the
// cluster. Replace may also be called beside the others, for a list that was
// asked for meanwhile.
type Receiver interface {
	// Replace sets the complete content as of version, unless what is held is of
	// a later one. reset says that the cluster's history went backwards: nothing
	// from before counts.
	Replace(objects []Object, version string, reset bool)
	Upsert(Object)
	Delete(Object)
	// Passed says that everything up to a version has been delivered.
	Passed(version string)
}

// Holder is a Receiver that can tell an object that it holds already, in the version
// that some JSON has, without all of that being read; nil for another one.
type Holder interface {
	Held(raw []byte) Object
}

// Source opens lists and watches; cluster.Client is one.
type Source interface {
	Open(ctx context.Context, path string, query url.Values, watching bool) (io.ReadCloser, error)
}

// Reflector keeps a Receiver equal to what a cluster lists at one path.
type Reflector struct {
	source   Source
	path     string
	selector string
	decode   Decode
	receiver Receiver
	stream   *Stream
	shared   shared
	slotOf   string
	timing   Timing
	log      *slog.Logger
	// sameCluster says whether the cluster is still the one that was listed: an error
	// when it is not.
	sameCluster func(ctx context.Context) error
	// wentBack is told that the cluster's history did, and whether this list has
	// begun anew already.
	wentBack func(begun bool)
	// unserved is told that the path is not served.
	unserved func()

	noStreams bool // the server cannot send a list as a watch
	wake      chan struct{}
	stop      atomic.Pointer[context.CancelCauseFunc]

	mu      sync.Mutex
	version string // the last one seen; "" before the first list
	highest string // the highest version seen; stays when version is given up
	beside  string // that of the last list beside the watch
	reset   bool   // the next list begins a new epoch
	doubted bool   // the history may have been changed since version
}

// Timing are a Reflector's limits.
type Timing struct {
	// RequestTimeout bounds one page of a list, and the silence within a list.
	RequestTimeout time.Duration
	// StuckAfter is the silence after which a watch is given up.
	StuckAfter time.Duration
	// Life is how often the connection of a live watch shows a sign of life.
	Life time.Duration
	// MostBytes and MostObjects bound a list; 0 for no bound.
	MostBytes   int64
	MostObjects int
	// Lag is told how long after its creation a new object is shown; nil for
	// nobody.
	Lag func(time.Duration)
}

const (
	// pageSize is that of client-go's pager; servers without streaming lists
	// read such pages from etcd.
	pageSize = 500
	// Back-off doubles from first to most, each wait between half and all of it.
	backoffFirst = 250 * time.Millisecond
	backoffMost  = 30 * time.Second
	// A watch is asked to end after 5 to 10 minutes, as client-go does, so that
	// load spreads again over API servers.
	watchLeast = 5 * time.Minute
	// openAtOnce is how long opening a watch may take before what has happened
	// meanwhile is waited for.
	openAtOnce = 200 * time.Millisecond
	// shortest is what a watch has to last to be taken for one that works.
	shortest = time.Second
)

var (
	errRelist     = errors.New("it is listed anew")
	errEarly      = errors.New("the server ended the watch")
	errSlowReopen = errors.New("the watch ended, and opening it anew takes long")
	errWentBack   = errors.New("the cluster's history went backwards: it was restored from a backup, or is another one")
)

// run reflects until the context is over.
func (r *Reflector) run(ctx context.Context) {
	wait := backoffFirst
	for ctx.Err() == nil {
		err := r.attempt(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			r.stream.reopening()
			wait = backoffFirst
			continue // the watch ended as agreed: go on from its version
		}
		if was := r.stream.Freshness(); was.Phase == Live && time.Since(was.Since) >= shortest {
			wait = backoffFirst // it has worked
		}
		r.stream.broke(err)
		r.pause(ctx, err, wait)
		wait = min(2*wait, backoffMost)
	}
}

// pause waits between attempts.
func (r *Reflector) pause(ctx context.Context, err error, wait time.Duration) {
	pause := wait/2 + rand.N(wait/2+1)
	if wait == backoffFirst && (errors.Is(err, errRelist) || errors.Is(err, errEarly)) {
		return // nothing has failed yet
	}
	var e *cluster.Error
	if errors.As(err, &e) && e.RetryAfter > 0 {
		asked := time.Duration(e.RetryAfter) * time.Second
		pause = max(pause, asked+rand.N(asked/4+1))
	}
	over := time.After(pause)
	select { // somebody who waits does not make it more often than this
	case <-ctx.Done():
	case <-time.After(min(pause, shortest)):
	}
	wake := r.wake
	if e != nil && e.RetryAfter > 0 {
		wake = nil // the server has said when
	}
	select {
	case <-ctx.Done():
	case <-over:
	case <-wake:
	}
}

// attempt makes one connection's worth of progress: a list when there is no
// version to go on from, and then a watch. nil means that the watch has ended
// as agreed.
func (r *Reflector) attempt(parent context.Context) (err error) {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	r.stop.Store(&cancel)
	defer func() {
		if cause := context.Cause(ctx); err != nil && parent.Err() == nil && cause != nil {
			err = cause
		}
		r.judge(err)
	}()
	version, doubted := r.at()
	ahead := ""
	var f *follower
	if version == "" {
		r.stream.listing()
		apart(func() { f, err = r.listed(ctx, cancel) })
	} else if doubted {
		ahead, err = r.verify(ctx, version)
	}
	if err == nil && f == nil {
		f, ahead, err = r.open(ctx, ahead)
	}
	if err != nil {
		return err
	}
	defer f.close()
	return r.follow(ctx, f, cancel, ahead)
}

func (r *Reflector) at() (version string, doubted bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.version, r.doubted
}

// judge decides what an attempt's end says about the version to go on from.
func (r *Reflector) judge(err error) {
	if err == nil {
		return
	}
	r.mu.Lock()
	r.doubted = true
	if errors.Is(err, errRelist) || errors.Is(err, errStuck) || cluster.Is(err, cluster.Expired) {
		r.version = ""
	}
	r.mu.Unlock()
	if cluster.Is(err, cluster.NoKind) {
		r.unserved()
	}
}

// verify finds out whether the history that a version belongs to is still the
// cluster's, and how far that is now. A watch from a version that is still to
// come says nothing.
func (r *Reflector) verify(ctx context.Context, version string) (ahead string, err error) {
	if err := r.sameCluster(ctx); err != nil {
		return "", err
	}
	if ahead, err = r.present(ctx); err != nil {
		return "", err
	}
	if older(ahead, version) {
		r.wentBack(false)
		return "", errRelist
	}
	r.mu.Lock()
	r.doubted = false
	r.mu.Unlock()
	return ahead, nil
}

// present is the version of now.
func (r *Reflector) present(ctx context.Context) (string, error) {
	q := url.Values{"limit": {"1"}}
	if r.selector != "" {
		q.Set("labelSelector", r.selector)
	}
	now, _, err := r.page(cluster.OnWatchConnection(ctx), q, nil, decodeListVersion) // one connection is enough to come back
	return now.version, err
}

// older says whether version a is before b. What cannot be compared is of
// another history.
func older(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err != nil || order < 0
}

// forget makes the next list the first of a new epoch, and asks for it.
func (r *Reflector) forget() {
	r.mu.Lock()
	r.version, r.highest, r.beside, r.reset = "", "", "", true
	r.mu.Unlock()
	if cancel := r.stop.Load(); cancel != nil {
		(*cancel)(errRelist)
	}
}

func (r *Reflector) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *Reflector) watchQuery() (url.Values, time.Duration) {
	lasting := watchLeast + rand.N(watchLeast)
	q := url.Values{
		"watch": {"true"}, "allowWatchBookmarks": {"true"},
		"timeoutSeconds": {strconv.Itoa(int(lasting.Seconds()))},
	}
	if r.selector != "" {
		q.Set("labelSelector", r.selector)
	}
	return q, lasting
}

// apart does what takes stack on another one: a goroutine keeps the stack that it
// has needed once, and most of a watch's life is waiting.
func apart(do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	<-done
}

// open opens a watch from the last version on. A cluster that takes long over it is
// asked what has happened meanwhile.
func (r *Reflector) open(ctx context.Context, known string) (f *follower, ahead string, err error) {
	q, lasting := r.watchQuery()
	version, _ := r.at()
	q.Set("resourceVersion", version)
	began := time.Now()
	var body io.ReadCloser
	apart(func() { body, err = r.source.Open(ctx, r.path, q, true) })
	if err != nil {
		return nil, "", err
	}
	f = newFollower(body, began, lasting)
	if known != "" || time.Since(began) <= openAtOnce {
		return f, known, nil
	}
	if ahead, err = r.present(ctx); err != nil {
		f.close()
		return nil, "", err
	}
	return f, ahead, nil
}

// follow takes in what changes. The stream is live once its watch has brought what is
// there up to a version.
func (r *Reflector) follow(ctx context.Context, f *follower, cancel context.CancelCauseFunc, ahead string) error {
	caught := r.catchUp(ctx, cancel, f, ahead)
	defer caught.stop()
	return f.each(f.body, newSilence(r.silenceOf(f.body), cancel, nil), func(fr frame) error {
		caught.hears()
		if err := r.apply(fr); err != nil {
			return err
		}
		return caught.heard()
	})
}

func (r *Reflector) apply(f frame) error {
	switch f.event {
	case "ADDED", "MODIFIED", "DELETED":
		r.stream.events.Add(1)
		obj := r.take(f.object, nil, r.shared.decoders.do)
		if obj == nil {
			r.stream.said("")
			return nil
		}
		if f.event == "DELETED" {
			r.receiver.Delete(obj)
		} else {
			r.receiver.Upsert(obj)
		}
		r.late(f.event, obj)
		r.advance(obj.ResourceVersion())
	case "BOOKMARK":
		var mark bookmark
		var err error
		r.shared.decoders.do(func() { mark, err = bookmarkOf(f) })
		if err != nil {
			return err
		}
		r.receiver.Passed(mark.Metadata.ResourceVersion)
		r.advance(mark.Metadata.ResourceVersion)
	case "ERROR":
		return f.failure()
	}
	return nil
}

// late measures how long a new object took to be shown. Kubernetes tells its
// creation to the second.
func (r *Reflector) late(event string, obj Object) {
	made, ok := obj.(interface{ CreatedAt() time.Time })
	if event != "ADDED" || !ok {
		return
	}
	at := made.CreatedAt()
	now := r.stream.Freshness()
	// What is older was not new: it got the label, or was missed during an outage.
	if at.IsZero() || now.Phase != Live || at.Before(now.Since.Add(-time.Second)) {
		return
	}
	lag := max(time.Since(at), 0)
	r.stream.lag.Store(int64(lag))
	if r.timing.Lag != nil {
		r.timing.Lag(lag)
	}
}

func (r *Reflector) advance(version string) {
	r.mu.Lock()
	r.version, r.highest = version, version
	r.mu.Unlock()
	r.stream.said(version)
}

// take makes an object of some JSON, or finds that the holder, nil for none, has it;
// nil for one that is not shown. One that cannot be decoded is counted and named, and
// harms nobody else.
func (r *Reflector) take(raw []byte, holder Holder, decoding func(func())) (obj Object) {
	var err error
	decoding(func() {
		if holder != nil {
			obj = holder.Held(raw)
		}
		if obj == nil {
			obj, err = r.decode(raw)
		}
	})
	if err != nil {
		r.tell(raw, obj, err)
	}
	return obj
}

// tell counts and names an object that cannot be decoded.
func (r *Reflector) tell(raw []byte, obj Object, err error) {
	r.stream.odd.Add(1)
	var o struct {
		Metadata struct{ Namespace, Name string }
	}
	_ = json.Unmarshal(raw, &o) // as far as it can be read
	name := o.Metadata.Namespace + "/" + o.Metadata.Name
	if r.stream.names(name) {
		r.log.Warn("an object cannot be read as its kind is", "kind", r.stream.Kind, "namespace", o.Metadata.Namespace, "name", o.Metadata.Name, "shown", obj != nil, "error", err)
	}
}
