package index

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
	"unique"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// wireObject is an object as far as it is used. Its texts are parts of the JSON: what
// is kept of them is copied.
type wireObject struct {
	kind *Kind
	walker

	name, namespace, uid, version, created, deleted []byte
	labels                                          []wirePair
	annotations                                     map[string]string
	owners                                          []wireOwner

	pod   PodState
	group *GroupState
	job   template // a cron job's
	// selector is a service's.
	selector []pair

	pairs   []wirePair // of another object of texts
	encoded []byte
	common  commons
}

type wireOwner struct{ apiVersion, kind, name, uid []byte }

// wirePair is one label.
type wirePair struct{ key, value []byte }

// wireObjects are those that nobody reads into. A list makes as many as decoders read
// it, and not as many as it has objects.
var wireObjects = sync.Pool{New: func() any { return &wireObject{annotations: map[string]string{}} }}

// take is an object that is read into until it is left.
func take(kind *Kind, raw []byte) *wireObject {
	w := wireObjects.Get().(*wireObject)
	w.kind, w.walker = kind, walker{b: raw}
	return w
}

// leave gives it back: nothing of it may be used any more, and it keeps nothing of the
// JSON.
func (w *wireObject) leave() {
	clear(w.labels[:cap(w.labels)])
	clear(w.owners[:cap(w.owners)])
	clear(w.pairs[:cap(w.pairs)])
	clear(w.annotations)
	*w = wireObject{labels: w.labels[:0], annotations: w.annotations, owners: w.owners[:0], pairs: w.pairs[:0], encoded: w.encoded[:0], common: w.common}
	wireObjects.Put(w)
}

// read reads the object. The error is for one that is none; odd says of one that can
// be used what is not as its kind has it, and left out: custom kinds may have anything
// for a spec or a status.
func (w *wireObject) read() (odd, err error) {
	if w.next() != '{' {
		return nil, errJSON
	}
	var bad error
	err = w.object("it", func(key []byte) error {
		switch string(key) {
		case "metadata":
			before := w.odd
			w.odd = nil
			if err := w.metadata(); err != nil {
				return err
			}
			if bad == nil {
				bad = w.odd
			}
			w.odd = before
			return nil
		case "spec":
			return w.spec()
		case "status":
			return w.status()
		}
		return w.skip()
	})
	if err == nil {
		err = bad
	}
	return w.odd, err
}

// identity is which object in which version some JSON is, as it stands there.
type identity struct{ name, namespace, uid, version []byte }

// errEnough ends reading an object of which nothing more is asked.
var errEnough = errors.New("the rest does not matter")

// identify reads no more than that; ok is false where it is not plain.
func identify(raw []byte) (out identity, ok bool) {
	w := walker{b: raw}
	if w.next() != '{' {
		return out, false
	}
	plain := func(into *[]byte) error {
		text, err := w.raw()
		if err != nil {
			return err
		}
		if *into = text[1 : len(text)-1]; bytes.IndexByte(*into, '\\') >= 0 {
			return errJSON
		}
		return nil
	}
	err := w.object("it", func(key []byte) error {
		if string(key) != "metadata" {
			return w.skip()
		}
		err := w.object("metadata", func(key []byte) error {
			switch string(key) {
			case "name":
				return plain(&out.name)
			case "namespace":
				return plain(&out.namespace)
			case "uid":
				return plain(&out.uid)
			case "resourceVersion":
				return plain(&out.version)
			}
			return w.skip()
		})
		if err != nil {
			return err
		}
		return errEnough
	})
	return out, errors.Is(err, errEnough) && len(out.name) > 0 && len(out.uid) > 0 && len(out.version) > 0
}

