package api

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// Fleet says how the accounts are; watch.Fleet is one.
type Fleet interface {
	Await(ctx context.Context, accounts ...string) *watch.Health
	Settled() <-chan struct{}
	Refresh(ctx context.Context, account string) error
	Status() []watch.Status
}

// Options are what a Server works with.
type Options struct {
	Index    *index.Index
	Cache    *index.Cache
	Fleet    Fleet
	Accounts *account.Registry
	// Providers and Resources serve the provider API.
	Providers Providers
	Resources Resources
	History   History
	// Tasks and Clients are the write side. Ledger is nil where there are no
	// other replicas.
	Tasks   Tasks
	Clients Clients
	Ledger  Ledger
	Limits  config.Server
	// Version is the build's.
	Version string
	// Down says why the service cannot do its work, nil when it can.
	Down func(ctx context.Context) error
	// Front50 knows projects and applications; nil without one.
	Front50 Front50
	// Fallback has the accounts and providers that are not ours; nil without
	// one.
	Fallback Fallback
	// Jobs are the settings of jobs.
	Jobs Jobs
	// CustomKinds are the status rules of the older rewrite's custom kinds.
	CustomKinds view.CustomKinds
	// VerboseRequests logs every request, credentials masked.
	VerboseRequests bool
	// Credentials are the flags of the account list.
	Credentials config.Credentials
	// Metrics serves /metrics; Observe is told of every request.
	Metrics http.Handler
	Observe func(route, method string, status int, took time.Duration)
	Log     *slog.Logger
}

// Jobs are the settings of jobs, with zero values that are the defaults.
type Jobs struct {
	// HidePodStatus leaves pods out of the answer about a job.
	HidePodStatus bool
	// KeepOnCancel refuses to delete jobs that are cancelled.
	KeepOnCancel bool
}

// Server answers the API.
type Server struct {
	Options
	inFlight chan struct{}
	streams  chan struct{}
	// lastParts are parts of lists that the fallback had when it last answered.
	lastParts sync.Map
}

// New makes the handler of all routes.
func New(o Options) http.Handler { return oneSlash(newRouter(o)) }

func newRouter(o Options) chi.Router {
	s := &Server{Options: o, inFlight: make(chan struct{}, o.Limits.MaxInFlight), streams: make(chan struct{}, o.Limits.MaxStreams)}
	r := chi.NewRouter()
	r.Use(s.observe, s.recover)
	if o.VerboseRequests {
		r.Use(s.verbose)
	}
	limits := []func(http.Handler) http.Handler{s.shed, identify}
	if o.Fallback != nil {
		limits = append(limits, s.handOver(r))
	}
	r.NotFound(chi.Chain(limits...).HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, problem{status: http.StatusNotFound, message: "No handler found for " + r.Method + " " + r.URL.Path})
	}).ServeHTTP)
	r.MethodNotAllowed(chi.Chain(limits...).HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, problem{status: http.StatusMethodNotAllowed, message: "Request method '" + r.Method + "' not supported"})
	}).ServeHTTP)
	s.probeRoutes(r)
	r.Get("/openapi.json", s.openAPI)
	r.Method(http.MethodGet, "/metrics", o.Metrics)
	r.Get("/applications/{application}/stream", s.stream) // for as long as it takes
	r.Group(func(r chi.Router) {
		r.Use(limits...)
		s.routes(r)
	})
	return r
}

func (s *Server) routes(r chi.Router) {
	r.Get("/applications", s.applications)
	r.Get("/applications/{application}", s.application)
	r.Get("/applications/{application}/clusters", s.clusterNames)
	r.Get("/applications/{application}/clusters/{account}", s.clusterSummaries)
	r.Route("/applications/{application}/clusters/{account}/{cluster}", func(r chi.Router) {
		r.Get("/", s.clusterArray)
		r.Get("/{type}", s.cluster)
		r.Get("/{type}/serverGroups", s.clusterServerGroups)
		r.Get("/{type}/serverGroups/{name}", s.clusterServerGroup)
		r.Get("/{type}/{scope}/serverGroups/target/{target}", s.target)
		r.Get("/{type}/{scope}/serverGroups/target/{target}/{summary}", s.targetSummary)
	})
	r.Get("/applications/{application}/serverGroups", s.applicationServerGroups)
	r.Get("/applications/{application}/serverGroups/{account}/{region}/{name}", s.serverGroup)
	r.Get("/applications/{application}/serverGroupManagers", s.serverGroupManagers)
	r.Get("/applications/{application}/loadBalancers", s.applicationLoadBalancers)
	r.Get("/serverGroups", s.serverGroups)
	r.Get("/serverGroups/{account}/{region}/{name}", s.serverGroup)
	r.Get("/{provider}/loadBalancers", s.loadBalancers)
	r.Get("/{provider}/loadBalancers/{name}", s.loadBalancersByName)
	r.Get("/{provider}/loadBalancers/{account}/{region}/{name}", s.loadBalancer)
	r.Route("/manifests", s.manifestRoutes)
	r.Route("/instances", s.instanceRoutes)
	s.jobRoutes(r)
	s.securityGroupRoutes(r)
	r.Get("/search", s.search)
	r.Get("/projects/{project}/clusters", s.projectClusters)
	r.Get("/applications/{application}/rawResources", s.rawResources)
	r.Get("/applications/{application}/history", s.history)
	s.staticRoutes(r)
	s.artifactRoutes(r)
	s.operationRoutes(r)
	r.Route("/v1/kubernetes/providers", s.providerRoutes)
	r.Get("/credentials", s.credentials)
	r.Get("/credentials/{account}", s.credential)
}

// Ledger brings what other replicas wrote to this one's readers; ledger.Ledger
// is one.
type Ledger interface {
	CatchUp(ctx context.Context, account string) error
}

// caughtUp is await for answers that Orca decides on: they show everything
// that this installation has written to the account. Without the database the
// account is listed anew.
func (s *Server) caughtUp(r *http.Request, accountName string) (*watch.Health, error) {
	h := s.await(r, accountName)
	if s.Ledger == nil {
		return h, nil
	}
	within := func(do func(context.Context, string) error) error {
		ctx, cancel := context.WithTimeout(r.Context(), s.Limits.NotSyncedDeadline)
		defer cancel()
		return do(ctx, accountName)
	}
	if err := within(s.Ledger.CatchUp); err != nil {
		s.Log.Warn("the record of writes cannot be asked; listing the account anew", "account", accountName, "error", err)
		if err := within(s.Fleet.Refresh); err != nil {
			return h, problem{status: http.StatusServiceUnavailable, message: "account " + accountName + ": it cannot be told what was written to it, nor can it be listed anew: " + err.Error()}
		}
		h = s.await(r, accountName)
	}
	return h, nil
}

// await waits for accounts whose first list is running, within the deadline
// of the settings.
func (s *Server) await(r *http.Request, accounts ...string) *watch.Health {
	ctx, cancel := context.WithTimeout(r.Context(), s.Limits.NotSyncedDeadline)
	defer cancel()
	return s.Fleet.Await(ctx, accounts...)
}
