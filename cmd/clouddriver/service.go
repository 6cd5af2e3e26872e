package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/api"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
	"github.com/datapunchorg/go-clouddriver/pkg/telemetry"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// service is everything wired together.
type service struct {
	settings   *config.Config
	log        *slog.Logger
	kubeconfig *account.Kubeconfig
	store      *store.Store
	providers  *account.Providers
	metrics    *telemetry.Metrics
	fleet      *watch.Fleet
	cache      *index.Cache
	server     *http.Server
}

func newService(ctx context.Context, c *config.Config, log *slog.Logger) (_ *service, err error) {
	accounts := account.NewRegistry(account.SourceKubeconfig, account.SourceProviders)
	kubeconfig := account.NewKubeconfig(c.Kubernetes, accounts, log)
	if err := kubeconfig.Load(); err != nil {
		// One broken entry must not take the others down, but a start without
		// any account would only hide the mistake.
		if all, _ := accounts.List(); len(all) == 0 {
			return nil, fmt.Errorf("no account can be used: %w", err)
		}
		log.Error("some accounts cannot be used", "error", err)
	}
	db, err := openStore(ctx, c, log)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			db.Close()
		}
	}()
	if err := db.Migrate(ctx); err != nil {
		return nil, err
	}
	providers, err := account.NewProviders(db, accounts, account.NewArcade(c.Services.Arcade), c.Accounts, c.Database.PollEvery, log)
	if err != nil {
		return nil, err
	}
	if err := providers.Load(ctx); err != nil {
		return nil, fmt.Errorf("read the providers: %w", err)
	}
	if all, _ := accounts.List(); len(all) == 0 {
		log.Warn("there are no accounts: set KUBECONFIG, or kubernetes.accounts in the settings file, or post one to /v1/kubernetes/providers")
	}
	cache, err := index.NewCache(c.Cache.Bytes)
	if err != nil {
		return nil, err
	}
	ix := index.New()
	client := cluster.Options{RequestTimeout: c.Watch.RequestTimeout, PingAfter: c.Watch.PingAfter}
	if c.Kubernetes.UseDiskCache {
		client.CacheDir = c.Kubernetes.DiskCache
	}
	fleet := watch.NewFleet(accounts, ix, watch.Options{
		Client:           client,
		Timing:           watch.Timing{RequestTimeout: c.Watch.RequestTimeout, StuckAfter: c.Watch.StuckAfter},
		StartConcurrency: c.Watch.StartConcurrency,
		Log:              log,
	})
	metrics := telemetry.NewMetrics(telemetry.Source{Accounts: fleet.Status, Objects: ix.Size, Cache: cache.Stats})
	handler := api.New(api.Options{
		Index: ix, Cache: cache, Fleet: fleet, Accounts: accounts, Providers: providers, Resources: db,
		VerboseRequests: c.Log.VerboseRequests,
		Limits:          c.Server, Credentials: c.Credentials,
		Metrics: metrics.Handler(), Observe: metrics.Observe, Log: log,
	})
	return &service{
		settings: c, log: log, kubeconfig: kubeconfig, store: db, providers: providers, metrics: metrics, fleet: fleet, cache: cache,
		server: &http.Server{
			Handler:           handler,
			ReadHeaderTimeout: 10 * time.Second,
			ReadTimeout:       time.Minute,
			WriteTimeout:      time.Minute,
			IdleTimeout:       2 * time.Minute,
			MaxHeaderBytes:    64 << 10,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		},
	}, nil
}

// run serves until the context is over, then lets requests under way finish.
func (s *service) run(ctx context.Context) error {
	defer s.cache.Close()
	defer s.store.Close()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.settings.Server.Listen())
	if err != nil {
		return fmt.Errorf("listen on server.address and server.port: %w", err)
	}
	s.log.Info("serving", "address", listener.Addr().String(), "version", version())
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.kubeconfig.Run(ctx) })
	group.Go(func() error { return s.providers.Run(ctx) })
	group.Go(func() error { return s.fleet.Run(ctx) })
	group.Go(func() error { return s.cleanUp(ctx) })
	group.Go(func() error {
		if err := s.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.settings.Server.ShutdownTimeout)
		defer cancel()
		return s.server.Shutdown(stopping)
	})
	if err := group.Wait(); err != nil {
		return err
	}
	s.log.Info("stopped")
	return nil
}

// cleanUp removes old rows of kubernetes_resources, on one replica at a time.
func (s *service) cleanUp(ctx context.Context) error {
	settings := s.settings.Database.CleanUp
	if settings.Every == 0 {
		return nil
	}
	host, _ := os.Hostname() // only for people to read
	owner := host + " " + uuid.NewString()
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
			s.log.Warn("clean-up of kubernetes_resources stopped; the next one goes on", "removed", removed, "error", err)
		case removed > 0:
			s.log.Info("kubernetes_resources cleaned up", "removed", removed)
		}
	}
}

func (s *service) cleanOnce(ctx context.Context, owner string) (removed int64, err error) {
	const life = time.Minute
	lease, err := s.store.Acquire(ctx, "clean-up", owner, life)
	if err != nil {
		return 0, err
	}
	defer func() { _ = lease.Release(context.WithoutCancel(ctx)) }() // it expires otherwise
	renewed := time.Now()
	err = s.store.CleanResources(ctx, store.CleanUp{
		OlderThan: s.settings.Database.CleanUp.OlderThan, Batch: s.settings.Database.CleanUp.Batch, Pause: 20 * time.Millisecond,
		Removed: func(rows int64) { removed += rows; s.metrics.CleanedUp(rows) },
	}, func(ctx context.Context) error {
		if time.Since(renewed) < life/4 {
			return nil
		}
		renewed = time.Now()
		return lease.Renew(ctx)
	})
	return removed, err
}
