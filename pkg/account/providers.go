package account

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"k8s.io/client-go/rest"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// SourceProviders is the Providers source's name in the registry.
const SourceProviders = "providers"

// Token providers that are not Arcade's.
const (
	// StaticToken uses the provider's own bearer token.
	StaticToken = "static"
	// InCluster uses our own service account, for the cluster that we run in.
	InCluster = "in-cluster"
)

// Database is what Providers need of a store.Store.
type Database interface {
	Providers(ctx context.Context) ([]store.Provider, error)
	Provider(ctx context.Context, name string) (store.Provider, error)
	CreateProvider(ctx context.Context, p store.Provider) error
	PutProvider(ctx context.Context, p store.Provider) error
	DeleteProvider(ctx context.Context, name string) error
	SealToken(ctx context.Context, before store.Provider, sealed store.Sealed) error
	ProvidersVersion(ctx context.Context) (string, error)
}

// Providers is the source of accounts that are kept in the database and
// changed through the provider API. Every replica of a database follows it.
type Providers struct {
	// ManagedBySuffix is kubernetes.v2.managedBySuffix, and Cache kubernetes.cache;
	// set them before Load.
	ManagedBySuffix string
	Cache           config.KubernetesCache

	db       Database
	registry *Registry
	arcade   *Arcade
	fence    *Fence
	keys     *Keyring
	settings config.Accounts
	log      *slog.Logger

	follower
	last []store.Provider // guarded by the follower's lock
}

// Fence is what keeps accounts from where they must not lead.
func (p *Providers) Fence() *Fence { return p.fence }

// Keys seal what is kept in the database.
func (p *Providers) Keys() *Keyring { return p.keys }

// NewProviders makes the source. The error is a key that cannot be used.
func NewProviders(db Database, registry *Registry, arcade *Arcade, settings config.Accounts, poll time.Duration, log *slog.Logger) (*Providers, error) {
	text := settings.TokenKeys
	if settings.TokenKeysFile != "" {
		content, err := os.ReadFile(settings.TokenKeysFile)
		if err != nil {
			return nil, fmt.Errorf("accounts.tokenKeysFile: %w", err)
		}
		text = string(content)
	}
	keys, err := NewKeyring(text)
	if err != nil {
		return nil, fmt.Errorf("accounts.tokenKeys: %w", err)
	}
	fence, err := NewFence(settings)
	if err != nil {
		return nil, err
	}
	p := &Providers{db: db, registry: registry, arcade: arcade, fence: fence, keys: keys, settings: settings, log: log}
	p.follower = follower{asked: db.ProvidersVersion, read: p.read, poll: poll, log: log}
	return p, nil
}

func (p *Providers) read(ctx context.Context) error {
	all, err := p.db.Providers(ctx)
	if err != nil {
		return err
	}
	p.last = all
	accounts := make([]*Account, 0, len(all))
	for _, stored := range all {
		accounts = append(accounts, p.account(stored))
	}
	p.registry.Replace(SourceProviders, accounts)
	return nil
}

// Run seals what is not sealed, and follows the database until the context is over.
func (p *Providers) Run(ctx context.Context) error {
	p.seal(ctx)
	return p.follower.Run(ctx)
}

// seal brings every stored token under the current key.
func (p *Providers) seal(ctx context.Context) {
	p.mu.Lock()
	all := slices.Clone(p.last)
	p.mu.Unlock()
	plain := 0
	for _, stored := range all {
		token := stored.BearerToken
		switch {
		case token == "" && (stored.Sealed.Text == "" || p.keys.Current(stored.Sealed)):
			continue
		case p.keys.Empty():
			plain++
			continue
		}
		var err error
		if token == "" {
			token, err = p.keys.Open(ForToken, stored.Sealed, bondOf(stored)...)
		}
		var sealed store.Sealed
		if err == nil {
			sealed, err = p.keys.Seal(ForToken, token, bondOf(stored)...)
		}
		if err == nil {
			err = p.db.SealToken(ctx, stored, sealed)
		}
		if err != nil {
			p.log.Error("a token stays under its old key", "account", stored.Name, "error", err)
		}
	}
	if plain > 0 {
		p.log.Warn("bearer tokens in the database are not sealed: set accounts.tokenKeys", "accounts", plain)
	}
}

// bondOf is what a provider's token is bound to: whoever can write to the
// database must not have it sent to another server.
func bondOf(stored store.Provider) []string {
	return []string{stored.Name, stored.Host, stored.CAData}
}

