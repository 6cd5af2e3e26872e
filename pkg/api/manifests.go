package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/go-chi/chi/v5"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/operation"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// noLocation is the reserved word for cluster-scoped objects.
const noLocation = "_"

func (s *Server) manifestRoutes(r chi.Router) {
	r.Get("/{account}/{name}", s.manifest)
	r.Get("/{account}//{name}", s.manifest)
	r.Get("/{account}/{location}/{name}", s.manifest)
	r.Get("/{account}/{location}/{kind}/cluster/{application}/{cluster}", s.siblings)
	r.Get("/{account}/{location}/{kind}/cluster/{application}/{cluster}/dynamic/{criteria}", s.dynamicTarget)
}

func locationOf(segment string) string {
	if segment == noLocation {
		return ""
	}
	return segment
}

// manifest answers for one object (read-rest.md 1.1).
func (s *Server) manifest(w http.ResponseWriter, r *http.Request) {
	p, err := segments(r, "account", "location", "name")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	accountName, location, full := p[0], locationOf(p[1]), p[2]
	a, known := s.Accounts.Get(accountName)
	kind, name, ok := spinnaker.SplitFullName(full)
	gone := view.NotFoundError(fmt.Sprintf("Manifest (account: %s, location: %s, name: %s) not found", accountName, location, full))
	if !known || !ok {
		s.fail(w, r, gone)
		return
	}
	client, err := s.Clients.Client(accountName)
	if err != nil {
		s.fail(w, r, problem{status: http.StatusServiceUnavailable, message: err.Error()})
		return
	}
	object, err := s.object(r, client, a, kind, location, name)
	switch {
	case cluster.Is(err, cluster.NotFound):
		s.fail(w, r, gone)
		return
	case err != nil:
		s.fail(w, r, upstream(accountName, err))
		return
	}
	text := spinnaker.KindText(object.GroupVersionKind().Group, object.GetKind())
	m := view.NewManifest(accountName, object, operation.References(text, object.DeepCopy().Object), nil)
	if status, checked := s.CustomKinds.StatusOf(text, object.Object); checked {
		m.Status = status
	}
	if boolean(r.URL.Query(), "includeEvents", true) {
		m.Events = s.events(client, accountName, object)
		if text == "pod" && a.Metrics {
			m.Metrics = podMetrics(r.Context(), client, object)
		}
	}
	s.send(w, r, &watch.Health{}, newAnswer(view.Encode(m)))
}

// object reads an object of a kind in any spelling: from memory where what is
// held is surely not older than what was written or shown before, else from
// the cluster. What is read there is brought to all readers, so that none of
// them sees anything older afterwards (read-rest.md 1.3).
func (s *Server) object(r *http.Request, client Cluster, a *account.Account, kind, location, name string) (*unstructured.Unstructured, error) {
	ctx := r.Context()
	resource, err := resourceOf(ctx, client, kind)
	if err != nil {
		return nil, err
	}
	location = inNamespace(a, resource, location)
	if !a.AllowsNamespace(location) {
		return nil, &cluster.Error{Reason: cluster.NotFound, Err: fmt.Errorf("namespace %s is not the account's", location)}
	}
	text := resource.KindText()
	// Whatever cannot be told from memory is read live.
	if h, err := s.caughtUp(r, a.Name); err == nil && !h.IsStale(a.Name) {
		if held := s.Index.Manifest(a.Name, location, text, name); held != nil {
			held.SetAPIVersion(resource.APIVersion())
			held.SetKind(resource.Kind)
			return held, nil
		}
	}
	before := s.Index.UID(a.Name, text, location, name)
	object, err := client.Get(ctx, resource, location, name)
	switch {
	case cluster.Is(err, cluster.NotFound):
		s.Index.Gone(a.Name, text, location, name, before)
	case err == nil:
		s.Index.Written(a.Name, text, object)
	}
	return object, err
}

// inNamespace is where an object of a kind is looked for.
func inNamespace(a *account.Account, resource cluster.Resource, location string) string {
	switch {
	case !resource.Namespaced:
		return ""
	case location == "":
		return a.DefaultNamespace()
	}
	return location
}

// resourceOf finds a kind in any spelling. An unknown one is looked for once
// more in what the cluster serves now.
func resourceOf(ctx context.Context, client Cluster, kind string) (cluster.Resource, error) {
	catalog, err := client.Catalog(ctx)
	if err == nil {
		if found, ok := catalog.Find(kind); ok {
			return found, nil
		}
		catalog, err = client.Discover(ctx)
	}
	switch {
	case cluster.Is(err, cluster.NotFound): // it says nothing about the kind
		return cluster.Resource{}, &cluster.Error{Reason: cluster.Unavailable, Err: err}
	case err != nil:
		return cluster.Resource{}, err
	}
	if found, ok := catalog.Find(kind); ok {
		return found, nil
	}
	if catalog.Incomplete() {
		return cluster.Resource{}, &cluster.Error{Reason: cluster.Unavailable, Err: fmt.Errorf("the cluster does not say whether it serves the kind %s: one of its APIs does not answer", kind)}
	}
	return cluster.Resource{}, &cluster.Error{Reason: cluster.NotFound, Err: fmt.Errorf("the cluster serves no kind %s", kind)}
}

// upstream is the answer when a cluster could not be asked (read-rest.md 1.6).
func upstream(accountName string, err error) error {
	status := http.StatusServiceUnavailable
	if reason := cluster.ReasonOf(err); reason == cluster.Unauthorized || reason == cluster.Forbidden {
		status = http.StatusBadGateway
	}
	return problem{status: status, message: fmt.Sprintf("account %s: %v", accountName, err)}
}
