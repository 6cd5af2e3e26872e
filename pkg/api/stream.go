package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
)

const (
	// streamWrite is how long a client may take to accept what it is sent.
	streamWrite = 10 * time.Second
	// streamBeat keeps proxies from taking a quiet stream for a dead one.
	streamBeat = 15 * time.Second
	// streamBatch is how many changes are sent at once.
	streamBatch = 256
)

// stream sends the changes of an application as they happen, as server-sent
// events. A client that comes back with the id of the last event that it has
// seen is sent what came after; one that is too far behind is told so and has
// to load the lists again.
func (s *Server) stream(r *request) (reply, error) {
	return reply{open: func(w http.ResponseWriter) { s.streamTo(w, r) }}, nil
}

func (s *Server) streamTo(w http.ResponseWriter, r *request) {
	application := r.path["application"]
	feed := s.Index.Follow(application)
	defer feed.Unfollow()
	out := &eventWriter{w: w, to: http.NewResponseController(w), epoch: feed.Epoch}
	header := w.Header()
	r.markStale(header, nil)
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no") // nginx would hold events back
	at := feed.Last()
	if seen := r.Header.Get("Last-Event-Id"); seen == "" {
		out.event(at, "ready", []byte("{}"))
	} else if last, ok := resumed(seen, feed); ok {
		at = last
	} else {
		out.event(at, "reset", []byte(`{"reason":"the events after the last one that was seen are not kept any more: load the lists again"}`))
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	stopped := make(chan struct{})
	go func() {
		select {
		case <-s.Ending:
			close(stopped)
			cancel()
		case <-ctx.Done():
		}
	}()
	stale := header.Get(StaleHeader)
	for out.flush() == nil {
		changed := s.Fleet.Changed()
		caller, err := s.callerAgain(ctx, r)
		if err != nil {
			out.event(at, "closing", []byte(`{"reason":"what you may see has changed: connect again"}`))
			_ = out.flush() // it goes in any case
			return
		}
		r.caller = caller
		if now := s.staleNow(r); now != stale {
			stale = now
			out.event(at, "stale", view.Encode(map[string]string{"accounts": stale}))
			continue
		}
		beat, done := context.WithTimeout(ctx, streamBeat)
		changes, err := feed.Next(beat, at, streamBatch, changed)
		done()
		select {
		case <-stopped:
			out.event(at, "closing", []byte(`{"reason":"the service stops: connect again"}`))
			_ = out.flush() // it goes in any case
			return
		default:
		}
		switch {
		case r.Context().Err() != nil:
			return
		case errors.Is(err, index.ErrBehind):
			s.Log.Info("a stream's client is too slow and is dropped", "application", application, "client", r.RemoteAddr)
			out.event(at, "dropped", []byte(`{"reason":"too slow: events were lost, load the lists again"}`))
			_ = out.flush() // it goes in any case
			return
		case err != nil:
			out.comment()
		}
		for _, c := range changes {
			at = c.Seq
			if !caller.SeesAccount(c.Account) {
				continue
			}
			name := "changed"
			if c.Removed {
				name = "removed"
			}
			out.event(c.Seq, name, c.Rendered(view.Change))
		}
	}
	s.Log.Info("a stream's client does not take what it is sent and is dropped", "application", application, "client", r.RemoteAddr)
}

// staleNow is the header's value for all accounts at this moment.
func (s *Server) staleNow(r *request) string {
	header := http.Header{}
	r.health = s.Fleet.Health()
	r.markStale(header, nil)
	return header.Get(StaleHeader)
}

// resumed is the number of the last event that a client has seen, if what came
// after is still kept.
func resumed(id string, feed *index.Feed) (uint64, bool) {
	epoch, text, _ := strings.Cut(id, "-")
	n, err := strconv.ParseUint(text, 10, 64)
	return n, err == nil && epoch == feed.Epoch && n <= feed.Last()
}

// eventWriter writes server-sent events; its first error ends it.
type eventWriter struct {
	w     http.ResponseWriter
	to    *http.ResponseController
	epoch string
	err   error
}

func (e *eventWriter) write(format string, args ...any) {
	if e.err == nil {
		if e.err = e.to.SetWriteDeadline(time.Now().Add(streamWrite)); e.err == nil {
			_, e.err = fmt.Fprintf(e.w, format, args...)
		}
	}
}

func (e *eventWriter) event(seq uint64, name string, data []byte) {
	e.write("id: %s-%d\nevent: %s\ndata: %s\n\n", e.epoch, seq, name, data)
}

func (e *eventWriter) comment() { e.write(": still here\n\n") }

func (e *eventWriter) flush() error {
	if e.err == nil {
		e.err = e.to.Flush()
		_ = e.to.SetWriteDeadline(time.Time{}) // nothing is being written; HTTP/2 would end the stream by it
	}
	return e.err
}