// account makes an account of a provider. One that cannot be used is there
// all the same, with the reason.
func (p *Providers) account(stored store.Provider) *Account {
	a := &Account{
		FromProviders: true,
		Name:          stored.Name, Environment: stored.Name, AccountType: stored.Name, CacheThreads: 1,
		Namespaces: stored.Namespaces, DeriveNames: p.settings.WatchAll, Metrics: true, Held: heldOf(p.Cache),
		Permissions: NormalRoles(map[string][]string{"READ": stored.ReadGroups, "WRITE": stored.WriteGroups}),
		Credential:  "arcade:" + stored.TokenProvider,
		REST:        &rest.Config{Host: stored.Host},
	}
	if !p.settings.WatchAll {
		a.LabelSelector = spinnaker.ManagedSelectorFor(p.ManagedBySuffix)
	}
	if stored.TokenProvider != InCluster { // which has no host of its own
		if a.Invalid = p.fenced(stored); a.Invalid != nil {
			return a
		}
		p.fence.Guard(a.REST)
	}
	if n := len(stored.Namespaces); n > p.settings.MaxNamespaces {
		a.Invalid = tooMany(n, p.settings.MaxNamespaces)
		return a
	}
	ca, err := base64.StdEncoding.DecodeString(stored.CAData)
	if err != nil {
		a.Invalid = fmt.Errorf("caData: %w", err)
		return a
	}
	if len(ca) > 0 && !x509.NewCertPool().AppendCertsFromPEM(ca) {
		a.Invalid = errors.New("caData: holds no PEM certificate")
		return a
	}
	a.REST.CAData = ca
	switch stored.TokenProvider {
	case InCluster:
		if !p.settings.AllowInCluster {
			a.Invalid = errors.New("tokenProvider in-cluster is not allowed: set accounts.allowInCluster")
			return a
		}
		// Host and authorities are the cluster's own, too: our token must not
		// go elsewhere.
		if a.REST, err = rest.InClusterConfig(); err != nil {
			a.REST, a.Invalid = &rest.Config{}, fmt.Errorf("tokenProvider in-cluster: %w", err)
		}
		a.Credential = InCluster
	case StaticToken:
		token := stored.BearerToken
		if stored.Sealed.Text != "" {
			token, err = p.keys.Open(ForToken, stored.Sealed, bondOf(stored)...)
		}
		if err == nil && token == "" {
			err = errors.New("tokenProvider static: there is no bearerToken")
		}
		a.Invalid, a.REST.BearerToken = err, token
		sum := sha256.Sum256([]byte(token))
		a.Credential = StaticToken + ":" + hex.EncodeToString(sum[:])
	default:
		provider := stored.TokenProvider
		a.REST.WrapTransport = func(next http.RoundTripper) http.RoundTripper {
			return &tokenTransport{next: next, token: func(ctx context.Context, rejected string) (string, error) {
				token, err := p.arcade.Token(ctx, provider, rejected)
				if err != nil {
					return "", fmt.Errorf("token from Arcade for provider %s: %w", provider, err)
				}
				return token, nil
			}}
		}
	}
	return a
}

// fenced says why a provider's host cannot be used.
func (p *Providers) fenced(stored store.Provider) error {
	if err := p.fence.Check(stored.Host); err != nil {
		return fmt.Errorf("host: %w", err)
	}
	if stored.TokenProvider == StaticToken {
		return nil
	}
	if err := p.fence.Token(cmp.Or(stored.TokenProvider, store.DefaultTokenProvider), stored.Host); err != nil {
		return fmt.Errorf("host: %w", err)
	}
	return nil
}

func tooMany(n, most int) error {
	return fmt.Errorf("namespaces: %d are more than %d (accounts.maxNamespaces), and each is watched by itself; leave them out to watch the whole cluster", n, most)
}

// InvalidError is what is wrong with a provider that was sent to us.
type InvalidError string

func (e InvalidError) Error() string { return string(e) }

// The sizes of the older rewrite's columns, in characters; the CA's in bytes.
const (
	maxName, maxHost, maxToken, maxTokenProvider = 256, 256, 2048, 128
	maxNamespace, maxGroup, maxCA                = 253, 256, 65535
	// maxGroups is ours: as many roles as anybody gives an account.
	maxGroups = 1000
)

