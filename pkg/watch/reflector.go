package watch

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
)

// Object is what a Sink keeps; only its version matters to a Reflector.
type Object interface {
	ResourceVersion() string
}

// Decode makes an Object of one JSON object. unmarshal fills any value as
// json.Unmarshal does. A nil Object with a nil error is an object that the
// sink does not want.
type Decode func(unmarshal func(any) error) (Object, error)

// Stream receives one kind's (and namespace's) objects, in the order of the
// cluster. Its methods are called by one goroutine at a time.
type Stream interface {
	// Replace sets the complete content as of version. reset says that the
	// cluster's history went backwards: nothing from before counts.
	Replace(objects []Object, version string, reset bool)
	Upsert(Object)
	Delete(Object)
}

// Source opens lists and watches; cluster.Client is one.
type Source interface {
	Open(ctx context.Context, path string, query url.Values, watching bool) (io.ReadCloser, error)
}

// Reflector keeps a Stream equal to what a cluster lists at one path.
type Reflector struct {
	source   Source
	path     string
	selector string
	decode   Decode
	stream   Stream
	slots    *Slots
	slotOf   string
	timing   Timing
	report   func(error) // nil means: in touch with the cluster

	version   string // the last one seen; "" before the first list
	noStreams bool   // the server cannot send a list as a watch
	highest   string // the highest version seen; stays when version is given up
	wake      chan struct{}
	stop      atomic.Pointer[context.CancelCauseFunc]
}

// Timing are a Reflector's limits.
type Timing struct {
	// RequestTimeout bounds one page of a list.
	RequestTimeout time.Duration
	// StuckAfter is the silence after which a watch is opened anew.
	StuckAfter time.Duration
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
)

var errRelist = errors.New("a relist was asked for")

// run reflects until the context is over. It returns early only when the kind
// cannot be watched: forbidden or not served.
func (r *Reflector) run(ctx context.Context) error {
	wait := backoffFirst
	for ctx.Err() == nil {
		progressed, err := r.attempt(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the attempt ended because it was told to
		}
		switch reason := cluster.ReasonOf(err); {
		case err == nil:
			wait = backoffFirst
			continue // the watch ended in good order: go on from its version
		case errors.Is(err, errRelist), reason == cluster.Expired:
			r.version = ""
			if progressed || errors.Is(err, errRelist) {
				wait = backoffFirst
				continue
			}
		case reason == cluster.Forbidden, reason == cluster.NotFound:
			return err // asking again would not help
		}
		r.report(err)
		if progressed {
			wait = backoffFirst
		}
		pause := wait/2 + rand.N(wait/2+1)
		wait = min(2*wait, backoffMost)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		case <-r.wake: // the account is asked for: try now
		}
	}
	return nil
}

// attempt makes one connection's worth of progress: a list when there is no
// version to go on from, and then a watch.
func (r *Reflector) attempt(parent context.Context) (progressed bool, err error) {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	r.stop.Store(&cancel)
	defer func() {
		if cause := context.Cause(ctx); err != nil && parent.Err() == nil && cause != nil {
			err = cause
		}
	}()
	if r.version == "" {
		if !r.noStreams {
			err := r.streamList(ctx, cancel, &progressed)
			if cluster.ReasonOf(err) != cluster.Unsupported || err == nil {
				return progressed, err
			}
			r.noStreams = true
		}
		if err := r.list(ctx); err != nil {
			return false, err
		}
		progressed = true
	}
	err = r.watch(ctx, cancel, &progressed)
	return progressed, err
}

