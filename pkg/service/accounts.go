package service

import (
	"context"
	"fmt"
	"log/slog"

	"k8s.io/client-go/rest"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/registry"
	"github.com/datapunchorg/go-clouddriver/pkg/secret"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// fileAccounts are those of kubeconfigs and of the settings file.
func fileAccounts(c *config.Config, log *slog.Logger) (*account.Registry, *account.Kubeconfig, error) {
	clusters := account.NewRegistry(account.SourceDefinitions, account.SourceKubeconfig, account.SourceProviders)
	kubeconfig := account.NewKubeconfig(c.Kubernetes, clusters, log)
	if err := kubeconfig.Load(); err != nil {
		// One broken entry must not take the others down, but a start without
		// any account would only hide the mistake.
		if all, _ := clusters.List(); len(all) == 0 {
			return nil, nil, fmt.Errorf("no account can be used: %w", err)
		}
		log.Error("some accounts cannot be used", "error", err)
	}
	return clusters, kubeconfig, nil
}

// storedAccounts are those of the provider API.
func storedAccounts(ctx context.Context, c *config.Config, db *store.Store, clusters *account.Registry, log *slog.Logger) (*account.Providers, error) {
	providers, err := account.NewProviders(db, clusters, account.NewArcade(c.Services.Arcade), c.Accounts, c.Database.PollEvery, log)
	if err != nil {
		return nil, err
	}
	providers.ManagedBySuffix, providers.Cache = c.Kubernetes.V2.ManagedBySuffix, c.Kubernetes.Cache
	if err := providers.Load(ctx); err != nil {
		return nil, fmt.Errorf("read the providers: %w", err)
	}
	return providers, nil
}

// definedAccounts are those that /credentials manages, nil where they are switched
// off.
func definedAccounts(ctx context.Context, c *config.Config, db *store.Store, clusters *account.Registry, kubeconfig *account.Kubeconfig, fence *account.Fence, registries *registry.Accounts, log *slog.Logger) (*account.Definitions, error) {
	s := c.Definitions.Storage
	if !s.Enabled || !s.Kubernetes.Enabled {
		return nil, nil //nolint:nilnil // there are none
	}
	resolve := secret.OfDefinitions(rest.InClusterConfig).Resolve
	definitions := account.NewDefinitions(db, clusters, kubeconfig.FromEntry, resolve, fence, account.Trust{Plugins: s.Plugins, InCluster: c.Accounts.AllowInCluster}, c.Database.PollEvery, log)
	if c.Registries.Enabled && s.Registries.Enabled {
		definitions.Also(registry.KindDockerRegistry, &registry.Definitions{Accounts: registries, Fence: fence, Resolve: resolve, Plugins: s.Plugins})
	}
	if err := definitions.Load(ctx); err != nil {
		return nil, fmt.Errorf("read the account definitions: %w", err)
	}
	return definitions, nil
}

// Accounts are the accounts that a service of these settings would have, for
// those who look at them without serving. The database is only read; without it
// (db is nil) the accounts of the files are there.
func Accounts(ctx context.Context, c *config.Config, db *store.Store, log *slog.Logger) ([]*account.Account, error) {
	clusters, kubeconfig, err := fileAccounts(c, log)
	if err != nil {
		return nil, err
	}
	if db != nil {
		providers, err := storedAccounts(ctx, c, db, clusters, log)
		if err != nil {
			return nil, err
		}
		if _, err := definedAccounts(ctx, c, db, clusters, kubeconfig, providers.Fence(), registry.NewAccounts(log), log); err != nil {
			return nil, err
		}
	}
	all, _ := clusters.List()
	return all, nil
}
