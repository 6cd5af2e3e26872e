package view

import (
	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

type change struct {
	// Type is the list that shows the object: serverGroups, loadBalancers, …
	Type        spinnaker.Class   `json:"type"`
	Account     string            `json:"account"`
	Namespace   string            `json:"namespace"`
	Name        string            `json:"name"`
	Kind        string            `json:"kind"`
	ID          string            `json:"id"`
	Moniker     spinnaker.Moniker `json:"moniker"`
	Version     string            `json:"resourceVersion"`
	Removed     bool              `json:"removed,omitempty"`
	HealthState string            `json:"healthState,omitempty"`
	Desired     *int64            `json:"desired,omitempty"`
	ServerGroup string            `json:"serverGroup,omitempty"`
}

// Change renders a change for a stream: what the object is, and what of it
// changes most.
func Change(c *index.Change) []byte {
	out := change{
		Type: c.Kind.Class, Account: c.Account, Namespace: c.Namespace, Name: c.FullName(), Kind: c.Kind.Text, ID: c.UID(), Moniker: c.Moniker(),
		Version: c.ResourceVersion(), Removed: c.Removed,
	}
	switch {
	case c.Kind.Class == spinnaker.Instances:
		out.HealthState = stateOf(healthOf(c.Object))
		if w, ok := c.Owner(); ok {
			out.ServerGroup = spinnaker.FullName(w.Kind, w.Name)
		}
	case c.Group != nil:
		out.Desired = &c.Group.Desired
	}
	return encode(out)
}