// metadata is read into few fields: everything else is skipped, not built.
func (w *wireObject) metadata() error {
	return w.object("metadata", func(key []byte) error {
		switch string(key) {
		case "name":
			return w.bytes("metadata.name", &w.name)
		case "namespace":
			return w.bytes("metadata.namespace", &w.namespace)
		case "uid":
			return w.bytes("metadata.uid", &w.uid)
		case "resourceVersion":
			return w.bytes("metadata.resourceVersion", &w.version)
		case "creationTimestamp":
			return w.bytes("metadata.creationTimestamp", &w.created)
		case "deletionTimestamp":
			return w.bytes("metadata.deletionTimestamp", &w.deleted)
		case "labels":
			return w.sorted("metadata.labels", &w.labels)
		case "annotations":
			return w.texts("metadata.annotations", spinnaker.ReadsAnnotation, func(key, value []byte) {
				w.annotations[w.common.text(key)] = w.common.text(value)
			})
		case "ownerReferences":
			return w.array("metadata.ownerReferences", w.owner)
		}
		return w.skip()
	})
}

func (w *wireObject) owner() error {
	w.owners = append(w.owners, wireOwner{})
	o := &w.owners[len(w.owners)-1]
	const what = "metadata.ownerReferences[]"
	return w.object(what, func(key []byte) error {
		switch string(key) {
		case "apiVersion":
			return w.bytes(what, &o.apiVersion)
		case "kind":
			return w.bytes(what, &o.kind)
		case "name":
			return w.bytes(what, &o.name)
		case "uid":
			return w.bytes(what, &o.uid)
		}
		return w.skip()
	})
}

// sorted reads labels, sorted by key, each key once.
func (w *walker) sorted(what string, into *[]wirePair) error {
	out := (*into)[:0]
	err := w.texts(what, nil, func(key, value []byte) { out = append(out, wirePair{key, value}) })
	order := func(a, b wirePair) int { return bytes.Compare(a.key, b.key) }
	slices.SortStableFunc(out, order) // as it comes from Kubernetes
	last := 0
	for i := range out { // of a key that comes twice, the last one counts
		if last > 0 && order(out[last-1], out[i]) == 0 {
			last--
		}
		out[last] = out[i]
		last++
	}
	*into = out[:last]
	return err
}

// labelled reads labels that are kept: they are parts of one text.
func (w *wireObject) labelled(what string, into *[]pair) error {
	err := w.sorted(what, &w.pairs)
	*into = nil
	if len(w.pairs) == 0 {
		return err
	}
	w.encoded = w.encoded[:0]
	for _, p := range w.pairs {
		w.encoded = append(w.encoded, p.key...)
		w.encoded = append(w.encoded, p.value...)
	}
	text, out := string(w.encoded), make([]pair, 0, len(w.pairs))
	for _, p := range w.pairs {
		key, value := len(p.key), len(p.key)+len(p.value)
		out = append(out, pair{text[:key], text[key:value]})
		text = text[value:]
	}
	*into = out
	return err
}

func (w *wireObject) spec() error {
	switch {
	case w.kind.Class == spinnaker.ServerGroups:
		return w.groupSpec()
	case w.kind.Text == "service":
		return w.serviceSpec()
	}
	return w.skip()
}

func (w *wireObject) status() error {
	switch w.kind.Text {
	case "pod":
		return w.podStatus()
	case "daemonSet":
		return w.object("status", func(key []byte) error {
			if string(key) == "desiredNumberScheduled" {
				return w.number(&w.grouped().Desired)
			}
			return w.skip()
		})
	}
	if w.kind.Class == spinnaker.ServerGroups {
		return w.object("status", func([]byte) error { return w.skip() })
	}
	return w.skip()
}

func (w *wireObject) podStatus() error {
	var phase []byte
	var room [4]wireContainer // nearly no pod has more
	containers := room[:0]
	statuses := false
	err := w.object("status", func(key []byte) error {
		switch string(key) {
		case "phase":
			return w.bytes("status.phase", &phase)
		case "containerStatuses":
			statuses = w.next() == '['
			return w.array("status.containerStatuses", func() error {
				containers = append(containers, wireContainer{})
				return w.container(&containers[len(containers)-1])
			})
		}
		return w.skip()
	})
	if len(phase) == 0 && !statuses {
		return err // the API server writes a missing status as an empty one
	}
	w.healthOf(phase, containers)
	return err
}

// healthOf takes in a status that is there.
func (w *wireObject) healthOf(phase []byte, containers []wireContainer) {
	w.pod.HasStatus = true
	switch string(phase) {
	case "Pending":
		w.pod.Phase = Pending
	case "Running":
		w.pod.Phase = Running
	}
	w.encoded = encodeContainers(w.encoded[:0], containers)
	w.pod.containers = w.common.handle(w.encoded)
}

