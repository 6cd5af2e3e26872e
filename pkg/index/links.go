package index

import (
	"maps"
	"slices"
)

// linker knows which services route to which server groups (read-lists.md
// 1.5). It keeps no pairs: both sides are found through the labels that they
// share, so an event costs the object's own labels.
type linker struct {
	groups   map[label]map[*Object]struct{} // by every label of the pod template
	services map[label]map[*Object]struct{} // by the one selector label that few groups had
	anchors  map[*Object]label
	named    map[place]map[*Object]struct{} // statefulSets by the service they name
	byName   map[place]*Object              // services
}

type label struct {
	namespace string
	pair      pair
}

func newLinker() linker {
	return linker{
		groups: map[label]map[*Object]struct{}{}, services: map[label]map[*Object]struct{}{}, anchors: map[*Object]label{},
		named: map[place]map[*Object]struct{}{}, byName: map[place]*Object{},
	}
}

func insert[K comparable](m map[K]map[*Object]struct{}, key K, o *Object) {
	set := m[key]
	if set == nil {
		set = map[*Object]struct{}{}
		m[key] = set
	}
	set[o] = struct{}{}
}

func discard[K comparable](m map[K]map[*Object]struct{}, key K, o *Object) {
	if set := m[key]; set != nil {
		delete(set, o)
		if len(set) == 0 {
			delete(m, key)
		}
	}
}

func (l *linker) add(o *Object) {
	if o.Group != nil {
		for _, p := range o.Group.template {
			insert(l.groups, label{o.Namespace, p}, o)
		}
		if o.Group.serviceName != "" {
			insert(l.named, place{o.Namespace, o.Group.serviceName}, o)
		}
	}
	if o.Kind.Text == "service" {
		l.byName[place{o.Namespace, o.Name}] = o
		if len(o.selector()) > 0 {
			anchor := l.rarest(o)
			l.anchors[o] = anchor
			insert(l.services, anchor, o)
		}
	}
}

func (l *linker) remove(o *Object) {
	if o.Group != nil {
		for _, p := range o.Group.template {
			discard(l.groups, label{o.Namespace, p}, o)
		}
		discard(l.named, place{o.Namespace, o.Group.serviceName}, o)
	}
	if o.Kind.Text == "service" {
		if l.byName[place{o.Namespace, o.Name}] == o {
			delete(l.byName, place{o.Namespace, o.Name})
		}
		if anchor, ok := l.anchors[o]; ok {
			discard(l.services, anchor, o)
			delete(l.anchors, o)
		}
	}
}

// rarest is the selector label that the fewest server groups have, so that
// few of them are looked at.
func (l *linker) rarest(service *Object) label {
	selector := service.selector()
	best := label{service.Namespace, selector[0]}
	for _, p := range selector[1:] {
		if at := (label{service.Namespace, p}); len(l.groups[at]) < len(l.groups[best]) {
			best = at
		}
	}
	return best
}

// groupsOf returns the server groups behind a load balancer, in no order.
func (l *linker) groupsOf(balancer *Object) []*Object {
	if balancer.Kind.Text != "service" {
		return nil
	}
	found := map[*Object]struct{}{}
	if len(balancer.selector()) > 0 {
		for group := range l.groups[l.rarest(balancer)] {
			if subset(balancer.selector(), group.Group.template) {
				found[group] = struct{}{}
			}
		}
	}
	for group := range l.named[place{balancer.Namespace, balancer.Name}] {
		found[group] = struct{}{}
	}
	return slices.Collect(maps.Keys(found))
}

// balancersOf returns the services that a server group is attached to, in no
// order.
func (l *linker) balancersOf(group *Object) []*Object {
	if group.Group == nil {
		return nil
	}
	found := map[*Object]struct{}{}
	for _, p := range group.Group.template {
		for service := range l.services[label{group.Namespace, p}] {
			if subset(service.selector(), group.Group.template) {
				found[service] = struct{}{}
			}
		}
	}
	if group.Group.serviceName != "" {
		if service := l.byName[place{group.Namespace, group.Group.serviceName}]; service != nil {
			found[service] = struct{}{}
		}
	}
	return slices.Collect(maps.Keys(found))
}

// subset says whether every label of a is in b; both are sorted by key.
func subset(a, b []pair) bool {
	i := 0
	for _, p := range a {
		for i < len(b) && b[i].key < p.key {
			i++
		}
		if i == len(b) || b[i] != p {
			return false
		}
	}
	return true
}
