package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/api"
	"github.com/datapunchorg/go-clouddriver/pkg/artifact"
	"github.com/datapunchorg/go-clouddriver/pkg/auth"
	"github.com/datapunchorg/go-clouddriver/pkg/budget"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/fallback"
	"github.com/datapunchorg/go-clouddriver/pkg/front50"
	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/ledger"
	"github.com/datapunchorg/go-clouddriver/pkg/operation"
	"github.com/datapunchorg/go-clouddriver/pkg/page"
	"github.com/datapunchorg/go-clouddriver/pkg/registry"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
	"github.com/datapunchorg/go-clouddriver/pkg/task"
	"github.com/datapunchorg/go-clouddriver/pkg/telemetry"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// Options are what is no setting. The zero value but for Log is what ships.
type Options struct {
	Log *slog.Logger
	// Version is the build's.
	Version string
	// Listener is where the API is served; nil for that of the settings.
	Listener net.Listener
	// Started is told of the service once its parts are put together.
	Started func(*Service)
	// WrapTransport sees every request to a cluster, and WrapHandler every one to
	// the API; for tests.
	WrapTransport func(http.RoundTripper) http.RoundTripper
	WrapHandler   func(http.Handler) http.Handler
	// Settings reads the settings anew, so that accounts of the settings file
	// change without a restart; nil for a service whose settings stay.
	Settings func() (*config.Config, error)
	// Replicas follows the record of writes on SQLite, too, for tests that have
	// no MySQL.
	Replicas bool
}

// Service is everything put together.
type Service struct {
	// Accounts, Fleet, Index and Tasks are for those who look at a service from
	// outside, like tests.
	Accounts *account.Registry
	Fleet    *watch.Fleet
	Index    *index.Index
	Tasks    *task.Runner
	Store    *store.Store
	// Handler is the API.
	Handler http.Handler

	settings   *config.Config
	again      func() (*config.Config, error)
	log        *slog.Logger
	kubeconfig *account.Kubeconfig
	providers  *account.Providers
	// definitions are nil where they are switched off.
	definitions *account.Definitions
	artifacts   *artifact.Accounts
	store       *artifact.Store // nil where there is none
	// registries are the accounts of Docker registries, and tagged what those
	// have, nil where the provider is switched off.
	registries *registry.Accounts
	tagged     *registry.Registries
	metrics    *telemetry.Metrics
	figures    *telemetry.Figures
	tracing    *telemetry.Tracing
	ledger     *ledger.Ledger
	follows    bool
	snapshots  *snapshots   // nil where none are kept
	cache      *index.Cache // of answers
	parts      *index.Cache // of what lists are made of
	manifests  *index.Cache
	auth       *auth.Authority
	// closing is closed when the service begins to stop, and ending when event
	// streams have to end.
	closing, ending chan struct{}
}