type wireContainer struct {
	name  []byte
	ready bool
}

func (w *wireObject) container(c *wireContainer) error {
	const what = "status.containerStatuses[]"
	return w.object(what, func(key []byte) error {
		switch string(key) {
		case "name":
			return w.bytes(what, &c.name)
		case "ready":
			return w.truth(what, &c.ready)
		}
		return w.skip()
	})
}

func (w *wireObject) serviceSpec() error {
	var kind []byte
	err := w.object("spec", func(key []byte) error {
		switch string(key) {
		case "type":
			return w.bytes("spec.type", &kind)
		case "selector":
			return w.labelled("spec.selector", &w.selector)
		}
		return w.skip()
	})
	if string(kind) == "ExternalName" {
		w.selector = nil
	}
	return err
}

func (w *wireObject) grouped() *GroupState {
	if w.group == nil {
		w.group = &GroupState{}
	}
	return w.group
}

// groupSpec reads a server group of any kind. The fields of custom kinds may have any
// type: one of another type than is looked for is as good as none.
func (w *wireObject) groupSpec() error {
	g := w.grouped()
	var direct template
	err := w.object("spec", func(key []byte) error {
		odd := w.odd
		defer func() { w.odd = odd }()
		switch string(key) {
		case "replicas":
			if w.kind.Text != "daemonSet" {
				return w.number(&g.Desired)
			}
		case "serviceName":
			if w.kind.Text == "statefulSet" {
				return w.text("", &g.serviceName)
			}
		case "template":
			return w.template(&direct)
		case "jobTemplate":
			return w.inside("spec", func() error { return w.inside("template", func() error { return w.template(&w.job) }) })
		}
		return w.skip()
	})
	if w.kind.Text == "replicaSet" || w.kind.Text == "statefulSet" {
		g.template = direct.labels
	}
	g.Images = distinct(direct.images, w.job.images, direct.first, w.job.first)
	return err
}

// inside reads one field of an object.
func (w *walker) inside(field string, read func() error) error {
	return w.object("", func(key []byte) error {
		if string(key) == field {
			return read()
		}
		return w.skip()
	})
}

// template is that of pods: first are the images of its init containers.
type template struct {
	labels        []pair
	images, first []string
}

func (w *wireObject) template(t *template) error {
	return w.object("", func(key []byte) error {
		switch string(key) {
		case "metadata":
			return w.inside("labels", func() error { return w.labelled("", &t.labels) })
		case "spec":
			return w.object("", func(key []byte) error {
				switch string(key) {
				case "containers":
					return w.images(&t.images)
				case "initContainers":
					return w.images(&t.first)
				}
				return w.skip()
			})
		}
		return w.skip()
	})
}

func (w *wireObject) images(into *[]string) error {
	return w.array("", func() error {
		return w.inside("image", func() error {
			var image []byte
			err := w.bytes("", &image)
			*into = append(*into, w.common.text(image))
			return err
		})
	})
}

// distinct are the images of all containers, and then those of all init containers,
// without repetition (read-lists.md 2.6).
func distinct(lists ...[]string) (out []string) {
	for _, list := range lists {
		for _, image := range list {
			if image != "" && !slices.Contains(out, image) {
				out = append(out, image)
			}
		}
	}
	return out
}

// decoder returns the decode function of one kind; first says whether what is decoded
// is of its first list.
func (a *Account) decoder(kind *Kind, first func() bool) watch.Decode {
	decode := objectDecoder(a.account, kind)
	switch {
	case a.index.payloads == nil, kind.Class == spinnaker.Configs, kind.Class == spinnaker.Unclassified:
		return decode // the content of secrets is never kept
	case kind.Class == spinnaker.Instances:
		return decode // of pods there are many, and hardly anybody asks for one
	}
	return func(raw []byte) (watch.Object, error) {
		o, err := decode(raw)
		if o, ok := o.(*Object); ok {
			a.keep(o, raw, first())
		}
		return o, err
	}
}

