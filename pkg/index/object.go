package index

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"
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
	uid             [uidBytes]byte
	version         string
	// Created is the creation time in milliseconds since 1970; 0 for none.
	Created int64
	moniker unique.Handle[spinnaker.Moniker]
	labels  unique.Handle[string]
	owners  unique.Handle[Owner]
	// Stated says that the application and the cluster come from annotations,
	// and Terminating that the object is being deleted.
	Stated, Terminating bool
	row                 int32 // in its kind's table, under the account's lock

	// Of instances:
	Pod PodState

	// Of server groups, nil for others:
	Group *GroupState
	// rare is what few objects have, nil for none of it.
	rare *rare
}

// rare is what few objects have.
type rare struct {
	uid      string  // one that is not as Kubernetes makes them
	more     []Owner // beside the first one
	selector []pair  // of a service
}

const uidBytes = 16

// setUID keeps a UID in fewer bytes than its text has, where it is written as
// Kubernetes writes them.
func (o *Object) setUID(text string) {
	if !packUID(text, &o.uid) {
		o.uid = [uidBytes]byte{}
		o.some().uid = text
	}
}

// packUID reads a UID like 01234567-89ab-cdef-0123-456789abcdef.
func packUID[T string | []byte](text T, into *[uidBytes]byte) bool {
	const length, digits = 36, "0123456789abcdef"
	if len(text) != length {
		return false
	}
	n := 0
	for i := range length {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if text[i] != '-' {
				return false
			}
			continue
		}
		digit := strings.IndexByte(digits, text[i])
		if digit < 0 {
			return false
		}
		into[n/2] = into[n/2]<<4 | byte(digit)
		n++
	}
	return true
}

// UID is the object's.
func (o *Object) UID() string {
	if o.rare != nil && o.rare.uid != "" {
		return o.rare.uid
	}
	u := o.uid
	out := make([]byte, 0, 36)
	for _, part := range [][]byte{u[:4], u[4:6], u[6:8], u[8:10], u[10:]} {
		if len(out) > 0 {
			out = append(out, '-')
		}
		out = hex.AppendEncode(out, part)
	}
	return string(out)
}

// sameUID says whether both are one object.
func sameUID(a, b *Object) bool {
	return a.uid == b.uid && a.oddUID() == b.oddUID()
}

// hasUID says whether a UID is the object's.
func (o *Object) hasUID(text []byte) bool {
	if odd := o.oddUID(); odd != "" {
		return odd == string(text)
	}
	var uid [uidBytes]byte
	return packUID(text, &uid) && uid == o.uid
}

func (o *Object) oddUID() string {
	if o.rare == nil {
		return ""
	}
	return o.rare.uid
}

func (o *Object) some() *rare {
	if o.rare == nil {
		o.rare = &rare{}
	}
	return o.rare
}

// selector is that of a service.
func (o *Object) selector() []pair {
	if o.rare == nil {
		return nil
	}
	return o.rare.selector
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
	if o.owners == (unique.Handle[Owner]{}) {
		return Owner{}, false
	}
	return o.owners.Value(), true
}

// eachOwner calls f for every owner reference.
func (o *Object) eachOwner(f func(Owner)) {
	if first, ok := o.Owner(); ok {
		f(first)
	}
	if o.rare == nil {
		return
	}
	for _, w := range o.rare.more {
		f(w)
	}
}
