package api

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/auth"
	"github.com/datapunchorg/go-clouddriver/pkg/budget"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/fallback"
	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/page"
	"github.com/datapunchorg/go-clouddriver/pkg/telemetry"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// Fleet says how the accounts are; watch.Fleet is one.
type Fleet interface {
	Health() *watch.Health
	Changed() <-chan struct{}
	Await(ctx context.Context) *watch.Health
	AwaitAccount(ctx context.Context, account string) *watch.Health
	Settled() <-chan struct{}
	Refresh(ctx context.Context, account string, c watch.Cover) error
	Status() []watch.Status
}

// Options are what a Server works with.
type Options struct {
	Index *index.Index
	// Cache keeps answers, and Parts what lists are made of.
	Cache    *index.Cache
	Parts    *index.Cache
	Fleet    Fleet
	Accounts *account.Registry
	// Auth says what callers may, and Admin lets those in who change accounts.
	Auth  *auth.Authority
	Admin Admin
	// Providers and Resources serve the provider API.
	Providers Providers
	Resources Resources
	// Definitions are the accounts that /credentials manages, nil where they are
	// switched off; OpenDefinitions lets everybody manage them without Fiat.
	Definitions     Definitions
	OpenDefinitions bool
	History         History
	// Tasks and Clients are the write side, and Live reads objects that memory
	// does not prove. Ledger is nil where there are no other replicas.
	Tasks   Tasks
	Clients Clients
	Live    Live
	Ledger  Ledger
	// Artifacts are fetched, so many at once.
	Artifacts  Artifacts
	MaxFetches int
	// ArtifactStore is nil where there is none; ExpandManifests has it asked for
	// manifests, too.
	ArtifactStore   ArtifactStore
	ExpandManifests bool
	// Registries know images and charts; nil where they are switched off.
	Registries Registries
	Limits     config.Server
	// Memory is what requests take together.
	Memory *budget.Budget
	// GiveUpAfter is how long a cluster may say nothing before whoever waits for
	// it is told to give up; 0 for ever.
	GiveUpAfter time.Duration
	// Closing is closed when the service begins to stop, and Ending when event
	// streams have to end.
	Closing, Ending <-chan struct{}
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
	// Pages are the page for people, nil when it is switched off; Figures are the
	// samples of the last hour that it plots, and Journal the tasks.
	Pages   *page.Pages
	Figures func() []telemetry.Sample
	Journal Journal
	Observe func(route, method string, status int, took time.Duration)
	Log     *slog.Logger
}

// Admin is the door of the routes that change accounts; auth.Door is one.
type Admin interface {
	Admit(r *http.Request) error
	// Who names somebody who was let in.
	Who(r *http.Request) string
}

// Jobs are the settings of jobs, with zero values that are the defaults.
type Jobs struct {
	// HidePodStatus leaves pods out of the answer about a job.
	HidePodStatus bool
	// OnCancel is what becomes of a job that is cancelled: one of operation's
	// CancelDeletes, CancelSuspends and CancelKeeps.
	OnCancel string
}

// Server answers the API.
type Server struct {
	Options
	places map[budgeted]*places
	bodies *places
	// sending are answers that their callers take slowly.
	sending *places
	latest  latest
	// failures sample what is logged of them.
	failures samples
}

// New makes the handler of all routes. It fails on a route that does not say
// what holds for it.
func New(o Options) (http.Handler, error) {
	router, err := newRouter(o)
	if err != nil {
		return nil, err
	}
	return oneSlash(router), nil
}

