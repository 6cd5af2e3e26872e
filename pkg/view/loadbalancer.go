package view

import (
	"bytes"
	"slices"
	"strings"

	"github.com/datapunchorg/go-clouddriver/pkg/index"
)

// NewLoadBalancer renders a load balancer with the server groups behind it.
func NewLoadBalancer(account string, b index.Balancer) LoadBalancer {
	out := LoadBalancer{common: commonOf(account, b.Object), ServerGroups: make([]balancedGroup, 0, len(b.Groups))}
	for _, g := range b.Groups {
		group := newBalancedGroup(account, g)
		group.Instances = make([]balancedInstance, 0, len(g.Instances))
		for _, pod := range g.Instances {
			group.Instances = append(group.Instances, balancedInstance{
				ID: pod.UID(), Name: pod.FullName(), Zone: pod.Namespace, Health: mergedHealth(healthOf(pod)),
			})
		}
		out.ServerGroups = append(out.ServerGroups, group)
	}
	return out
}

// newBalancedGroup is a server group behind a load balancer, without its instances.
func newBalancedGroup(account string, g index.Group) balancedGroup {
	_, disabled := traffic(g)
	return balancedGroup{
		Name: g.FullName(), Account: account, Region: g.Namespace, CloudProvider: provider, IsDisabled: disabled,
		DetachedInstances: []string{}, Instances: []balancedInstance{},
	}
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
	behind := balancedGroups{account: p.Account, made: map[*index.Object]span{}, text: encoding.Get().(*bytes.Buffer)}
	defer encoding.Put(behind.text)
	behind.text.Reset()
	for _, b := range p.Balancers {
		// By lower-case name, then account, then namespace. NUL sorts first.
		key := strings.ToLower(b.FullName()) + "\x00" + p.Account + "\x00" + b.Namespace
		out = append(out, row(b.Object, func() Element { return Element{Key: key, JSON: behind.balancer(b)} }))
	}
	return out
}

// balancedGroups writes load balancers of an account. This is the list with the most
// in it, every pod once for each load balancer: a server group is written once for all
// that it is behind, and its instances without reflection.
type balancedGroups struct {
	account string
	made    map[*index.Object]span
	text    *bytes.Buffer // what is made
}

// span is a part of a text.
type span struct{ from, to int }

// balancer is what encode writes of NewLoadBalancer.
func (w *balancedGroups) balancer(b index.Balancer) []byte {
	groups := make([]span, 0, len(b.Groups))
	size := len(end)
	for _, g := range b.Groups {
		is := w.group(g)
		groups = append(groups, is)
		size += is.to - is.from + len(",")
	}
	out := opened(encode(LoadBalancer{common: commonOf(w.account, b.Object), ServerGroups: []balancedGroup{}}))
	out = slices.Grow(out, size)
	for i, is := range groups {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, w.text.Bytes()[is.from:is.to]...)
	}
	return append(out, end...)
}

func (w *balancedGroups) group(g index.Group) span {
	if is, ok := w.made[g.Object]; ok {
		return is
	}
	is := span{from: w.text.Len()}
	w.text.Write(opened(encode(newBalancedGroup(w.account, g))))
	for i, pod := range g.Instances {
		if i > 0 {
			w.text.WriteByte(',')
		}
		w.text.Write(appendInstance(w.text.AvailableBuffer(), pod))
	}
	w.text.WriteString(end)
	is.to = w.text.Len()
	w.made[g.Object] = is
	return is
}

// appendInstance writes what encode writes of a balancedInstance.
func appendInstance(out []byte, pod *index.Object) []byte {
	out = append(out, `{"id":`...)
	out = quote(out, pod.UID())
	out = append(out, `,"name":`...)
	out = quote(out, pod.FullName())
	out = append(out, `,"zone":`...)
	out = quote(out, pod.Namespace)
	out = append(out, `,"health":`...)
	out = append(out, healths.of(pod.Pod()).merged...)
	return append(out, '}')
}

// end is that of an object whose last member is an array, as LoadBalancer and
// balancedGroup are.
const end = "]}"

// opened is such an object, whose array is empty, as far as its elements.
func opened(object []byte) []byte { return bytes.TrimSuffix(object, []byte(end)) }
