package index

import (
	"time"

	"encoding/binary"
	"unique"

	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// Kind is one kind in one account, shared by its objects.
type Kind struct {
	// Text is Spinnaker's spelling; APIVersion is lower-cased.
	Text, APIVersion string
	Class            spinnaker.Class
}

// Object is one Kubernetes object as far as the views need it. It is never
// changed once it is in the index, but for its place in there.
type Object struct {
	Kind            *Kind
	Namespace, Name string
	UID             string
	version         string
	// Created is the creation time in milliseconds since 1970; 0 for none.
	Created int64
	moniker unique.Handle[spinnaker.Moniker]
	labels  unique.Handle[string]
	owners  unique.Handle[Owner]
	more    []Owner
	hasOwn  bool
	// Stated says that the application and the cluster come from annotations,
	// and Terminating that the object is being deleted.
	Stated, Terminating bool
	row                 int32 // in its kind's table, under the account's lock

	// Of instances:
	Pod PodState

	// Of server groups, nil for others:
	Group *GroupState
	// Of services, nil for others:
	selector []pair
}

// Owner is one owner reference.
type Owner struct {
	Kind, Name, UID string // Kind is the kind text
}

// PodState is the health of a pod.
type PodState struct {
	// HasStatus is false for a pod that has no status at all.
	HasStatus bool
	Phase     Phase
	// containers are the names of the container statuses, each with its length
	// before it and its readiness behind: nearly all pods of a server group share
	// one value.
	containers unique.Handle[string]
}

// Phase is a pod's phase, as far as it matters.
type Phase uint8

// The phases; all others are OtherPhase.
const (
	OtherPhase Phase = iota
	Pending
	Running
)

// Container is one container's readiness.
type Container struct {
	Name  string
	Ready bool
}

// Containers lists the container statuses in the order of the pod.
func (p PodState) Containers() []Container {
	if p.containers == (unique.Handle[string]{}) {
		return nil
	}
	var out []Container
	for encoded := []byte(p.containers.Value()); len(encoded) > 0; {
		// A name may hold any character: its length stands before it.
		length, n := binary.Uvarint(encoded)
		end := n + int(length)
		out = append(out, Container{Name: string(encoded[n:end]), Ready: encoded[end] == '1'})
		encoded = encoded[end+1:]
	}
	return out
}

func encodeContainers(containers []Container) unique.Handle[string] {
	if len(containers) == 0 {
		return unique.Handle[string]{}
	}
	var b []byte
	for _, c := range containers {
		b = binary.AppendUvarint(b, uint64(len(c.Name)))
		b = append(b, c.Name...)
		if c.Ready {
			b = append(b, '1')
		} else {
			b = append(b, '0')
		}
	}
	return unique.Make(string(b))
}

// GroupState is what only server groups have.
type GroupState struct {
	Desired int64
	Images  []string
	// Explicit are the load balancers that the group names itself, as full
	// names.
	Explicit []string
	// Stated by the object, used for its relations:
	template    []pair
	serviceName string
	// packed is the whole manifest of a job.
	packed []byte
}

// pair is one label.
type pair struct{ key, value string }

// Moniker places the object in Spinnaker's naming.
func (o *Object) Moniker() spinnaker.Moniker { return o.moniker.Value() }

// LabelsJSON is the object's labels as a JSON object with sorted keys, "" for
// none.
func (o *Object) LabelsJSON() string {
	if o.labels == (unique.Handle[string]{}) {
		return ""
	}
	return o.labels.Value()
}

// FullName is kind text, space, name.
func (o *Object) FullName() string { return spinnaker.FullName(o.Kind.Text, o.Name) }

// CreatedAt is when it was created, zero when it does not say.
func (o *Object) CreatedAt() time.Time {
	if o.Created == 0 {
		return time.Time{}
	}
	return time.UnixMilli(o.Created)
}

// ResourceVersion is the version that Kubernetes gave the object.
func (o *Object) ResourceVersion() string { return o.version }

// Owner is the first owner; ok is false for none.
func (o *Object) Owner() (w Owner, ok bool) {
	if !o.hasOwn {
		return Owner{}, false
	}
	return o.owners.Value(), true
}

// eachOwner calls f for every owner reference.
func (o *Object) eachOwner(f func(Owner)) {
	if o.hasOwn {
		f(o.owners.Value())
	}
	for _, w := range o.more {
		f(w)
	}
}