// Check says what is wrong with a provider; the texts are those of the older
// rewrite (accounts.md 3.3) where it has the check. It asks Arcade for a token,
// and no cluster.
func (p *Providers) Check(ctx context.Context, stored store.Provider) error {
	if _, err := base64.StdEncoding.DecodeString(stored.CAData); err != nil {
		return InvalidError("error decoding base64 CA data: " + err.Error())
	}
	if strings.TrimSpace(stored.Name) == "" {
		return InvalidError("name: must not be empty")
	}
	for _, f := range []struct {
		field string
		texts []string
		most  int
	}{
		{"name", []string{stored.Name}, maxName}, {"host", []string{stored.Host}, maxHost}, {"bearerToken", []string{stored.BearerToken}, maxToken},
		{"tokenProvider", []string{stored.TokenProvider}, maxTokenProvider}, {"namespaces", stored.Namespaces, maxNamespace},
		{"permissions.read", stored.ReadGroups, maxGroup}, {"permissions.write", stored.WriteGroups, maxGroup},
	} {
		for _, text := range f.texts {
			if n := utf8.RuneCountInString(text); n > f.most {
				return InvalidError(fmt.Sprintf("%s: %d characters are more than %d", f.field, n, f.most))
			}
			if strings.ContainsRune(text, 0) || !utf8.ValidString(text) {
				return InvalidError(f.field + ": holds a character that cannot be stored")
			}
		}
	}
	if n := len(stored.Namespaces); n > p.settings.MaxNamespaces {
		return InvalidError(tooMany(n, p.settings.MaxNamespaces).Error())
	}
	for field, groups := range map[string][]string{"permissions.read": stored.ReadGroups, "permissions.write": stored.WriteGroups} {
		if len(groups) > maxGroups {
			return InvalidError(fmt.Sprintf("%s: %d groups are more than %d", field, len(groups), maxGroups))
		}
	}
	if stored.TokenProvider != InCluster && stored.Host != "" { // one without a host leads nowhere
		if err := p.fenced(stored); err != nil {
			return InvalidError(err.Error())
		}
	}
	if len(stored.CAData) > maxCA {
		return InvalidError(fmt.Sprintf("caData: %d bytes are more than %d", len(stored.CAData), maxCA))
	}
	if err := p.checkToken(ctx, stored); err != nil {
		return err
	}
	for _, w := range stored.WriteGroups {
		if !slices.ContainsFunc(stored.ReadGroups, func(r string) bool { return strings.EqualFold(r, w) }) {
			return InvalidError("error in permissions: write group '" + w + "' must be included as a read group")
		}
	}
	return nil
}

func (p *Providers) checkToken(ctx context.Context, stored store.Provider) error {
	if stored.BearerToken != "" && p.keys.Empty() && p.settings.RequireSealed {
		return InvalidError("bearerToken: no key to seal it with is configured (accounts.tokenKeys), and accounts.requireSealedTokens demands one")
	}
	switch stored.TokenProvider {
	case StaticToken:
		if stored.BearerToken == "" {
			return InvalidError("bearerToken: must be given for tokenProvider static")
		}
	case InCluster:
		if !p.settings.AllowInCluster {
			return InvalidError("tokenProvider: in-cluster is not allowed; set accounts.allowInCluster")
		}
	default:
		if !p.arcade.Configured() {
			p.log.Warn("a provider is accepted without a token for it: no Arcade is configured", "account", stored.Name)
			return nil
		}
		if _, err := p.arcade.Fetch(ctx, stored.TokenProvider); err != nil {
			return InvalidError("error getting token: " + err.Error())
		}
	}
	return nil
}

// List returns the providers. While the database is away, the last known.
func (p *Providers) List(ctx context.Context) ([]store.Provider, error) {
	all, err := p.db.Providers(ctx)
	if errors.Is(err, store.ErrUnavailable) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.version != "" {
			return p.last, nil
		}
	}
	return all, err
}

// Get finds one as List does; store.ErrNotFound.
func (p *Providers) Get(ctx context.Context, name string) (store.Provider, error) {
	found, err := p.db.Provider(ctx, name)
	if !errors.Is(err, store.ErrUnavailable) {
		return found, err
	}
	all, err := p.List(ctx)
	if err != nil {
		return store.Provider{}, err
	}
	i, ok := slices.BinarySearchFunc(all, name, func(p store.Provider, name string) int { return cmp.Compare(p.Name, name) })
	if !ok {
		return store.Provider{}, store.ErrNotFound
	}
	return all[i], nil
}

// Create adds a provider that has been checked; store.ErrExists. When it
// returns, the account is in the registry.
func (p *Providers) Create(ctx context.Context, stored store.Provider) error {
	return p.write(ctx, stored, p.db.CreateProvider)
}

// Put adds or replaces one that has been checked.
func (p *Providers) Put(ctx context.Context, stored store.Provider) error {
	return p.write(ctx, stored, p.db.PutProvider)
}

func (p *Providers) write(ctx context.Context, stored store.Provider, do func(context.Context, store.Provider) error) error {
	if stored.BearerToken != "" && !p.keys.Empty() {
		sealed, err := p.keys.Seal(ForToken, stored.BearerToken, bondOf(stored)...)
		if err != nil {
			return fmt.Errorf("seal the bearer token: %w", err)
		}
		stored.BearerToken, stored.Sealed = "", sealed
	}
	if err := do(ctx, stored); err != nil {
		return err
	}
	p.written(ctx)
	return nil
}

// Delete removes one; store.ErrNotFound.
func (p *Providers) Delete(ctx context.Context, name string) error {
	if err := p.db.DeleteProvider(ctx, name); err != nil {
		return err
	}
	p.written(ctx)
	return nil
}