func objectDecoder(a *account.Account, kind *Kind) watch.Decode {
	return func(raw []byte) (watch.Object, error) {
		w := take(kind, raw)
		defer w.leave()
		odd, err := w.read()
		if err != nil {
			return nil, err
		}
		if len(w.name) == 0 || len(w.uid) == 0 || len(w.version) == 0 {
			return nil, errors.New("an object without name, uid or resourceVersion")
		}
		if !a.AllowsNamespace(w.common.text(w.namespace)) {
			return nil, nil
		}
		o := w.made()
		moniker := spinnaker.MonikerOf(kind.Text, o.Name, w.annotations, a.DeriveNames)
		o.Stated = w.annotations[spinnaker.AnnotationApplication] != "" && w.annotations[spinnaker.AnnotationCluster] != ""
		o.moniker = unique.Make(moniker)
		if spinnaker.Ignored(w.annotations) || (!a.DeriveNames && moniker.App == "") {
			return hidden{o}, nil
		}
		return o, odd
	}
}

// hidden is an object that no view may show. It still takes part in the
// order of versions: it ends whatever was known under its name.
type hidden struct{ *Object }

// made is the object that was read.
func (w *wireObject) made() *Object {
	o := &Object{
		Kind: w.kind, Namespace: w.common.text(w.namespace), Name: string(w.name), labels: w.labelsJSON(), Terminating: len(w.deleted) > 0,
		hasStatus: w.pod.HasStatus, phase: w.pod.Phase, containers: w.pod.containers,
	}
	o.setVersion(w.version)
	o.setUID(w.uid)
	if len(w.selector) > 0 {
		o.some().selector = w.selector
	}
	if w.kind.Class == spinnaker.ServerGroups {
		o.Group = w.grouped()
		o.Group.Explicit = spinnaker.ExplicitLoadBalancers(w.annotations)
	}
	if t, err := time.Parse(time.RFC3339, string(w.created)); err == nil {
		o.Created = t.UnixMilli()
	}
	for i := range w.owners {
		owner := w.common.owner(&w.owners[i])
		if i == 0 {
			o.owner = owner
		} else {
			o.some().more = append(o.some().more, *owner)
		}
	}
	return o
}

func (w *wireObject) labelsJSON() unique.Handle[string] {
	if len(w.labels) == 0 {
		return unique.Handle[string]{}
	}
	w.encoded = append(w.encoded[:0], '{')
	for i, l := range w.labels {
		if i > 0 {
			w.encoded = append(w.encoded, ',')
		}
		w.encoded = appendQuoted(w.encoded, l.key)
		w.encoded = append(w.encoded, ':')
		w.encoded = appendQuoted(w.encoded, l.value)
	}
	w.encoded = append(w.encoded, '}')
	return w.common.handle(w.encoded)
}

// appendQuoted appends a text as JSON.
func appendQuoted(to, text []byte) []byte {
	for _, c := range text {
		if c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			encoded, _ := json.Marshal(string(text)) // strings always encode
			return append(to, encoded...)
		}
	}
	to = append(to, '"')
	to = append(to, text...)
	return append(to, '"')
}

// kindOf describes a served kind for one account; ok is false when no view
// shows it.
func kindOf(a *account.Account, r cluster.Resource) (*Kind, bool) {
	text := r.KindText()
	class, ok := a.Class(text)
	if !ok && a.Held.Asks(text) {
		class, ok = spinnaker.Unclassified, true
	}
	if !ok || !a.AllowsKind(text) || a.Held.Leaves(text) {
		return nil, false
	}
	switch class {
	case spinnaker.ServerGroups, spinnaker.ServerGroupManagers, spinnaker.LoadBalancers, spinnaker.SecurityGroups, spinnaker.Instances:
	case spinnaker.Configs, spinnaker.Unclassified:
		// Events are many and no part of an application, and namespaces are
		// followed by themselves.
		related := a.AllRelationships && text != namespaceKind
		if text == "event" || !related && !a.Held.Asks(text) {
			return nil, false
		}
	default:
		return nil, false
	}
	return &Kind{Text: text, APIVersion: strings.ToLower(r.APIVersion()), Class: class}, true
}
