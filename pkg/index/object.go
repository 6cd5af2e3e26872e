package index

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
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
// changed once it is in the index, but for its place in there. There are a million
// of them: each byte, and each pointer that the garbage collector follows, counts.
type Object struct {
	Kind            *Kind
	Namespace, Name string
	uid             uid
	version         uint64 // 0 for one that is no number
	// Created is the creation time in milliseconds since 1970; 0 for none.
	Created int64
	moniker unique.Handle[spinnaker.Moniker]
	labels  unique.Handle[string]
	owner   *Owner // the first one, nil for none
	// Stated says that the application and the cluster come from annotations,
	// and Terminating that the object is being deleted.
	Stated, Terminating bool
	// Of instances, as is containers.
	hasStatus bool
	phase     Phase

	row        int32 // in its kind's table, under the account's lock
	containers unique.Handle[string]
	// Group is what server groups have, nil for others.
	Group *GroupState
	// rare is what few objects have, nil for none of it.
	rare *rare
}

// rare is what few objects have.
type rare struct {
	uid, version string  // those that are not as Kubernetes makes them
	more         []Owner // beside the first one
	selector     []pair  // of a service
}

const uidBytes = 16

// uid is a UID in fewer bytes than its text has.
type uid [uidBytes]byte

// uidOf stands for a UID, however it is written.
func uidOf(text string) (out uid) {
	if !packUID(text, &out) {
		sum := sha256.Sum256([]byte(text))
		copy(out[:], sum[:])
	}
	return out
}

// key stands for the object's UID.
func (o *Object) key() uid {
	if odd := o.oddUID(); odd != "" {
		return uidOf(odd)
	}
	return o.uid
}

// setUID keeps a UID in fewer bytes than its text has, where it is written as
// Kubernetes writes them.
func (o *Object) setUID(text []byte) {
	if !packUID(text, &o.uid) {
		o.uid = uid{}
		o.some().uid = string(text)
	}
}

// setVersion keeps a version as a number where it is one.
func (o *Object) setVersion(text []byte) {
	if o.version = versionOf(text); o.version == 0 {
		o.some().version = string(text)
	}
}

// versionOf reads a version as Kubernetes writes them, 0 for another one.
func versionOf[T string | []byte](text T) uint64 {
	const most = 19 // digits that always fit
	if len(text) == 0 || len(text) > most || text[0] == '0' {
		return 0
	}
	n := uint64(0)
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return 0
		}
		n = 10*n + uint64(text[i]-'0')
	}
	return n
}

// packUID reads a UID like 01234567-89ab-cdef-0123-456789abcdef.
func packUID[T string | []byte](text T, into *uid) bool {
	const length = 36
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
		digit := digits[text[i]]
		if digit == 0 {
			return false
		}
		into[n/2] = into[n/2]<<4 | (digit - 1)
		n++
	}
	return true
}

// digits are the hexadecimal ones with their values, each one up.
var digits = func() (out [256]byte) {
	for value, digit := range []byte("0123456789abcdef") {
		out[digit] = byte(value) + 1
	}
	return out
}()

// UID is the object's.
func (o *Object) UID() string {
	if o.rare != nil && o.rare.uid != "" {
		return o.rare.uid
	}
	var out [36]byte
	hex.Encode(out[:8], o.uid[:4])
	hex.Encode(out[9:13], o.uid[4:6])
	hex.Encode(out[14:18], o.uid[6:8])
	hex.Encode(out[19:23], o.uid[8:10])
	hex.Encode(out[24:], o.uid[10:])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return string(out[:])
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
	var packed uid
	return packUID(text, &packed) && packed == o.uid
}

func (o *Object) oddUID() string {
	if o.rare == nil {
		return ""
	}
	return o.rare.uid
}

// ResourceVersion is the version that Kubernetes gave the object.
func (o *Object) ResourceVersion() string {
	if o.version == 0 && o.rare != nil {
		return o.rare.version
	}
	return strconv.FormatUint(o.version, 10)
}

// newer says whether the object is of a higher version than another one. What cannot
// be compared is not newer, so that the last word of the cluster counts.
func (o *Object) newer(than *Object) bool {
	if o.version != 0 && than.version != 0 {
		return o.version > than.version
	}
	return newer(o.ResourceVersion(), than.ResourceVersion())
}

// newerThan compares it with a version.
func (o *Object) newerThan(version string) bool {
	if n := versionOf(version); n != 0 && o.version != 0 {
		return o.version > n
	}
	return newer(o.ResourceVersion(), version)
}

// hasVersion says whether a version is the object's.
func (o *Object) hasVersion(text []byte) bool {
	if o.version != 0 {
		return o.version == versionOf(text)
	}
	return o.ResourceVersion() == string(text)
}

func (o *Object) sameVersion(as *Object) bool {
	return o.version == as.version && (o.version != 0 || o.ResourceVersion() == as.ResourceVersion())
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
	// key stands for the UID, which is looked for at each change of what it owns.
	key uid
}

func ownerOf(kind, name, uid string) Owner {
	return Owner{Kind: kind, Name: name, UID: uid, key: uidOf(uid)}
}

// Pod is the health of an instance.
func (o *Object) Pod() PodState { return PodState{o.hasStatus, o.phase, o.containers} }

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

func encodeContainers(to []byte, containers []wireContainer) []byte {
	for _, c := range containers {
		to = binary.AppendUvarint(to, uint64(len(c.name)))
		to = append(to, c.name...)
		if c.ready {
			to = append(to, '1')
		} else {
			to = append(to, '0')
		}
	}
	return to
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

// Owner is the first owner; ok is false for none.
func (o *Object) Owner() (w Owner, ok bool) {
	if o.owner == nil {
		return Owner{}, false
	}
	return *o.owner, true
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
