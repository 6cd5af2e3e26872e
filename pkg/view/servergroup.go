package view

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/datapunchorg/go-clouddriver/pkg/index"
)

// traffic says which load balancers a server group has, as full names, and
// whether it is disabled: it names some and is attached to none
// (read-lists.md 1.6).
func traffic(g index.Group) (balancers []string, disabled bool) {
	balancers = make([]string, 0, len(g.Attached)+len(g.Group.Explicit))
	for _, service := range g.Attached {
		balancers = append(balancers, service.FullName())
	}
	disabled = len(balancers) == 0 && len(g.Group.Explicit) > 0
	balancers = append(balancers, g.Group.Explicit...)
	slices.Sort(balancers)
	return slices.Compact(balancers), disabled
}

func managersOf(account string, g index.Group) []managerRef {
	out := make([]managerRef, 0, len(g.Managers))
	for _, m := range g.Managers {
		out = append(out, managerRef{Account: account, Location: g.Namespace, Name: m.Name})
	}
	return out
}

func imagesOf(g index.Group) buildInfo {
	if g.Group.Images == nil {
		return buildInfo{Images: []string{}}
	}
	return buildInfo{Images: g.Group.Images}
}

func capacityOf(g index.Group) capacity {
	n := g.Group.Desired
	return capacity{Min: n, Max: n, Desired: n}
}

func commonOf(account string, o *index.Object) common {
	return common{
		Name: o.FullName(), DisplayName: o.Name, Kind: o.Kind.Text, APIVersion: o.Kind.APIVersion,
		Account: account, Namespace: o.Namespace, Region: o.Namespace, CloudProvider: provider, Type: provider,
		CreatedTime: o.Created, Moniker: o.Moniker(), Labels: labels(o),
	}
}

// NewServerGroup renders the long form.
func NewServerGroup(account string, g index.Group) ServerGroup {
	out := ServerGroup{
		common:   commonOf(account, g.Object),
		Capacity: capacityOf(g), BuildInfo: imagesOf(g),
		Instances:           make([]instance, 0, len(g.Instances)),
		ServerGroupManagers: managersOf(account, g),
		SecurityGroups:      []string{}, Zones: []string{},
	}
	out.LoadBalancers, out.Disabled = traffic(g)
	out.IsDisabled = out.Disabled
	for _, pod := range g.Instances {
		i := longInstance(account, pod)
		out.InstanceCounts.count(i.HealthState)
		out.Instances = append(out.Instances, i)
	}
	return out
}

// newExpanded renders the element of the expanded list.
func newExpanded(account string, g index.Group) ServerGroup {
	out := NewServerGroup(account, g)
	out.AccountName, out.Cluster, out.Application = account, out.Moniker.Cluster, out.Moniker.App
	return out
}

func newShort(account string, g index.Group) shortServerGroup {
	m := g.Moniker()
	out := shortServerGroup{
		Name: g.FullName(), DisplayName: g.Name, Kind: g.Kind.Text,
		Account: account, Namespace: g.Namespace, Region: g.Namespace,
		Cluster: m.Cluster, Application: m.App, Type: provider, CloudProvider: provider,
		CreatedTime: g.Created, Moniker: m, BuildInfo: imagesOf(g), Capacity: capacityOf(g),
		Instances: make([]shortInstance, 0, len(g.Instances)), SecurityGroups: []string{},
		ServerGroupManagers: managersOf(account, g),
	}
	if text := g.LabelsJSON(); text != "" {
		out.Labels = json.RawMessage(text)
	}
	out.LoadBalancers, out.Disabled = traffic(g)
	out.IsDisabled = out.Disabled
	for _, pod := range g.Instances {
		i := briefInstance(pod)
		out.InstanceCounts.count(i.HealthState)
		out.Instances = append(out.Instances, i)
	}
	return out
}

// Element is one rendered element of a list.
type Element struct {
	// Key sorts elements of different accounts.
	Key string
	// Cluster is the cluster text, for lists that are narrowed to clusters.
	Cluster string
	// JSON is the element, nil for one that is left out: LeftOut says why.
	JSON    []byte
	LeftOut string
}

// row renders one object of a list. One that cannot be rendered costs its row
// and not the list.
func row(o *index.Object, render func() Element) (out Element) {
	defer func() {
		if cause := recover(); cause != nil {
			out = Element{LeftOut: fmt.Sprintf("%s in %q: %v", o.FullName(), o.Namespace, cause)}
		}
	}()
	return render()
}

// ServerGroups renders the application's server groups of one account, in the
// short or the expanded form.
func ServerGroups(p index.Part, expand bool) []Element {
	out := make([]Element, 0, len(p.Groups))
	for _, g := range p.Groups {
		out = append(out, row(g.Object, func() Element {
			e := Element{Key: p.Account, Cluster: g.Moniker().Cluster}
			if expand {
				e.JSON = encode(newExpanded(p.Account, g))
			} else {
				e.JSON = encode(newShort(p.Account, g))
			}
			return e
		}))
	}
	return out
}

// ShortServerGroup renders one element of the short list.
func ShortServerGroup(account string, g index.Group) []byte { return encode(newShort(account, g)) }

// Managers renders the application's server group managers of one account.
func Managers(p index.Part) []Element {
	out := make([]Element, 0, len(p.Managers))
	for _, m := range p.Managers {
		out = append(out, row(m.Object, func() Element { return Element{Key: p.Account, JSON: encode(newManager(p.Account, m))} }))
	}
	return out
}

func newManager(account string, m index.Manager) serverGroupManager {
	model := serverGroupManager{common: commonOf(account, m.Object), ServerGroups: []managedGroup{}}
	model.Type = "" // the one model without it
	for _, g := range m.Groups {
		model.ServerGroups = append(model.ServerGroups, managedGroup{
			Name: g.FullName(), Account: account, Namespace: g.Namespace, Region: g.Namespace, Moniker: g.Moniker(),
		})
	}
	return model
}
