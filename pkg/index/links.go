package index

import "hash/maphash"

// linker knows which services route to which server groups (read-lists.md
// 1.5). It keeps no pairs: both sides are found through the labels that they
// share, so an event costs the object's own labels.
type linker struct {
	groups   map[label]set // by every label of the pod template
	services map[label]set // by the one selector label that few groups had
	anchors  map[*Object]label
	named    map[place]set     // statefulSets by the service they name
	byName   map[place]*Object // services
}

// label stands for a label in a namespace. Two may be the same by chance: whatever is
// found by one is compared with what is looked for.
type label uint64

var labelSeed = maphash.MakeSeed()

func labelOf(namespace string, p pair) label {
	return label(maphash.Comparable(labelSeed, [3]string{namespace, p.key, p.value}))
}

func newLinker() linker {
	return linker{groups: map[label]set{}, services: map[label]set{}, anchors: map[*Object]label{}, named: map[place]set{}, byName: map[place]*Object{}}
}

func (l *linker) add(o *Object) {
	if o.Group != nil {
		for _, p := range o.Group.template {
			insert(l.groups, labelOf(o.Namespace, p), o)
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
			discard(l.groups, labelOf(o.Namespace, p), o)
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
	best, least := labelOf(service.Namespace, selector[0]), 0
	for i, p := range selector {
		at := labelOf(service.Namespace, p)
		having := l.groups[at]
		if n := having.len(); i == 0 || n < least {
			best, least = at, n
		}
	}
	return best
}

// groupsOf returns the server groups behind a load balancer, in no order.
func (l *linker) groupsOf(balancer *Object) (found []*Object) {
	if balancer.Kind.Text != "service" {
		return nil
	}
	if len(balancer.selector()) > 0 {
		candidates := l.groups[l.rarest(balancer)]
		for group := range candidates.all() {
			if selects(balancer, group) {
				found = append(found, group)
			}
		}
	}
	named := l.named[place{balancer.Namespace, balancer.Name}]
	for group := range named.all() {
		if !selects(balancer, group) {
			found = append(found, group)
		}
	}
	return found
}

// balancersOf returns the services that a server group is attached to, in no
// order.
func (l *linker) balancersOf(group *Object) (found []*Object) {
	if group.Group == nil {
		return nil
	}
	for _, p := range group.Group.template { // each service is found by one label
		candidates := l.services[labelOf(group.Namespace, p)]
		for service := range candidates.all() {
			if selects(service, group) {
				found = append(found, service)
			}
		}
	}
	if group.Group.serviceName != "" {
		service := l.byName[place{group.Namespace, group.Group.serviceName}]
		if service != nil && !selects(service, group) {
			found = append(found, service)
		}
	}
	return found
}

// selects says whether a service's selector names a server group.
func selects(service, group *Object) bool {
	return len(service.selector()) > 0 && service.Namespace == group.Namespace && subset(service.selector(), group.Group.template)
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
