package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/uuid"

	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// cleanUp removes old rows of kubernetes_resources, ended tasks and old ledger
// rows, on one replica at a time.
func (s *Service) cleanUp(ctx context.Context) error {
	settings := s.settings.Database.CleanUp
	if settings.Every == 0 {
		return nil
	}
	owner := processName()
	tick := time.NewTicker(settings.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		removed, err := s.cleanOnce(ctx, owner)
		switch {
		case ctx.Err() != nil, errors.Is(err, store.ErrLeaseLost):
		case err != nil:
			s.log.Warn("clean-up of the database stopped; the next one goes on", "removed", removed, "error", err)
		case removed > 0:
			s.log.Info("kubernetes_resources cleaned up", "removed", removed)
		}
	}
}

// processName tells this process apart from other replicas, and from itself after a
// restart.
func processName() string {
	host, _ := os.Hostname() // only for people to read
	return host + " " + uuid.NewString()
}

func (s *Service) cleanOnce(ctx context.Context, owner string) (removed int64, err error) {
	const life = time.Minute
	lease, err := s.Store.Acquire(ctx, "clean-up", owner, life)
	if err != nil {
		return 0, err
	}
	defer func() { _ = lease.Release(context.WithoutCancel(ctx)) }() // it expires otherwise
	renewed := time.Now()
	keep := func(ctx context.Context) error {
		if time.Since(renewed) < life/4 {
			return nil
		}
		renewed = time.Now()
		return lease.Renew(ctx)
	}
	batch := s.settings.Database.CleanUp.Batch
	if _, err := s.Store.CleanTasks(ctx, s.settings.Tasks.KeepFor, s.settings.Tasks.KeepWrites, batch, keep); err != nil {
		return 0, fmt.Errorf("tasks: %w", err)
	}
	err = s.Store.CleanResources(ctx, store.CleanUp{
		OlderThan: s.settings.Database.CleanUp.OlderThan, Batch: batch, Pause: 20 * time.Millisecond,
		Removed: func(rows int64) { removed += rows; s.metrics.CleanedUp(rows) },
	}, keep)
	return removed, err
}
