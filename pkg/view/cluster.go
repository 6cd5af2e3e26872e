package view

import (
	"slices"

	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// members are the server groups of one cluster, and whether the cluster
// exists: one with only a manager does.
func members(p index.Part, cluster string) (groups []index.Group, exists bool) {
	for _, g := range p.Groups {
		if g.Moniker().Cluster == cluster {
			groups = append(groups, g)
		}
	}
	exists = len(groups) > 0 || slices.ContainsFunc(p.Managers, func(m index.Manager) bool { return m.Moniker().Cluster == cluster })
	return groups, exists
}

// balancersBehind are the services attached to the groups, each with only
// these groups.
func balancersBehind(groups []index.Group) []index.Balancer {
	byObject := map[*index.Object]*index.Balancer{}
	var order []*index.Balancer
	for _, g := range groups {
		for _, service := range g.Attached {
			b := byObject[service]
			if b == nil {
				b = &index.Balancer{Object: service}
				byObject[service] = b
				order = append(order, b)
			}
			b.Groups = append(b.Groups, g)
		}
	}
	out := make([]index.Balancer, 0, len(order))
	for _, b := range order {
		out = append(out, *b)
	}
	slices.SortFunc(out, func(a, b index.Balancer) int { return index.Compare(a.Object, b.Object) })
	return out
}

// NewCluster renders a cluster of an application in one account, with its
// server groups when expand says so; ok is false when it does not exist. The
// part holds the application's groups and managers.
func NewCluster(application string, p index.Part, cluster string, expand bool) (out Cluster, ok bool) {
	groups, exists := members(p, cluster)
	if !exists {
		return Cluster{}, false
	}
	out = Cluster{
		Name: cluster, Type: provider, AccountName: p.Account, Application: application,
		Moniker:      spinnaker.Moniker{App: application, Cluster: cluster},
		ServerGroups: []ServerGroup{}, LoadBalancers: []LoadBalancer{},
	}
	if !expand {
		return out, true
	}
	for _, g := range groups {
		row(g.Object, func() Element {
			out.ServerGroups = append(out.ServerGroups, NewServerGroup(p.Account, g))
			return Element{}
		})
	}
	for _, b := range balancersBehind(groups) {
		row(b.Object, func() Element {
			out.LoadBalancers = append(out.LoadBalancers, NewLoadBalancer(p.Account, b))
			return Element{}
		})
	}
	return out, true
}

// ClusterSummaries renders the clusters of an application in one account by
// names (read-lists.md 2.4).
func ClusterSummaries(application string, p index.Part) []byte {
	var names []string
	for _, g := range p.Groups {
		names = append(names, g.Moniker().Cluster)
	}
	for _, m := range p.Managers {
		names = append(names, m.Moniker().Cluster)
	}
	slices.Sort(names)
	out := []clusterSummary{}
	for _, name := range slices.Compact(names) {
		groups, _ := members(p, name)
		s := clusterSummary{
			Name: name, Account: p.Account, Moniker: spinnaker.Moniker{App: application, Cluster: name},
			LoadBalancers: []string{}, ServerGroups: []string{},
		}
		for _, g := range groups {
			s.ServerGroups = append(s.ServerGroups, g.FullName())
			attached, _ := traffic(g)
			s.LoadBalancers = append(s.LoadBalancers, attached...)
		}
		slices.Sort(s.ServerGroups)
		slices.Sort(s.LoadBalancers)
		s.ServerGroups, s.LoadBalancers = slices.Compact(s.ServerGroups), slices.Compact(s.LoadBalancers)
		out = append(out, s)
	}
	return encode(out)
}

// Members finds the server groups of a cluster, sorted.
func Members(p index.Part, cluster string) []index.Group {
	groups, _ := members(p, cluster)
	return groups
}