// New puts the parts together; nothing runs yet. Close undoes it.
func New(ctx context.Context, c *config.Config, o Options) (_ *Service, err error) {
	log := o.Log
	for _, key := range c.Ignored {
		log.Info("a key of the settings file has no effect here", "key", key)
	}
	s := &Service{settings: c, again: o.Settings, log: log, closing: make(chan struct{}), ending: make(chan struct{})}
	if s.Accounts, s.kubeconfig, err = fileAccounts(c, log); err != nil {
		return nil, err
	}
	if s.Store, err = OpenStore(ctx, c, log); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if err := s.Store.Migrate(ctx); err != nil {
		return nil, err
	}
	if s.providers, err = storedAccounts(ctx, c, s.Store, s.Accounts, log); err != nil {
		return nil, err
	}
	s.registries = registry.NewAccounts(log)
	s.registries.Configure(c.Registries.Accounts)
	if s.definitions, err = definedAccounts(ctx, c, s.Store, s.Accounts, s.kubeconfig, s.providers.Fence(), s.registries, log); err != nil {
		return nil, err
	}
	if all, _ := s.Accounts.List(); len(all) == 0 {
		log.Warn("there are no accounts: set KUBECONFIG, or kubernetes.accounts in the settings file, or post one to /v1/kubernetes/providers or /credentials")
	}
	// Manifests are put in with every event, and what lists are made of is ten times as
	// large as they are: each would crowd out what is asked for.
	quarter := cacheBytes(c.Cache.Bytes, debug.SetMemoryLimit(-1)) / 4
	if s.cache, err = index.NewCache(quarter); err != nil {
		return nil, err
	}
	if s.parts, err = index.NewCache(quarter); err != nil {
		return nil, err
	}
	if s.manifests, err = index.NewCache(2 * quarter); err != nil {
		return nil, err
	}
	s.Index = index.New(s.manifests)
	if s.snapshots = s.newSnapshots(c.Snapshots, o.Version); s.snapshots != nil {
		s.Index.Begin(s.snapshots)
	}
	s.figures = telemetry.NewFigures(s.events)
	figures := telemetry.Source{Objects: s.Index.Size, Cache: s.cacheStats, Version: o.Version, Accounts: func() []watch.Status { return s.Fleet.Status() }, Tasks: func() int { return s.Tasks.Load() }}
	memory := budget.New(c.Server.Memory)
	var other api.Fallback
	if c.Fallback.URL != "" {
		f, err := fallback.New(c.Fallback.URL, fallback.Options{Timeout: c.Fallback.Timeout, ListTimeout: c.Fallback.ListTimeout, MaxInFlight: c.Fallback.MaxInFlight, Memory: memory, Log: log})
		if err != nil {
			return nil, fmt.Errorf("fallback.baseUrl: %w", err)
		}
		other, figures.FallbackDown = f, f.Down
	}
	if c.Registries.Enabled {
		s.tagged = registry.New(s.registries, s.Store, processName(), log)
		if err := s.tagged.Load(ctx); err != nil {
			return nil, fmt.Errorf("read what is known of registries: %w", err)
		}
		figures.Registries = s.tagged.Stale
	}
	s.metrics = telemetry.NewMetrics(figures, s.figures)
	if s.tracing, err = newTracing(ctx, c.Tracing, o.Version, log); err != nil {
		return nil, err
	}
	s.Fleet = s.newFleet(c, o)
	live := ledger.NewLive(s.Index, func(name string) (ledger.Cluster, error) { return s.Fleet.Client(name) })
	s.ledger = ledger.New(s.Store, s.Index, live, c.Tasks.FollowEvery, log)
	if s.Tasks, err = s.newTasks(c); err != nil {
		return nil, err
	}
	customKinds, err := customKindsOf(c.Kubernetes.CustomKinds)
	if err != nil {
		return nil, err
	}
	var others api.Ledger
	if s.follows = c.Database.MySQL() || o.Replicas; s.follows { // SQLite has one replica, whose writes are shown as they are made
		others = s.ledger
		if err := s.ledger.Begin(ctx); err != nil {
			return nil, fmt.Errorf("read the record of writes: %w", err)
		}
	}
	s.auth = authorityOf(c.Services.Fiat, log)
	var pages *page.Pages
	if c.Page.Enabled {
		if pages, err = page.New(o.Version); err != nil {
			return nil, err
		}
	}
	var definitions api.Definitions
	if s.definitions != nil {
		definitions = s.definitions
	}
	asked := front50Of(c.Services.Front50)
	if s.artifacts, err = s.artifactsOf(c, asked); err != nil {
		return nil, err
	}
	var tagged api.Registries
	if s.tagged != nil {
		tagged = s.tagged
	}
	if s.store, err = artifact.NewStore(c.ArtifactStore); err != nil {
		return nil, fmt.Errorf("artifactStore: %w", err)
	}
	var artifactStore api.ArtifactStore
	if s.store != nil {
		artifactStore = s.store
	}
	s.Handler, err = api.New(api.Options{
		ArtifactStore: artifactStore, ExpandManifests: c.ArtifactStore.Entities.Expand,
		Registries: tagged,
		Artifacts:  s.artifacts, MaxFetches: c.Artifacts.MaxFetches,
		Definitions: definitions, OpenDefinitions: c.Definitions.Storage.Open,
		Pages: pages, Figures: s.figures.Last, Journal: s.Store,
		Auth: s.auth, Admin: &auth.Door{Token: c.Admin.Token, TokenFile: c.Admin.TokenFile, Clients: c.Admin.Clients},
		Index: s.Index, Cache: s.cache, Parts: s.parts, Fleet: s.Fleet, Accounts: s.Accounts, Providers: s.providers, Resources: s.Store, History: s.Store,
		Tasks: s.Tasks, Clients: api.ClientFunc(s.Fleet.Client), Live: live, Ledger: others,
		Version: o.Version, Down: s.down, Front50: asked, Fallback: other,
		Jobs: api.Jobs{HidePodStatus: !c.Kubernetes.Jobs.DetailedPodStatus, OnCancel: c.Jobs.CancelDeletes}, CustomKinds: customKinds, VerboseRequests: c.Log.VerboseRequests,
		Limits: c.Server, Memory: memory, GiveUpAfter: c.Watch.GiveUpAfter, Credentials: c.Credentials, Closing: s.closing, Ending: s.ending,
		Metrics: s.metrics.Handler(), Observe: s.metrics.Observe, Log: log,
	})
	if err != nil {
		return nil, err
	}
	s.Handler = s.tracing.Handler(s.Handler)
	if o.WrapHandler != nil {
		s.Handler = o.WrapHandler(s.Handler)
	}
	return s, nil
}

