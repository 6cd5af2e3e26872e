// Package auth finds out what a caller may: it asks Fiat, Spinnaker's
// authorization service, keeps what it says for a moment, and decides. It is
// closed: what cannot be found out is refused.
package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"
	utilcache "k8s.io/apimachinery/pkg/util/cache"

	"github.com/datapunchorg/go-clouddriver/pkg/outgoing"
)

// Options are how Fiat is asked.
type Options struct {
	// URL is Fiat's address; "" for none, then everybody may read everything.
	URL string
	// LegacyFallback lets the accounts that Gate names stand for Fiat's answer
	// while Fiat fails.
	LegacyFallback bool
	// Keep is how long an answer is used, and MostUsers of how many users.
	Keep      time.Duration
	MostUsers int
	// Connect and Read bound one call; FirstWait and Factor are of the pauses
	// between calls that fail, and RetryFor bounds them all together.
	Connect, Read       time.Duration
	FirstWait, RetryFor time.Duration
	Factor              float64
	Log                 *slog.Logger
}

// Authority decides who may what.
type Authority struct {
	Options
	http    *http.Client
	kept    *utilcache.LRUExpireCache // by user: *view, or the error of a moment ago
	asking  singleflight.Group
	calls   chan struct{}
	waiting chan struct{}
}

const (
	// failedFor is how long a user whom Fiat did not answer for is refused
	// without asking again.
	failedFor = 5 * time.Second
	// callsAtOnce is how many calls of Fiat run at once, and waitingAtOnce how
	// many requests may wait for one.
	callsAtOnce   = 64
	waitingAtOnce = 4000
	// answerMost bounds Fiat's answer: all accounts and applications of an
	// administrator.
	answerMost = 64 << 20
	// longestUser is longer than any user's name.
	longestUser = 512
)

// errBusy is returned to those beyond waitingAtOnce.
var errBusy = errors.New("too many requests wait for it")

// New makes an Authority. Nothing is asked yet.
func New(o Options) *Authority {
	transport := &http.Transport{
		DialContext: (&net.Dialer{Timeout: o.Connect}).DialContext, TLSHandshakeTimeout: o.Connect, ResponseHeaderTimeout: o.Read,
		MaxConnsPerHost: callsAtOnce, MaxIdleConnsPerHost: callsAtOnce, IdleConnTimeout: time.Minute,
	}
	return &Authority{
		Options: o, kept: utilcache.NewLRUExpireCache(max(1, o.MostUsers)),
		calls: make(chan struct{}, callsAtOnce), waiting: make(chan struct{}, waitingAtOnce),
		http: outgoing.Client(transport, o.Connect+o.Read),
	}
}

// On says whether there is a Fiat.
func (a *Authority) On() bool { return a.URL != "" }

// Close lets go of idle connections.
func (a *Authority) Close() { a.http.CloseIdleConnections() }

// Caller is who sends a request with such headers. It waits for Fiat within the
// bounds of the options.
func (a *Authority) Caller(ctx context.Context, header http.Header) *Caller {
	if !a.On() {
		return Everybody(header)
	}
	out := &Caller{User: userOf(header)}
	out.view, out.why = a.view(ctx, out.User, header)
	var failed *Unreachable
	if errors.As(out.why, &failed) && a.LegacyFallback {
		out.view, out.why = fallbackView(accountsIn(header.Get(accountsHeader))), nil
	}
	return out
}

// remembered is what is kept of a user.
type remembered struct {
	view *view
	err  error
}

func (a *Authority) view(ctx context.Context, user string, header http.Header) (*view, error) {
	user = strings.ToLower(user)
	// Such names would be another path of Fiat's, or nobody's.
	if user == "." || user == ".." || len(user) > longestUser {
		return nil, ErrUnknownUser
	}
	if found, ok := a.kept.Get(user); ok {
		known, _ := found.(remembered)
		return known.view, known.err
	}
	select {
	case a.waiting <- struct{}{}:
		defer func() { <-a.waiting }()
	default:
		return nil, &Unreachable{errBusy}
	}
	header = Headers(header)
	asked := a.asking.DoChan(user, func() (any, error) {
		if found, ok := a.kept.Get(user); ok { // it came between
			return found, nil
		}
		// Whoever asked first may go; the others still wait.
		v, err := a.ask(context.WithoutCancel(ctx), user, header)
		known := remembered{v, err}
		keep := a.Keep
		if err != nil {
			keep = min(keep, failedFor)
		}
		a.kept.Add(user, known, keep)
		return known, nil
	})
	select {
	case r := <-asked:
		known, _ := r.Val.(remembered)
		return known.view, known.err
	case <-ctx.Done():
		return nil, &Unreachable{ctx.Err()}
	}
}

// Headers are those of a request that go along to other services of Spinnaker, nil
// for none (accounts.md 8.7).
func Headers(header http.Header) http.Header {
	var out http.Header
	for name, values := range header {
		if !strings.HasPrefix(name, "X-Spinnaker-") {
			continue
		}
		if out == nil {
			out = http.Header{}
		}
		out[name] = values
	}
	return out
}

// ask asks Fiat until it answers, or its time is over.
func (a *Authority) ask(ctx context.Context, user string, header http.Header) (*view, error) {
	ctx, cancel := context.WithTimeout(ctx, a.RetryFor+a.Connect+a.Read)
	defer cancel()
	begun, wait := time.Now(), a.FirstWait
	for {
		v, again, err := a.call(ctx, user, header)
		if err == nil || errors.Is(err, ErrUnknownUser) {
			return v, err
		}
		if !again || time.Since(begun)+wait >= a.RetryFor {
			a.Log.Warn("Fiat cannot be asked what a user may: everything is refused", "user", user, "error", err)
			return nil, &Unreachable{err}
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, &Unreachable{ctx.Err()}
		}
		wait = time.Duration(float64(wait) * max(1, a.Factor))
	}
}

// call asks Fiat once; again says whether it may answer better in a moment.
func (a *Authority) call(ctx context.Context, user string, header http.Header) (v *view, again bool, err error) {
	select {
	case a.calls <- struct{}{}:
		defer func() { <-a.calls }()
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(a.URL, "/")+"/authorize/"+url.PathEscape(user), nil)
	if err != nil {
		return nil, false, err
	}
	maps.Copy(req.Header, header)
	// Fiat's own fallbacks go by this one (accounts.md 8.1).
	req.Header.Set("X-Spinnaker-User", user)
	req.Header.Set("Accept", "application/json")
	res, err := a.http.Do(req)
	if err != nil {
		return nil, true, withoutAddress(err)
	}
	defer func() { _ = res.Body.Close() }()
	switch {
	case res.StatusCode == http.StatusNotFound:
		return nil, false, ErrUnknownUser
	case res.StatusCode != http.StatusOK:
		return nil, res.StatusCode >= http.StatusInternalServerError || res.StatusCode == http.StatusTooManyRequests, fmt.Errorf("it answers %s", res.Status)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, answerMost+1))
	if err != nil {
		return nil, true, fmt.Errorf("read its answer: %w", withoutAddress(err))
	}
	if len(body) > answerMost {
		return nil, false, fmt.Errorf("its answer is larger than %d bytes", answerMost)
	}
	v, err = decode(body)
	return v, false, err
}

// withoutAddress is the error without the address that was asked, which has the
// user's name in it: callers are shown it.
func withoutAddress(err error) error {
	var at *url.Error
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
