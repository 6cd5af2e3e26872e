package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/api"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/telemetry"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// service is everything wired together.
type service struct {
	settings   *config.Config
	log        *slog.Logger
	kubeconfig *account.Kubeconfig
	fleet      *watch.Fleet
	cache      *index.Cache
	server     *http.Server
}

func newService(c *config.Config, log *slog.Logger) (*service, error) {
	accounts := account.NewRegistry(account.SourceKubeconfig)
	kubeconfig := account.NewKubeconfig(c.Kubernetes, accounts, log)
	if err := kubeconfig.Load(); err != nil {
		// One broken entry must not take the others down, but a start without
		// any account would only hide the mistake.
		if all, _ := accounts.List(); len(all) == 0 {
			return nil, fmt.Errorf("no account can be used: %w", err)
		}
		log.Error("some accounts cannot be used", "error", err)
	}
	if all, _ := accounts.List(); len(all) == 0 {
		log.Warn("there are no accounts: set KUBECONFIG, or kubernetes.accounts in the settings file")
	}
	cache, err := index.NewCache(c.Cache.Bytes)
	if err != nil {
		return nil, err
	}
	ix := index.New()
	fleet := watch.NewFleet(accounts, ix, watch.Options{
		Client:           cluster.Options{RequestTimeout: c.Watch.RequestTimeout, PingAfter: c.Watch.PingAfter},
		Timing:           watch.Timing{RequestTimeout: c.Watch.RequestTimeout, StuckAfter: c.Watch.StuckAfter},
		StartConcurrency: c.Watch.StartConcurrency,
		Log:              log,
	})
	metrics := telemetry.NewMetrics(telemetry.Source{Accounts: fleet.Status, Objects: ix.Size, Cache: cache.Stats})
	handler := api.New(api.Options{
		Index: ix, Cache: cache, Fleet: fleet, Accounts: accounts,
		Limits: c.Server, Credentials: c.Credentials,
		Metrics: metrics.Handler(), Observe: metrics.Observe, Log: log,
	})
	return &service{
		settings: c, log: log, kubeconfig: kubeconfig, fleet: fleet, cache: cache,
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
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.settings.Server.Listen())
	if err != nil {
		return fmt.Errorf("listen on server.address and server.port: %w", err)
	}
	s.log.Info("serving", "address", listener.Addr().String(), "version", version())
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.kubeconfig.Run(ctx) })
	group.Go(func() error { return s.fleet.Run(ctx) })
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
