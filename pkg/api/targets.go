package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// siblings lists the objects of a kind that belong to a cluster (read-rest.md
// 1.8).
func (s *Server) siblings(w http.ResponseWriter, r *http.Request) {
	_, found, err := s.clusterMembers(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.send(w, r, &watch.Health{}, newAnswer(view.Siblings(found)))
}

// dynamicTarget picks one of them (read-rest.md 1.7).
func (s *Server) dynamicTarget(w http.ResponseWriter, r *http.Request) {
	criteria, err := segments(r, "criteria")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if !view.IsCriteria(criteria[0]) {
		s.fail(w, r, bad("criteria: %q is none of oldest, newest, second_newest, smallest, largest", criteria[0]))
		return
	}
	q, found, err := s.clusterMembers(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	picked, ok := view.Pick(criteria[0], found)
	if !ok {
		s.fail(w, r, view.NotFoundError(fmt.Sprintf("No manifests matching (account: %s, location: %s, kind: %s, app %s, cluster: %s, criteria: %s) found",
			q.account, q.location, q.kind, q.application, q.cluster, criteria[0])))
		return
	}
	s.send(w, r, &watch.Health{}, newAnswer(view.Encode(picked)))
}

// liveList is how long a list of a cluster may take, all its pages together.
const liveList = 30 * time.Second

type membersRequest struct{ account, location, kind, application, cluster string }

// clusterMembers finds the objects of a kind whose annotations name the
// application and the cluster. A sibling that is missed keeps its traffic, so
// they come from memory only where it holds everything.
func (s *Server) clusterMembers(r *http.Request) (membersRequest, []view.Sibling, error) {
	p, err := segments(r, "account", "location", "kind", "application", "cluster")
	if err != nil {
		return membersRequest{}, nil, err
	}
	q := membersRequest{account: p[0], location: locationOf(p[1]), kind: p[2], application: p[3], cluster: p[4]}
	none := view.NotFoundError(fmt.Sprintf("No manifests matching (account: %s, location: %s, kind: %s, app %s, cluster: %s) found", q.account, q.location, q.kind, q.application, q.cluster))
	a, known := s.Accounts.Get(q.account)
	if !known {
		return q, nil, none
	}
	client, err := s.Clients.Client(q.account)
	if err != nil {
		return q, nil, problem{status: http.StatusServiceUnavailable, message: err.Error()}
	}
	resource, err := resourceOf(r.Context(), client, q.kind)
	if cluster.Is(err, cluster.NotFound) {
		return q, nil, nil // there are no objects of a kind that is not served
	}
	if err != nil {
		return q, nil, upstream(q.account, err)
	}
	location := inNamespace(a, resource, q.location)
	if !a.AllowsNamespace(location) {
		return q, nil, none
	}
	text := resource.KindText()
	if a.LabelSelector == "" && (text == "replicaSet" || text == "statefulSet") {
		if h, err := s.caughtUp(r, q.account); err == nil && !h.IsStale(q.account) && !h.NeverSynced(q.account) && s.Index.Follows(q.account, text, location) {
			return q, view.SiblingsOf(s.Index.Objects(q.account, text), location, q.application, q.cluster), nil
		}
	}
	within := liveList
	if s.await(r, q.account).NeverSynced(q.account) {
		within = s.Limits.NotSyncedDeadline
	}
	ctx, cancel := context.WithTimeout(r.Context(), within)
	defer cancel()
	all, err := client.List(ctx, resource, location, "")
	if err != nil {
		return q, nil, upstream(q.account, err)
	}
	var out []view.Sibling
	for _, o := range all {
		m := spinnaker.MonikerOf(text, o.GetName(), o.GetAnnotations(), false)
		if m.App == q.application && m.Cluster == q.cluster && o.GetDeletionTimestamp() == nil {
			out = append(out, view.NewSibling(text, o))
		}
	}
	return q, view.SortSiblings(out), nil
}