// relist drops the connection and lists anew.
func (r *Reflector) relist() {
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

func (r *Reflector) watchQuery() url.Values {
	seconds := int((watchLeast + rand.N(watchLeast)).Seconds())
	q := url.Values{
		"watch": {"true"}, "allowWatchBookmarks": {"true"},
		"timeoutSeconds": {strconv.Itoa(seconds)},
	}
	if r.selector != "" {
		q.Set("labelSelector", r.selector)
	}
	return q
}

// streamList lists by a watch that begins with the current objects (KEP-3157)
// and goes on watching on the same stream.
func (r *Reflector) streamList(ctx context.Context, cancel context.CancelCauseFunc, progressed *bool) error {
	release, err := r.slots.acquire(ctx, r.slotOf)
	if err != nil {
		return err
	}
	defer func() { release() }()
	q := r.watchQuery()
	q.Set("sendInitialEvents", "true")
	q.Set("resourceVersionMatch", "NotOlderThan")
	body, err := r.source.Open(ctx, r.path, q, true)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	var initial []Object
	listing := true
	return r.follow(cancel, body, func(f frame) error {
		if !listing {
			return r.apply(f, progressed)
		}
		switch f.event {
		case "ADDED", "MODIFIED":
			obj, err := r.decode(f.unmarshal)
			if err != nil {
				return undecodable(err)
			}
			if obj != nil {
				initial = append(initial, obj)
			}
		case "BOOKMARK":
			mark, err := bookmarkOf(f)
			if err != nil {
				return err
			}
			if !mark.ends() {
				return nil
			}
			r.replace(initial, mark.Metadata.ResourceVersion)
			initial, listing, *progressed = nil, false, true
			release()
			release = func() {}
		case "ERROR":
			return f.failure()
		}
		return nil
	})
}

// watch follows changes from the last version on.
func (r *Reflector) watch(ctx context.Context, cancel context.CancelCauseFunc, progressed *bool) error {
	q := r.watchQuery()
	q.Set("resourceVersion", r.version)
	body, err := r.source.Open(ctx, r.path, q, true)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	r.report(nil)
	return r.follow(cancel, body, func(f frame) error { return r.apply(f, progressed) })
}

func (r *Reflector) apply(f frame, progressed *bool) error {
	switch f.event {
	case "ADDED", "MODIFIED", "DELETED":
		obj, err := r.decode(f.unmarshal)
		if err != nil {
			return undecodable(err)
		}
		*progressed = true
		if obj == nil {
			return nil
		}
		if f.event == "DELETED" {
			r.stream.Delete(obj)
		} else {
			r.stream.Upsert(obj)
		}
		r.advance(obj.ResourceVersion())
	case "BOOKMARK":
		mark, err := bookmarkOf(f)
		if err != nil {
			return err
		}
		*progressed = true
		r.advance(mark.Metadata.ResourceVersion)
	case "ERROR":
		return f.failure()
	}
	return nil
}

func (r *Reflector) advance(version string) { r.version, r.highest = version, version }

func undecodable(err error) error {
	return &cluster.Error{Reason: cluster.Unavailable, Err: fmt.Errorf("decode an object: %w", err)}
}

// follow reads frames until the stream ends or nothing came for too long.
func (r *Reflector) follow(cancel context.CancelCauseFunc, body io.Reader, handle func(frame) error) error {
	stuck := time.AfterFunc(r.timing.StuckAfter, func() {
		cancel(&cluster.Error{Reason: cluster.Unavailable, Err: fmt.Errorf("the watch said nothing for %s", r.timing.StuckAfter)})
	})
	defer stuck.Stop()
	frames := frameReader{r: bufio.NewReaderSize(body, 16<<10)}
	for {
		f, err := frames.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return &cluster.Error{Reason: cluster.Unavailable, Err: fmt.Errorf("read the watch: %w", err)}
		}
		stuck.Reset(r.timing.StuckAfter)
		if err := handle(f); err != nil {
			return err
		}
	}
}

// list reads all pages and replaces the content.
func (r *Reflector) list(ctx context.Context) error {
	release, err := r.slots.acquire(ctx, r.slotOf)
	if err != nil {
		return err
	}
	defer release()
	var all []Object
	q := url.Values{"limit": {strconv.Itoa(pageSize)}}
	if r.selector != "" {
		q.Set("labelSelector", r.selector)
	}
	for {
		page, err := r.page(ctx, q)
		if err != nil {
			return err
		}
		all = append(all, page.objects...)
		if page.next == "" {
			r.replace(all, page.version)
			return nil
		}
		q.Set("continue", page.next)
	}
}

func (r *Reflector) replace(objects []Object, version string) {
	reset := false
	if old := r.highest; old != "" {
		// A consistent list older than what was seen means that the cluster was
		// restored from a backup, or is another one.
		order, err := resourceversion.CompareResourceVersion(version, old)
		reset = err != nil || order < 0
	}
	r.stream.Replace(objects, version, reset)
	r.version, r.highest = version, version
	r.report(nil)
}
