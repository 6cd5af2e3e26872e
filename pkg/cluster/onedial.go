package cluster

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"sync"
)

// oneDial lets one request find the way to a server that there is no connection to,
// and the others wait for it: net/http dials for each of them, although HTTP/2 takes
// them all on one connection.
type oneDial struct {
	next http.RoundTripper
	// alike says that all requests fail alike, so that the others hear of the first
	// one's error; else each tries for itself.
	alike bool

	mu   sync.Mutex
	open int // connections
	way  *finding
}

// finding is a request that looks for a connection.
type finding struct {
	done chan struct{}
	err  error // set before done is closed
}

// opened and closed take note of connections.
func (d *oneDial) opened() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open++
}

func (d *oneDial) closed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open--
}

func (d *oneDial) RoundTrip(req *http.Request) (*http.Response, error) {
	mine, others := d.begin()
	for others != nil {
		err := wait(req.Context(), others)
		if err != nil && (d.alike || req.Context().Err() != nil) {
			return nil, err
		}
		if err != nil {
			break
		}
		mine, others = d.begin()
	}
	if mine == nil {
		return d.next.RoundTrip(req)
	}
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { d.over(mine, nil) }}
	res, err := d.next.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if req.Context().Err() != nil && err != nil {
		d.over(mine, nil) // it has given up, which says nothing of the server
	} else {
		d.over(mine, err)
	}
	return res, err
}

// begin says whether a request is the first one, or which one to wait for.
func (d *oneDial) begin() (mine, others *finding) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.way != nil:
		return nil, d.way
	case d.open > 0:
		return nil, nil
	}
	d.way = &finding{done: make(chan struct{})}
	return d.way, nil
}

// over ends a finding, which others wait for, at the first word of it.
func (d *oneDial) over(f *finding, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.way != f {
		return
	}
	d.way = nil
	f.err = err
	close(f.done)
}

func wait(ctx context.Context, f *finding) error {
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}
