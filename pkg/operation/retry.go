package operation

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

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

// heldBy says whether it is the object itself that holds what its successor is
// refused, so that this is free once it is gone.
func heldBy(err error, live *unstructured.Unstructured) bool {
	text := err.Error()
	if _, quota, ok := strings.Cut(text, "exceeded quota: "); ok {
		return fits(quota)
	}
	if !strings.Contains(text, "already allocated") {
		return false
	}
	spec := mapAt(live.Object, "spec")
	var own []string
	if ip, ok := spec["clusterIP"].(string); ok && ip != "" && ip != "None" {
		own = append(own, ip)
	}
	for _, port := range mapsAt(spec, "ports") {
		if n, ok := port["nodePort"].(int64); ok {
			own = append(own, strconv.FormatInt(n, 10))
		}
	}
	return slices.ContainsFunc(own, func(one string) bool { return strings.Contains(text, one) })
}

// fits says whether what is asked of a quota is within it, if nothing else were
// (kubernetes/apiserver, pkg/admission/plugin/resourcequota/controller.go: "q,
// requested: a=1,b=2, used: a=1,b=2, limited: a=1,b=2").
func fits(quota string) bool {
	_, requested, ok := strings.Cut(quota, "requested: ")
	requested, _, found := strings.Cut(requested, ", used: ")
	_, limited, also := strings.Cut(quota, "limited: ")
	if !ok || !found || !also {
		return false
	}
	limits := quantities(limited)
	for name, asked := range quantities(requested) {
		if limit, ok := limits[name]; !ok || asked.Cmp(limit) > 0 {
			return false
		}
	}
	return true
}

func quantities(text string) map[string]resource.Quantity {
	out := map[string]resource.Quantity{}
	for part := range strings.SplitSeq(text, ",") {
		name, amount, _ := strings.Cut(strings.TrimSpace(part), "=")
		if q, err := resource.ParseQuantity(strings.TrimSpace(amount)); err == nil {
			out[name] = q
		}
	}
	return out
}

func pauseFor(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
