package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/ledger"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// Ledger knows what other replicas wrote that this one's readers are not shown;
// ledger.Ledger is one.
type Ledger interface {
	Behind(ctx context.Context, account string, matters func(store.Write) bool) ([]store.Write, error)
	Settle(ctx context.Context, w store.Write) error
}

// Live reads single objects for all who ask; ledger.Live is one.
type Live interface {
	Object(ctx context.Context, accountName string, r cluster.Resource, namespace, name string) (*unstructured.Unstructured, error)
}

// settledAtOnce is how many objects are read at once for one request.
const settledAtOnce = 8

// freshen does what the route's freshness asks for before its handler runs.
func (s *Server) freshen(r *request) error {
	switch r.route.fresh {
	case memory:
		s.awaitMemory(r)
	case set:
		return s.proveSet(r)
	case object, live:
		r.health = s.Fleet.Health()
	case constant:
	}
	return nil
}

// awaitMemory waits where the contract has it: for all accounts while the
// service starts, and for the one that the path names.
func (s *Server) awaitMemory(r *request) {
	ctx, cancel := context.WithTimeout(r.Context(), s.Limits.NotSyncedDeadline)
	defer cancel()
	if name := r.accountName(); name != "" {
		r.health = s.Fleet.AwaitAccount(ctx, name)
		return
	}
	r.health = s.Fleet.Await(ctx)
}

// groupCover are the streams that clusters and server groups are made of.
func groupCover(a *account.Account) watch.Cover {
	return watch.Cover{Name: "groups", Kinds: func(kindText string) bool {
		class, _ := a.Class(kindText)
		return class.FormsClusters() || class == spinnaker.Instances || class == spinnaker.LoadBalancers
	}}
}

// kindCover are the streams of one kind in a namespace.
func kindCover(text, namespace string) watch.Cover {
	return watch.Cover{Name: text, Kinds: func(kindText string) bool { return kindText == text }, Namespace: namespace}
}

// proveSet makes the index hold what an application has in an account at this
// moment. Doubt costs the objects that were written since; only where a stream
// proves nothing, or the record of writes cannot be asked, the account is listed.
func (s *Server) proveSet(r *request) error {
	name := r.accountName()
	application, narrow := r.path["application"]
	a, known := s.Accounts.Get(name)
	if !known {
		r.health = s.Fleet.Health()
		return nil // there is nothing of it
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.Limits.NotSyncedDeadline)
	defer cancel()
	r.health = s.Fleet.AwaitAccount(ctx, name)
	cover := groupCover(a)
	err := r.health.Unproved(name, cover)
	var hidden *watch.HiddenError
	switch {
	case errors.Is(err, watch.ErrNotCovered):
		err = nil // it has no such kinds
	case errors.As(err, &hidden):
		r.hide(a, hidden)
		err = nil // listing it would be refused again
	}
	if err == nil {
		err = s.settle(r.Context(), name, func(w store.Write) bool {
			return !narrow || w.Application == "" || strings.EqualFold(w.Application, application)
		})
	}
	if err == nil {
		return nil
	}
	// What lists the account now is newer than all that was written before.
	switch failed := s.Fleet.Refresh(r.Context(), name, cover); {
	case failed == nil:
	case cluster.Is(failed, cluster.Forbidden):
		r.doubt = failed
	default:
		return s.unavailable(name, failed)
	}
	return nil
}

// hide takes note of kinds that the account's identity may not list: without
// server groups of theirs, nothing is proved to be absent.
func (r *request) hide(a *account.Account, hidden *watch.HiddenError) {
	r.partial = true
	for _, kind := range hidden.Kinds {
		if class, _ := a.Class(kind); class.FormsClusters() {
			r.doubt = hidden
		}
	}
}

func (s *Server) behind(ctx context.Context, accountName string, matters func(store.Write) bool) ([]store.Write, error) {
	if s.Ledger == nil {
		return nil, nil
	}
	found, err := s.Ledger.Behind(ctx, accountName, matters)
	if err != nil && !errors.Is(err, context.Canceled) {
		s.Log.Warn("the record of writes cannot be asked; reading live", "account", accountName, "error", err)
	}
	return found, err
}

// settle reads the objects that matter and that the index is behind of, each by
// itself.
func (s *Server) settle(ctx context.Context, accountName string, matters func(store.Write) bool) error {
	ctx, cancel := context.WithTimeout(ctx, s.Limits.NotSyncedDeadline)
	defer cancel()
	behind, err := s.behind(ctx, accountName, matters)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(settledAtOnce)
	for _, w := range behind {
		group.Go(func() error { return s.Ledger.Settle(ctx, w) })
	}
	return group.Wait()
}

