package service

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// fileAccounts are those of kubeconfigs and of the settings file.
func fileAccounts(c *config.Config, log *slog.Logger) (*account.Registry, *account.Kubeconfig, error) {
	registry := account.NewRegistry(account.SourceKubeconfig, account.SourceProviders)
	kubeconfig := account.NewKubeconfig(c.Kubernetes, registry, log)
	if err := kubeconfig.Load(); err != nil {
		// One broken entry must not take the others down, but a start without
		// any account would only hide the mistake.
		if all, _ := registry.List(); len(all) == 0 {
			return nil, nil, fmt.Errorf("no account can be used: %w", err)
		}
		log.Error("some accounts cannot be used", "error", err)
	}
	return registry, kubeconfig, nil
}

// storedAccounts are those of the provider API.
func storedAccounts(ctx context.Context, c *config.Config, db *store.Store, registry *account.Registry, log *slog.Logger) (*account.Providers, error) {
	providers, err := account.NewProviders(db, registry, account.NewArcade(c.Services.Arcade), c.Accounts, c.Database.PollEvery, log)
	if err != nil {
		return nil, err
	}
	providers.ManagedBySuffix = c.Kubernetes.V2.ManagedBySuffix
	if err := providers.Load(ctx); err != nil {
		return nil, fmt.Errorf("read the providers: %w", err)
	}
	return providers, nil
}

// Accounts are the accounts that a service of these settings would have, for
// those who look at them without serving. The database is only read; without it
// (db is nil) the accounts of the files are there.
func Accounts(ctx context.Context, c *config.Config, db *store.Store, log *slog.Logger) ([]*account.Account, error) {
	registry, _, err := fileAccounts(c, log)
	if err != nil {
		return nil, err
	}
	if db != nil {
		if _, err := storedAccounts(ctx, c, db, registry, log); err != nil {
			return nil, err
		}
	}
	all, _ := registry.List()
	return all, nil
}
