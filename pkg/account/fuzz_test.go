package account

import (
	"context"
	"log/slog"
	"testing"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

func FuzzKubeconfig(f *testing.F) {
	f.Add(kubeconfigOf("https://api.example", "{token: t}"))
	f.Fuzz(func(t *testing.T, content string) {
		k := NewKubeconfig(config.Kubernetes{}, NewRegistry(SourceKubeconfig), slog.New(slog.DiscardHandler))
		a, err := k.FromEntry(config.Account{Name: "a", KubeconfigContents: content})
		if err == nil && content != "" && a.REST == nil {
			t.Error("an account that leads nowhere")
		}
	})
}

// nothing is a database that nobody asks.
type nothing struct{ Database }

func (nothing) ProvidersVersion(context.Context) (string, error) { return "", nil }

func FuzzProvider(f *testing.F) {
	f.Add("a", "https://api.example", "", "static", "token", "ns")
	f.Fuzz(func(t *testing.T, name, host, ca, provider, token, namespace string) {
		p, err := NewProviders(nothing{}, NewRegistry(SourceProviders), NewArcade(config.Arcade{}), config.Accounts{MaxNamespaces: 10}, 1, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		stored := store.Provider{Name: name, Host: host, CAData: ca, TokenProvider: provider, BearerToken: token, Namespaces: []string{namespace}}
		checked := p.Check(t.Context(), stored)
		a := p.account(stored)
		if checked == nil && a.Invalid == nil && provider != InCluster && p.fence.Check(host) != nil {
			t.Errorf("%q is let through", host)
		}
	})
}
