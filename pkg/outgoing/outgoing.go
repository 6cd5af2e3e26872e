// Package outgoing makes the HTTP clients of this service.
package outgoing

import (
	"net/http"
	"time"
)

// Client makes a client that follows no redirect: what we send along, be it a
// token, a key or who asks, is for the server that was named, and what another
// one answers is not its answer. within is the deadline of a whole call, 0 where
// its context has one.
func Client(transport http.RoundTripper, within time.Duration) *http.Client {
	return &http.Client{
		Transport: transport, Timeout: within,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
