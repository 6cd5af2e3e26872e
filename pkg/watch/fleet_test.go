package watch

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
)

// TestAwait_KnowsAccountsBeforeTheyAreWatched has a fleet that has not taken in
// an account yet: nothing may be said of it, least of all that it is empty.
func TestAwait_KnowsAccountsBeforeTheyAreWatched(t *testing.T) {
	registry := account.NewRegistry("test")
	f := NewFleet(registry, nil, Options{ReadsWait: time.Minute, Log: slog.New(slog.DiscardHandler)})
	if h := f.Health(); len(h.Stale) != 0 || !h.Current() {
		t.Errorf("%+v", h)
	}
	registry.Replace("test", []*account.Account{{Name: "new"}})
	ask := map[string]func(context.Context) *Health{
		"all": f.Await, "new": func(ctx context.Context) *Health { return f.AwaitAccount(ctx, "new") },
	}
	for name, await := range ask {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		h := await(ctx)
		cancel()
		if !slices.Equal(h.Stale, []string{"new"}) || h.Unproved("new", Everything) == nil || h.Current() || !h.IsStale("new") {
			t.Errorf("%s: %+v", name, h)
		}
	}
	// Of an account that nobody knows there is nothing to wait for.
	f.AwaitAccount(t.Context(), "nobody")
	// Readers go on when the fleet has taken in what has changed.
	registry.Replace("test", nil)
	waited := make(chan *Health)
	go func() { waited <- f.Await(t.Context()) }()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	if h := <-waited; !h.Current() || len(h.Stale) != 0 {
		t.Errorf("%+v", h)
	}
	// Changes that come while the fleet takes in others are not missed.
	for range 200 {
		registry.Replace("test", nil)
	}
	if h := f.AwaitAccount(t.Context(), "nobody"); !h.Current() && len(h.Stale) != 0 {
		t.Errorf("%+v", h)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