// events is how many events came from all clusters.
func (s *Service) events() (n uint64) {
	for _, a := range s.Fleet.Status() {
		for _, k := range a.Kinds {
			n += k.Events
		}
	}
	return n
}

// authorityOf asks Fiat, where there is one.
func authorityOf(c config.Fiat, log *slog.Logger) *auth.Authority {
	o := auth.Options{
		LegacyFallback: c.LegacyFallback, Keep: time.Duration(c.Cache.AfterSeconds) * time.Second, MostUsers: c.Cache.MaxEntries,
		Connect: time.Duration(c.ConnectTimeoutMs) * time.Millisecond, Read: time.Duration(c.ReadTimeoutMs) * time.Millisecond,
		FirstWait: time.Duration(c.Retry.InitialMillis) * time.Millisecond, RetryFor: time.Duration(c.Retry.MaxMillis) * time.Millisecond,
		Factor: c.Retry.Multiplier, Log: log,
	}
	if c.Enabled {
		o.URL = c.URL
	}
	return auth.New(o)
}

func newTracing(ctx context.Context, c config.Tracing, version string, log *slog.Logger) (*telemetry.Tracing, error) {
	if !c.Enabled {
		return &telemetry.Tracing{}, nil
	}
	return telemetry.NewTracing(ctx, c.Endpoint, version, c.Ratio, c.Timeout, log)
}

func (s *Service) newFleet(c *config.Config, o Options) *watch.Fleet {
	client := cluster.Options{RequestTimeout: c.Watch.RequestTimeout, PingAfter: c.Watch.PingAfter}
	client.WrapTransport = func(next http.RoundTripper) http.RoundTripper {
		next = s.tracing.Transport(s.metrics.Transport(next))
		if o.WrapTransport != nil {
			next = o.WrapTransport(next)
		}
		return next
	}
	if c.Kubernetes.UseDiskCache {
		client.CacheDir = c.Kubernetes.DiskCache
	}
	return watch.NewFleet(s.Accounts, s.Index, watch.Options{
		Client:           client,
		Timing:           watch.Timing{RequestTimeout: c.Watch.RequestTimeout, StuckAfter: c.Watch.StuckAfter, MostBytes: c.Watch.MaxListBytes, MostObjects: c.Watch.MaxListObjects, Lag: s.metrics.ObserveLag},
		StartConcurrency: c.Watch.StartConcurrency, StartWithin: c.Watch.StartWithin, ReadsWait: c.Server.NotSyncedDeadline,
		RefreshTimeout: c.Watch.RequestTimeout, Log: o.Log,
	})
}

