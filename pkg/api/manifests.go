package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

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
	r.Get("/{account}/{location}/{name}", s.manifest)
}

// manifest answers for one object, read live: what a caller has just written
// must not be shown as it was before (read-rest.md 1.1).
func (s *Server) manifest(w http.ResponseWriter, r *http.Request) {
	p, err := segments(r, "account", "location", "name")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	accountName, location, full := p[0], p[1], p[2]
	if location == noLocation {
		location = ""
	}
	a, known := s.Accounts.Get(accountName)
	kind, name, ok := spinnaker.SplitFullName(full)
	gone := view.NotFoundError(fmt.Sprintf("Manifest (account: %s, location: %s, name: %s) not found", accountName, location, full))
	if !known || !ok || !a.AllowsNamespace(location) {
		s.fail(w, r, gone)
		return
	}
	client, err := s.Clients.Client(accountName)
	if err != nil {
		s.fail(w, r, problem{status: http.StatusServiceUnavailable, message: err.Error()})
		return
	}
	object, err := live(r.Context(), client, a, kind, location, name)
	switch {
	case cluster.Is(err, cluster.NotFound):
		s.fail(w, r, gone)
		return
	case err != nil:
		s.fail(w, r, upstream(accountName, err))
		return
	}
	var events []map[string]any
	if boolean(r.URL.Query(), "includeEvents", true) {
		events = eventsOf(r.Context(), client, object)
	}
	text := spinnaker.KindText(object.GroupVersionKind().Group, object.GetKind())
	references := operation.References(text, object.DeepCopy().Object)
	s.send(w, r, &watch.Health{}, newAnswer(view.Encode(view.NewManifest(accountName, object, references, events))))
}

// live reads an object of a kind in any spelling. An unknown kind is looked
// for once more in what the cluster serves now.
func live(ctx context.Context, client operation.Writer, a *account.Account, kind, location, name string) (*unstructured.Unstructured, error) {
	catalog, err := client.Catalog(ctx)
	if err != nil {
		return nil, err
	}
	resource, ok := catalog.Find(kind)
	if !ok {
		if catalog, err = client.Discover(ctx); err != nil {
			return nil, err
		}
		if resource, ok = catalog.Find(kind); !ok {
			return nil, &cluster.Error{Reason: cluster.NotFound, Err: fmt.Errorf("no kind %s", kind)}
		}
	}
	if resource.Namespaced && location == "" {
		location = a.DefaultNamespace()
	}
	return client.Get(ctx, resource, location, name)
}

// upstream is the answer when a cluster could not be asked (read-rest.md 1.6).
func upstream(accountName string, err error) error {
	status := http.StatusServiceUnavailable
	if reason := cluster.ReasonOf(err); reason == cluster.Unauthorized || reason == cluster.Forbidden {
		status = http.StatusBadGateway
	}
	return problem{status: status, message: fmt.Sprintf("account %s: %v", accountName, err)}
}

const (
	eventsTimeout = 5 * time.Second
	eventsMost    = 50 // Orca adds up what it is sent at each poll
)

// eventsOf lists an object's events, oldest first; none when they cannot be
// read (read-rest.md 1.4).
func eventsOf(ctx context.Context, client operation.Writer, object *unstructured.Unstructured) []map[string]any {
	ctx, cancel := context.WithTimeout(ctx, eventsTimeout)
	defer cancel()
	catalog, err := client.Catalog(ctx)
	if err != nil {
		return nil
	}
	resource, ok := catalog.Exact("v1", "Event")
	if !ok {
		return nil
	}
	all, err := client.List(ctx, resource, cmp.Or(object.GetNamespace(), "default"), "")
	if err != nil {
		return nil
	}
	var out []map[string]any
	for _, e := range all {
		about, _ := e.Object["involvedObject"].(map[string]any)
		uid, _ := about["uid"].(string)
		if about["name"] != object.GetName() || about["kind"] != object.GetKind() || (uid != "" && uid != string(object.GetUID())) {
			continue
		}
		unstructured.RemoveNestedField(e.Object, "metadata", "managedFields")
		fillTimes(e.Object)
		out = append(out, e.Object)
	}
	slices.SortStableFunc(out, func(a, b map[string]any) int { return strings.Compare(eventTime(a), eventTime(b)) })
	return out[max(0, len(out)-eventsMost):]
}

// fillTimes copies the times of newer events into the fields that Deck prints.
func fillTimes(e map[string]any) {
	series, _ := e["series"].(map[string]any)
	for field, sources := range map[string][]any{"lastTimestamp": {series["lastObservedTime"], e["eventTime"]}, "firstTimestamp": {e["eventTime"]}} {
		if t, _ := e[field].(string); t != "" {
			continue
		}
		for _, source := range sources {
			if t, _ := source.(string); t != "" {
				e[field] = t
				break
			}
		}
	}
	for key, v := range e {
		if v == nil {
			delete(e, key)
		}
	}
}

func eventTime(e map[string]any) string {
	last, _ := e["lastTimestamp"].(string)
	first, _ := e["firstTimestamp"].(string)
	return cmp.Or(last, first, "n/a")
}
