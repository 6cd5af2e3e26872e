package watch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
)

func undecodable(err error) error {
	return &cluster.Error{Reason: cluster.Unavailable, Err: fmt.Errorf("decode an event: %w", err)}
}

// errStuck is the cause of a watch that was given up for its silence.
var errStuck = errors.New("the server said nothing")

// follower reads a watch's frames and gives it up when nothing comes.
type follower struct {
	body    io.ReadCloser
	frames  frameReader
	began   time.Time
	lasting time.Duration // as it was agreed
	// behind says that what it began with took long: what has happened meanwhile is
	// on its way.
	behind bool
}

// newFollower follows a watch that was asked for at a time: a server counts from there.
func newFollower(body io.ReadCloser, asked time.Time, lasting time.Duration) *follower {
	return &follower{body: body, began: asked, lasting: lasting}
}

// close ends the watch.
func (f *follower) close() {
	f.frames.end()
	_ = f.body.Close()
}

// each reads frames until the stream ends, which nil says if it was not before
// the time that was agreed. What handle has ended may be gone on with: from is what
// reads the body this time.
func (f *follower) each(from io.Reader, s *silence, handle func(frame) error) error {
	defer s.timer.Stop()
	f.frames.r = from
	for {
		fr, err := f.frames.next()
		if errors.Is(err, io.EOF) {
			return endOf(time.Since(f.began), f.lasting)
		}
		if err != nil {
			return &cluster.Error{Reason: cluster.Unavailable, Err: fmt.Errorf("read the watch: %w", err)}
		}
		s.timer.Reset(s.within)
		if err := handle(fr); err != nil {
			return err
		}
	}
}

// silence gives a watch up when nothing comes for too long.
type silence struct {
	within time.Duration
	cancel context.CancelCauseFunc
	// hold is a list's slot: while the list waits for it, nothing can come.
	hold  *hold
	timer *time.Timer
}

func newSilence(within time.Duration, cancel context.CancelCauseFunc, hold *hold) *silence {
	s := &silence{within: within, cancel: cancel, hold: hold}
	s.timer = time.AfterFunc(time.Hour, s.over) // it may not end before it is known here
	s.timer.Reset(within)
	return s
}

func (s *silence) over() {
	if s.hold != nil && s.hold.waits() {
		s.timer.Reset(s.within)
		return
	}
	s.cancel(&cluster.Error{Reason: cluster.Unavailable, Err: fmt.Errorf("%w for %s", errStuck, s.within)})
}

// endOf is what it means that a server has ended a watch.
func endOf(after, agreed time.Duration) error {
	const leeway = 10 * time.Second
	switch {
	case after < shortest:
		return &cluster.Error{Reason: cluster.Unavailable, Err: fmt.Errorf("the server ended the watch after %s", after.Round(time.Millisecond))}
	case after < agreed-leeway:
		return &cluster.Error{Reason: cluster.Unavailable, Err: fmt.Errorf("%w after %s", errEarly, after.Round(time.Second))}
	}
	return nil
}

// silenceOf is how long nothing may come on a watch.
func (r *Reflector) silenceOf(body any) time.Duration {
	if line, ok := body.(lively); ok {
		if _, pinged := line.Heard(); !pinged {
			return min(r.timing.StuckAfter, unpingedLife)
		}
	}
	return r.timing.StuckAfter
}

const (
	// settleFor is how long nothing comes when what was missed has been sent.
	settleFor = 2 * time.Second
	// settleAfterList is that of a watch which is open already.
	settleAfterList = 500 * time.Millisecond
)

// catchingUp is the time in which a watch brings what was missed while it was
// away: as long as that comes, the stream proves nothing.
type catchingUp struct {
	r      *Reflector
	ctx    context.Context
	cancel context.CancelCauseFunc // ends the watch
	body   any
	began  time.Time

	mu     sync.Mutex
	ahead  string // the version to reach, "" where nobody has asked for it
	settle time.Duration
	quiet  *time.Timer
	over   bool
}

// catchUp makes the stream live when its watch has reached a version, or sends
// nothing more for a moment; at once where nothing was missed.
func (r *Reflector) catchUp(ctx context.Context, cancel context.CancelCauseFunc, f *follower, ahead string) *catchingUp {
	c := &catchingUp{r: r, ctx: ctx, cancel: cancel, body: f.body, began: time.Now(), ahead: ahead, settle: settleFor}
	if ahead == "" {
		c.settle = settleAfterList
	}
	c.mu.Lock()
	c.quiet = time.AfterFunc(c.settle, c.settled)
	c.mu.Unlock()
	if version, _ := r.at(); ahead == "" && !f.behind || ahead != "" && !older(version, ahead) {
		c.through()
	}
	return c
}

// settled ends it when nothing has come for a moment. After a list that is only so when
// nothing has come for other streams, either: what is missing may stand behind that. A
// connection that is never silent for as long is no proof, and the cluster is asked.
func (c *catchingUp) settled() {
	c.mu.Lock()
	unknown, settle, over := c.ahead == "", c.settle, c.over
	c.mu.Unlock()
	line, ok := c.body.(lively)
	if over || !unknown || !ok {
		c.through()
		return
	}
	at, pinged := line.Heard()
	silent := time.Since(at)
	switch {
	case !pinged || silent >= settle:
		c.through()
	case time.Since(c.began) < settleFor:
		c.wait(settle - silent)
	default:
		if err := c.ask(); err != nil {
			c.cancel(err)
		}
	}
}

// wait looks again after a while.
func (c *catchingUp) wait(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.quiet.Reset(d)
	}
}

// ask asks the cluster how far it is.
func (c *catchingUp) ask() error {
	ahead, err := c.r.present(c.ctx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.ahead, c.settle = ahead, settleFor
	c.mu.Unlock()
	if version, _ := c.r.at(); !older(version, ahead) {
		c.through()
		return nil
	}
	c.wait(settleFor)
	return nil
}

func (c *catchingUp) through() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.quiet.Stop()
	if !c.over {
		c.over = true
		c.r.stream.live(c.body)
	}
}

// hears takes note of what comes: it is not silence while that is taken in.
func (c *catchingUp) hears() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.quiet.Stop()
}

// heard takes note of what has been taken in. Where it is not known how much more there
// is, the cluster is asked.
func (c *catchingUp) heard() error {
	c.mu.Lock()
	ahead, settle, over := c.ahead, c.settle, c.over
	c.mu.Unlock()
	switch version, _ := c.r.at(); {
	case over:
	case ahead == "":
		return c.ask()
	case older(version, ahead):
		c.wait(settle)
	default:
		c.through()
	}
	return nil
}

// stop ends it with its watch.
func (c *catchingUp) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	c.quiet.Stop()
}
