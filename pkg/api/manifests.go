package api

import (
	"fmt"

	"github.com/datapunchorg/go-clouddriver/pkg/operation"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
)

// noLocation is the reserved word for cluster-scoped objects.
const noLocation = "_"

func locationOf(segment string) string {
	if segment == noLocation {
		return ""
	}
	return segment
}

// manifest answers for one object (read-rest.md 1.1).
func (s *Server) manifest(r *request) (reply, error) {
	p := r.segments("account", "location", "name")
	accountName, location, full := p[0], locationOf(p[1]), p[2]
	a, known := s.Accounts.Get(accountName)
	kind, name, ok := spinnaker.SplitFullName(full)
	absent := view.NotFoundError(fmt.Sprintf("Manifest (account: %s, location: %s, name: %s) not found", accountName, location, full))
	if !known || !ok {
		return reply{}, absent
	}
	at, err := s.place(r, a, kind, location, name)
	if err != nil {
		return reply{}, s.notRead(accountName, err, absent)
	}
	object, err := s.object(r, at)
	if err != nil {
		return reply{}, s.notRead(accountName, err, absent)
	}
	text := spinnaker.KindText(object.GroupVersionKind().Group, object.GetKind())
	m := view.NewManifest(accountName, object, operation.References(text, object.DeepCopy().Object), nil)
	if status, checked := s.CustomKinds.StatusOf(text, object.Object); checked {
		m.Status = status
	}
	class, _ := a.Class(text)
	m.ForPanels(class)
	if boolean(r.URL.Query(), "includeEvents", true) {
		m.Events = s.events(at.client, accountName, object)
		if text == "pod" && a.Metrics {
			m.Metrics = podMetrics(r.Context(), at.client, object)
		}
	}
	moniker := spinnaker.MonikerOf(text, object.GetName(), object.GetAnnotations(), a.DeriveNames)
	return answered(newAnswer(view.Encode(m))).of(moniker.App), nil
}