// proved says whether memory proves what the cover names, so that nothing that
// was written matters any more.
func (s *Server) proved(r *request, accountName string, c watch.Cover, matters func(store.Write) bool) bool {
	if r.health.Unproved(accountName, c) != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.Limits.NotSyncedDeadline)
	defer cancel()
	behind, err := s.behind(ctx, accountName, matters)
	return err == nil && len(behind) == 0
}

// place is where an object is looked for.
type place struct {
	account   *account.Account
	client    Cluster
	resource  cluster.Resource
	namespace string
	name      string
}

// place finds out where an object of a kind in any spelling is.
func (s *Server) place(r *request, a *account.Account, kind, location, name string) (place, error) {
	client, err := s.Clients.Client(a.Name)
	if err != nil {
		return place{}, err
	}
	resource, err := ledger.ResourceOf(r.Context(), client, kind)
	if err != nil {
		return place{}, err
	}
	location = a.ObjectNamespace(resource.Namespaced, location)
	if !a.AllowsNamespace(location) {
		return place{}, &cluster.Error{Reason: cluster.NotFound, Err: fmt.Errorf("namespace %s is not the account's", location)}
	}
	return place{a, client, resource, location, name}, nil
}

// inMemory says whether what is held of an object, if it is, is proved to be as
// it is.
func (s *Server) inMemory(r *request, at place) bool {
	text := at.resource.KindText()
	return s.proved(r, at.account.Name, kindCover(text, at.namespace), func(w store.Write) bool {
		return w.Name == at.name && w.Namespace == at.namespace && spinnaker.SameKind(w.Kind, text)
	})
}

// object reads an object whole: from memory where that is proved, else live.
// What memory does not hold is read live, too: an account that is watched
// through a label holds only what has it (read-rest.md 1.3).
func (s *Server) object(r *request, at place) (*unstructured.Unstructured, error) {
	if s.inMemory(r, at) {
		if held := s.Index.Manifest(at.account.Name, at.namespace, at.resource.KindText(), at.name); held != nil {
			held.SetAPIVersion(at.resource.APIVersion())
			held.SetKind(at.resource.Kind)
			return held, nil
		}
	}
	return s.readLive(r, at)
}

func (s *Server) readLive(r *request, at place) (*unstructured.Unstructured, error) {
	o, err := s.Live.Object(r.Context(), at.account.Name, at.resource, at.namespace, at.name)
	if err != nil {
		return nil, err
	}
	return o.DeepCopy(), nil // others share it
}

// gone says whether an error means that what was asked for is not there: the
// object is not, or the cluster serves no such kind.
func gone(err error) bool {
	return cluster.Is(err, cluster.NotFound) || cluster.Is(err, cluster.NoKind)
}

// notRead is the answer when an object could not be read: absent where it is not
// there.
func (s *Server) notRead(accountName string, err, absent error) error {
	if gone(err) {
		return absent
	}
	return s.unavailable(accountName, err)
}

// unavailable is the answer when a cluster could not be asked. 503 is for what a
// moment will mend, since Orca asks again without end, and 502 for what may be
// allowed in a moment. A cluster that has had its time is answered with 500 and
// its own error, which ends Orca's stage.
func (s *Server) unavailable(accountName string, err error) error {
	status, out := http.StatusServiceUnavailable, s.Fleet.Health().Silent(accountName)
	var hidden *watch.HiddenError
	switch reason := cluster.ReasonOf(err); {
	case errors.As(err, &hidden):
		status, out = http.StatusBadGateway, time.Since(hidden.Since)
	case reason == cluster.TooLarge: // which no moment mends
		return problem{status: http.StatusInternalServerError, message: fmt.Sprintf("account %s: %v", accountName, err)}
	case reason == cluster.Unauthorized, reason == cluster.Forbidden:
		status, out = http.StatusBadGateway, s.Fleet.Health().Refused(accountName)
	}
	if s.GiveUpAfter > 0 && out >= s.GiveUpAfter {
		return problem{status: http.StatusInternalServerError, message: fmt.Sprintf("account %s has been out of reach for %s: %v", accountName, out.Round(time.Second), err)}
	}
	return problem{status: status, message: fmt.Sprintf("account %s: %v", accountName, err)}
}

// missing is the answer when nothing was found of a set: 404 only where that is
// proved, because Orca takes it for "it is gone".
func (s *Server) missing(r *request, accountName, text string) error {
	if r.doubt != nil {
		return s.unavailable(accountName, r.doubt)
	}
	return view.NotFoundError(text)
}