func (s *Service) newTasks(c *config.Config) (*task.Runner, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("the name of this host, which owns tasks: %w", err)
	}
	keys := s.providers.Keys()
	if keys.Empty() && !c.Database.MySQL() { // replicas of one MySQL would each have another
		if keys, err = account.KeyFile(c.Database.Path + ".key"); err != nil {
			return nil, err
		}
	}
	return task.NewRunner(s.Store, s.Accounts, operation.ClientFunc(s.Fleet.Client), keys, s.ledger, task.Options{
		Host: host, MaxWaiting: c.Tasks.MaxWaiting, MaxBytes: c.Tasks.MaxBytes, PerAccount: c.Tasks.PerAccount, Lease: c.Tasks.Lease,
		Observe: func(operation string, failed bool, took time.Duration) {
			s.metrics.ObserveOperation(operation, failed, took)
		},
		Tracer: s.tracing.Tracer(),
		Drain:  time.Duration(c.Admin.Tasks.ShutdownWaitSeconds) * time.Second, GoneWithin: c.Tasks.DeleteTimeout,
		Operations: operation.Settings{
			ManagedBySuffix: c.Kubernetes.V2.ManagedBySuffix, NoLabels: !c.Kubernetes.V2.ApplyAppLabels, MatchNameOnly: c.Kubernetes.ArtifactBinding.MatchNameOnly(),
			OnCancel: c.Jobs.CancelDeletes,
		},
	}, s.log), nil
}

func customKindsOf(path string) (view.CustomKinds, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path) //nolint:gosec // the operator's own file
	if err != nil {
		return nil, fmt.Errorf("kubernetes.customKinds: %w", err)
	}
	kinds, err := view.ParseCustomKinds(text)
	if err != nil {
		return nil, fmt.Errorf("kubernetes.customKinds: %w", err)
	}
	return kinds, nil
}

// artifactsOf are the artifact accounts. Templates are read as nobody in
// particular, as by Java Clouddriver.
func (s *Service) artifactsOf(c *config.Config, asked api.Front50) (*artifact.Accounts, error) {
	templates, _ := asked.(artifact.Templates)
	return artifact.New(c.Artifacts, c.Jenkins, artifact.Others{Templates: templates, Registries: s.registries}, s.log)
}

func front50Of(c config.Front50) api.Front50 {
	if c.URL == "" {
		return nil
	}
	return front50.New(c.URL, c.Timeout, api.CallerHeaders)
}

// down says why the service cannot do its work. A broken cluster is no reason.
func (s *Service) down(ctx context.Context) error {
	select {
	case <-s.closing:
		return errors.New("shutting down")
	default:
		return s.Store.Check(ctx)
	}
}

// Close gives back what New took.
func (s *Service) Close() {
	for _, cache := range []*index.Cache{s.manifests, s.parts, s.cache} {
		if cache != nil {
			cache.Close()
		}
	}
	if s.auth != nil {
		s.auth.Close()
	}
	if s.store != nil {
		s.store.Close()
	}
	if s.artifacts != nil {
		s.artifacts.Close()
	}
	if s.Store != nil {
		s.Store.Close()
	}
}

// cacheBytes is the budget of all caches: the index needs nearly all of what a
// process may have.
func cacheBytes(wanted, limit int64) int64 {
	const share = 10
	return max(min(wanted, limit/share), 4)
}

// cacheStats are the hits and misses of rendered answers, and the bytes of all
// caches.
func (s *Service) cacheStats() (hits, misses, bytes uint64) {
	hits, misses, bytes = s.cache.Stats()
	_, _, parts := s.parts.Stats()
	_, _, manifests := s.manifests.Stats()
	return hits, misses, bytes + parts + manifests
}
