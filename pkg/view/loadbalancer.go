package view

import (
	"strings"

	"github.com/datapunchorg/go-clouddriver/pkg/index"
)

// NewLoadBalancer renders a load balancer with the server groups behind it.
func NewLoadBalancer(account string, b index.Balancer) LoadBalancer {
	out := LoadBalancer{common: commonOf(account, b.Object), ServerGroups: make([]balancedGroup, 0, len(b.Groups))}
	for _, g := range b.Groups {
		_, disabled := traffic(g)
		group := balancedGroup{
			Name: g.FullName(), Account: account, Region: g.Namespace, CloudProvider: provider, IsDisabled: disabled,
			DetachedInstances: []string{}, Instances: make([]balancedInstance, 0, len(g.Instances)),
		}
		for _, pod := range g.Instances {
			group.Instances = append(group.Instances, balancedInstance{
				ID: pod.UID(), Name: pod.FullName(), Zone: pod.Namespace, Health: mergedHealth(healthOf(pod)),
			})
		}
		out.ServerGroups = append(out.ServerGroups, group)
	}
	return out
}

// mergedHealth is the one health object of an instance behind a load
// balancer. The UI reads its state without a guard, so it is never null.
func mergedHealth(entries []health) any {
	if e := deciding(entries); e != nil {
		return e
	}
	return struct{}{}
}

// LoadBalancers renders the application's load balancers of one account; the
// list over all accounts is in the order of the elements' keys.
func LoadBalancers(p index.Part) []Element {
	out := make([]Element, 0, len(p.Balancers))
	for _, b := range p.Balancers {
		// By lower-case name, then account, then namespace. NUL sorts first.
		key := strings.ToLower(b.FullName()) + "\x00" + p.Account + "\x00" + b.Namespace
		out = append(out, row(b.Object, func() Element { return Element{Key: key, JSON: encode(NewLoadBalancer(p.Account, b))} }))
	}
	return out
}
