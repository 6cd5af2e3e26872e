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
	const most = 4
	wait := 250 * time.Millisecond
	for attempt := 1; ; attempt++ {
		if a != nil {
			if err := a.guard(); err != nil {
				var none T
				return none, err
			}
		}
		out, err := call()
		var e *cluster.Error
		if err == nil || attempt == most || !errors.As(err, &e) || (e.Reason != cluster.Unavailable && e.Reason != cluster.Throttled) || ctx.Err() != nil {
			return out, err
		}
		if strings.Contains(e.Error(), "webhook") {
			return out, err // it has had its time-out
		}
		const longest = 10 * time.Second
		if e.RetryAfter > 0 {
			wait = min(time.Duration(e.RetryAfter)*time.Second, longest)
		}
		if pauseFor(ctx, wait) != nil {
			return out, err
		}
		wait *= 2
	}
}

func pauseFor(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
