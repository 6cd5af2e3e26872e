package operation

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
)

// retry repeats what may be repeated: calls that did not reach the server or
// that it could not serve. a is nil for reads.
func retry[T any](ctx context.Context, a *Actor, call func() (T, error)) (T, error) {
	return retryUntil(ctx, a, time.Time{}, call)
}

const (
	retryAttempts = 4
	retryFirst    = 250 * time.Millisecond
	retryLongest  = 10 * time.Second
	// patientLongest is short: what is waited for is an API server that comes
	// back.
	patientLongest = 2 * time.Second
)

// retryUntil repeats at least as often as retry, and until then: between a
// deletion and what is to follow it there is no way back.
func retryUntil[T any](ctx context.Context, a *Actor, until time.Time, call func() (T, error)) (T, error) {
	goingOn, _ := ctx.Value(goingOnKey{}).(time.Time)
	wait := retryFirst
	for attempt := 1; ; attempt++ {
		if a != nil {
			if err := a.guard(); err != nil {
				var none T
				return none, err
			}
		}
		out, err := call()
		awaited := time.Now().Before(until)
		patient := awaited || time.Now().Before(goingOn)
		if err == nil || ctx.Err() != nil || attempt >= retryAttempts && !patient || !passing(err, patient, awaited) {
			return out, err
		}
		var e *cluster.Error
		if errors.As(err, &e) && e.RetryAfter > 0 {
			wait = min(time.Duration(e.RetryAfter)*time.Second, retryLongest)
		}
		if patient {
			wait = min(wait, patientLongest)
		}
		if pauseFor(ctx, wait) != nil {
			return out, err
		}
		wait *= 2
	}
}

type goingOnKey struct{}

// goingOn has all calls be repeated until then: of a step that another process
// may have carried out, it has to be found out whether it did.
func goingOn(ctx context.Context, until time.Time) context.Context {
	return context.WithValue(ctx, goingOnKey{}, until)
}

// passing says whether an error may be gone with the next attempt. A webhook
// that does not answer has had its time-out, unless there is no way back.
// awaited says that another object is going, which may hold what is needed.
func passing(err error, patient, awaited bool) bool {
	var e *cluster.Error
	if !errors.As(err, &e) {
		return false
	}
	if e.Reason == cluster.Unavailable && strings.Contains(e.Error(), "webhook") {
		return patient
	}
	return e.Reason == cluster.Unavailable || e.Reason == cluster.Throttled || awaited && held(err)
}

// held says whether an object that is being deleted still holds what its
// successor needs: its part of a quota, its address, its port.
func held(err error) bool {
	text := err.Error()
	return strings.Contains(text, "exceeded quota") || strings.Contains(text, "already allocated")
}

func pauseFor(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
