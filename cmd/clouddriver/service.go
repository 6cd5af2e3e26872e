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

	"golang.org/x/sync/errgroup"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/api"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/fallback"
	"github.com/datapunchorg/go-clouddriver/pkg/front50"
	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/ledger"
	"github.com/datapunchorg/go-clouddriver/pkg/operation"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
	"github.com/datapunchorg/go-clouddriver/pkg/task"
	"github.com/datapunchorg/go-clouddriver/pkg/telemetry"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
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
	ledger     *ledger.Ledger
	tasks      *task.Runner
	cache      *index.Cache
	server     *http.Server
}

func newService(ctx context.Context, c *config.Config, log *slog.Logger) (_ *service, err error) {
	for _, setting := range c.Unused() {
		log.Warn("a setting is not used yet", "setting", setting)
	}
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
	providers.ManagedBySuffix = c.Kubernetes.V2.ManagedBySuffix
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
	ix := index.New(cache)
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
	clients := operation.ClientFunc(fleet.Client)
	writes := ledger.New(db, ix, clients, c.Tasks.FollowEvery, log)
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("the name of this host, which owns tasks: %w", err)
	}
	var metrics *telemetry.Metrics
	tasks := task.NewRunner(db, accounts, clients, providers.Keys(), writes, task.Options{
		Host: host, MaxWaiting: c.Tasks.MaxWaiting, PerAccount: c.Tasks.PerAccount, Lease: c.Tasks.Lease,
		Observe: func(operation string, failed bool, took time.Duration) {
			metrics.ObserveOperation(operation, failed, took)
		},
		Drain: time.Duration(c.Admin.Tasks.ShutdownWaitSeconds) * time.Second, GoneWithin: c.Tasks.DeleteTimeout,
		Operations: operation.Settings{
			ManagedBySuffix: c.Kubernetes.V2.ManagedBySuffix, NoLabels: !c.Kubernetes.V2.ApplyAppLabels, MatchNameOnly: c.Kubernetes.ArtifactBinding.MatchNameOnly(),
		},
	}, log)
	figures := telemetry.Source{Accounts: fleet.Status, Objects: ix.Size, Cache: cache.Stats, Tasks: tasks.Load}
	var other api.Fallback
	if c.Fallback.URL != "" {
		f, err := fallback.New(c.Fallback.URL, fallback.Options{Timeout: c.Fallback.Timeout, ListTimeout: c.Fallback.ListTimeout, MaxInFlight: c.Fallback.MaxInFlight, Log: log})
		if err != nil {
			return nil, fmt.Errorf("fallback.baseUrl: %w", err)
		}
		other, figures.FallbackDown = f, f.Down
	}
	metrics = telemetry.NewMetrics(figures)
	var customKinds view.CustomKinds
	if path := c.Kubernetes.CustomKinds; path != "" {
		text, err := os.ReadFile(path) //nolint:gosec // the operator's own file
		if err == nil {
			customKinds, err = view.ParseCustomKinds(text)
		}
		if err != nil {
			return nil, fmt.Errorf("kubernetes.customKinds: %w", err)
		}
	}
	var others api.Ledger
	if c.Database.MySQL() { // SQLite has one replica, whose writes are shown as they are made
		others = writes
		if err := writes.Begin(ctx); err != nil {
			return nil, fmt.Errorf("read the record of writes: %w", err)
		}
	}
	handler := api.New(api.Options{
		Index: ix, Cache: cache, Fleet: fleet, Accounts: accounts, Providers: providers, Resources: db, History: db, Tasks: tasks, Clients: api.ClientFunc(fleet.Client), Ledger: others,
		Version: version(), Down: down(db, tasks), Front50: front50Of(c.Services.Front50), Fallback: other,
		Jobs: api.Jobs{HidePodStatus: !c.Kubernetes.Jobs.DetailedPodStatus, KeepOnCancel: !c.Jobs.CancelDeletes}, CustomKinds: customKinds, VerboseRequests: c.Log.VerboseRequests,
		Limits: c.Server, Credentials: c.Credentials,
		Metrics: metrics.Handler(), Observe: metrics.Observe, Log: log,
	})
	return &service{
		settings: c, log: log, kubeconfig: kubeconfig, store: db, providers: providers, metrics: metrics, fleet: fleet, ledger: writes, tasks: tasks, cache: cache,
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

// down says why the service cannot do its work. A broken cluster is no reason.
func down(db *store.Store, tasks *task.Runner) func(context.Context) error {
	return func(ctx context.Context) error {
		if tasks.Draining() {
			return errors.New("shutting down")
		}
		return db.Ping(ctx)
	}
}

func front50Of(c config.Front50) api.Front50 {
	if c.URL == "" {
		return nil
	}
	return front50.New(c.URL, c.Timeout, api.CallerHeaders)
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
	// A stop signal ends the taking of tasks. Everything else goes on until
	// those that run are through: they need the clusters, and are polled.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	signaled, quit := context.WithCancel(ctx)
	defer quit()
	group, ctx := errgroup.WithContext(serving)
	defer context.AfterFunc(ctx, quit)()
	group.Go(func() error {
		defer stop()
		return s.tasks.Run(signaled)
	})
	if s.settings.Database.MySQL() {
		group.Go(func() error { return s.ledger.Run(ctx) })
	}
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