func newRouter(o Options) (chi.Router, error) {
	s := &Server{
		Options: o, bodies: newShares(bodiesAtOnce),
		sending: newShares(sendingFor * o.Limits.MaxInFlight),
		places: map[budgeted]*places{
			reads: newShares(o.Limits.MaxInFlight), writes: newPlaces(o.Limits.MaxInFlight),
			logs: newPlaces(cmp.Or(o.Limits.MaxLogs, o.Limits.MaxInFlight)), streams: newShares(o.Limits.MaxStreams), fetches: newShares(cmp.Or(o.MaxFetches, o.Limits.MaxInFlight)),
		},
	}
	r := chi.NewRouter()
	r.Use(s.observe, s.recover)
	if o.VerboseRequests {
		r.Use(s.verbose)
	}
	r.Use(identify)
	for _, row := range routes() {
		if err := row.check(); err != nil {
			return nil, err
		}
		if row.errors == people && o.Pages == nil {
			continue
		}
		r.Method(row.method, row.pattern, s.serve(&row))
	}
	nowhere := func(status int, text func(*http.Request) string) http.HandlerFunc {
		row := &route{fresh: constant, budget: reads, side: theirs, may: filtered, handle: func(_ *Server, r *request) (reply, error) {
			return reply{}, problem{status: status, message: text(r.Request)}
		}}
		return s.serve(row).ServeHTTP
	}
	r.NotFound(nowhere(http.StatusNotFound, func(r *http.Request) string { return "No handler found for " + r.Method + " " + r.URL.Path }))
	wrongMethod := nowhere(http.StatusMethodNotAllowed, func(r *http.Request) string { return "Request method '" + r.Method + "' not supported" })
	r.MethodNotAllowed(s.otherMethods(r, wrongMethod))
	return r, nil
}

// serve answers one row of the table.
func (s *Server) serve(row *route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, plain *http.Request) {
		r, err := decoded(row, plain)
		if err != nil {
			s.fail(w, &request{Request: plain, route: row}, err)
			return
		}
		if err := s.permit(r); err != nil {
			s.audit(r, err)
			s.fail(w, r, err)
			return
		}
		// A body that comes slowly takes no place of those who wait for an answer.
		free, err := s.readBody(w, r)
		defer free()
		if err != nil {
			s.fail(w, r, err)
			return
		}
		// The place is kept until the answer is sent, but for what others answer, and
		// for large answers, which a caller may take slowly.
		done, err := s.take(row.budget, plain)
		defer done()
		if err != nil {
			s.fail(w, r, err)
			return
		}
		if within := row.fresh.within(); within > 0 {
			ctx, cancel := context.WithTimeout(plain.Context(), within)
			defer cancel()
			r.Request = plain.WithContext(ctx)
		}
		if row.budget == fetches {
			lasts(w, fetchBegins)
		}
		r.done = done
		if s.Fallback != nil && !fallback.Passed(plain) && s.elsewhere(w, r) {
			return
		}
		rep, err := s.answer(r)
		s.audit(r, err)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		if row.budget == reads && rep.answer != nil && rep.answer.length > sentAtOnce {
			if sent, ok := s.sending.take(callerAddress(plain)); ok {
				defer sent()
				done()
			}
		}
		s.send(w, r, rep)
	})
}

const (
	// sentAtOnce is what the system takes of an answer without the caller, in bytes.
	sentAtOnce = 64 << 10
	// sendingFor is how many answers are being sent for each request that is worked
	// on: they take no work, and no memory of their own.
	sendingFor = 16
)

// answer asks the handler once what its route needs is there.
func (s *Server) answer(r *request) (reply, error) {
	if err := s.freshen(r); err != nil {
		return reply{}, err
	}
	rep, err := r.route.handle(s, r)
	if err != nil {
		return reply{}, err
	}
	return rep, r.permitResult(rep)
}

// take takes a place. Requests beyond the limit are refused at once instead of
// slowing all down.
func (s *Server) take(b budgeted, r *http.Request) (free func(), err error) {
	of, bounded := s.places[b]
	if !bounded {
		return func() {}, nil
	}
	free, ok := of.take(callerAddress(r))
	switch {
	case ok:
		return free, nil
	case b == streams:
		return free, tooManyStreams(of.all)
	}
	return free, errTooMany
}

var errTooMany error = problem{status: http.StatusServiceUnavailable, message: "too many requests at once", retryAfter: 1}

func tooManyStreams(most int) error {
	const later = 30
	return problem{status: http.StatusServiceUnavailable, message: fmt.Sprintf("%d streams are open, or most of them by you; more than server.maxStreams are not served", most), retryAfter: later}
}
