package api

import (
	"context"
	"fmt"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
)

// siblings lists the objects of a kind that belong to a cluster (read-rest.md
// 1.8).
func (s *Server) siblings(r *request) (reply, error) {
	_, found, err := s.clusterMembers(r)
	if err != nil {
		return reply{}, err
	}
	return answered(newAnswer(view.Siblings(found))), nil
}

// dynamicTarget picks one of them (read-rest.md 1.7).
func (s *Server) dynamicTarget(r *request) (reply, error) {
	criteria := r.segments("criteria")
	if !view.IsCriteria(criteria[0]) {
		return reply{}, bad("criteria: %q is none of oldest, newest, second_newest, smallest, largest", criteria[0])
	}
	q, found, err := s.clusterMembers(r)
	if err != nil {
		return reply{}, err
	}
	picked, ok := view.Pick(criteria[0], found)
	if !ok {
		return reply{}, view.NotFoundError(fmt.Sprintf("No manifests matching (account: %s, location: %s, kind: %s, app %s, cluster: %s, criteria: %s) found",
			q.account, q.location, q.kind, q.application, q.cluster, criteria[0]))
	}
	return answered(newAnswer(view.Encode(picked))), nil
}

// liveList is how long a list of a cluster may take, all its pages together.
const liveList = 30 * time.Second

type membersRequest struct{ account, location, kind, application, cluster string }

// clusterMembers finds the objects of a kind whose annotations name the
// application and the cluster. A sibling that is missed keeps its traffic, so
// they come from memory only where it holds everything and proves it.
func (s *Server) clusterMembers(r *request) (membersRequest, []view.Sibling, error) {
	p := r.segments("account", "location", "kind", "application", "cluster")
	q := membersRequest{account: p[0], location: locationOf(p[1]), kind: p[2], application: p[3], cluster: p[4]}
	none := view.NotFoundError(fmt.Sprintf("No manifests matching (account: %s, location: %s, kind: %s, app %s, cluster: %s) found", q.account, q.location, q.kind, q.application, q.cluster))
	a, known := s.Accounts.Get(q.account)
	if !known {
		return q, nil, none
	}
	at, err := s.place(r, a, q.kind, q.location, "")
	switch {
	case cluster.Is(err, cluster.NoKind):
		return q, nil, nil // there are no objects of a kind that is not served
	case cluster.Is(err, cluster.NotFound):
		return q, nil, none // the namespace is not the account's
	case err != nil:
		return q, nil, s.unavailable(q.account, err)
	}
	text := at.resource.KindText()
	if (text == "replicaSet" || text == "statefulSet") && s.Index.Complete(q.account, text) && s.setInMemory(r, at) {
		return q, view.SiblingsOf(s.Index.Objects(q.account, text), at.namespace, q.application, q.cluster), nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), liveList)
	defer cancel()
	all, err := at.client.List(ctx, at.resource, at.namespace, "")
	if err != nil {
		return q, nil, s.unavailable(q.account, err)
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

// setInMemory says whether what is held of a kind in a namespace is proved.
func (s *Server) setInMemory(r *request, at place) bool {
	text := at.resource.KindText()
	return s.proved(r, at.account.Name, kindCover(text, at.namespace), func(w store.Write) bool { return spinnaker.SameKind(w.Kind, text) })
}
