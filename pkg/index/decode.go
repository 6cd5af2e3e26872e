package index

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
	"unique"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// wireObject is an object as far as it is used.
type wireObject struct {
	kind *Kind
	walker

	name, namespace, uid, version, created, deleted string
	labels                                          []pair
	annotations                                     map[string]string
	owners                                          []wireOwner

	pod   PodState
	group *GroupState
	job   template // a cron job's
	// selector is a service's.
	selector []pair
}

type wireOwner struct{ apiVersion, kind, name, uid string }

// read reads an object of a kind. The error is for one that is none; odd says of one
// that can be used what is not as its kind has it, and left out: custom kinds may have
// anything for a spec or a status.
func read(kind *Kind, raw []byte) (w *wireObject, odd, err error) {
	w = &wireObject{kind: kind, walker: walker{b: raw}}
	if w.next() != '{' {
		return nil, nil, errJSON
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
	return w, w.odd, err
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
			return w.text("metadata.name", &w.name)
		case "namespace":
			return w.text("metadata.namespace", &w.namespace)
		case "uid":
			return w.text("metadata.uid", &w.uid)
		case "resourceVersion":
			return w.text("metadata.resourceVersion", &w.version)
		case "creationTimestamp":
			return w.text("metadata.creationTimestamp", &w.created)
		case "deletionTimestamp":
			return w.text("metadata.deletionTimestamp", &w.deleted)
		case "labels":
			return w.pairs("metadata.labels", &w.labels)
		case "annotations":
			return w.texts("metadata.annotations", spinnaker.ReadsAnnotation, func(key, value string) {
				if w.annotations == nil {
					w.annotations = map[string]string{}
				}
				w.annotations[key] = value
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
			return w.text(what, &o.apiVersion)
		case "kind":
			return w.text(what, &o.kind)
		case "name":
			return w.text(what, &o.name)
		case "uid":
			return w.text(what, &o.uid)
		}
		return w.skip()
	})
}

// pairs reads labels, sorted by key, each key once.
func (w *walker) pairs(what string, into *[]pair) error {
	var out []pair
	err := w.texts(what, nil, func(key, value string) { out = append(out, pair{key, value}) })
	slices.SortStableFunc(out, func(a, b pair) int { return cmp.Compare(a.key, b.key) })
	slices.Reverse(out) // of a key that comes twice, the last one counts
	out = slices.CompactFunc(out, func(a, b pair) bool { return a.key == b.key })
	slices.Reverse(out)
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
	var phase string
	var containers []Container
	statuses := false
	err := w.object("status", func(key []byte) error {
		switch string(key) {
		case "phase":
			return w.text("status.phase", &phase)
		case "containerStatuses":
			statuses = w.next() == '['
			return w.array("status.containerStatuses", func() error {
				containers = append(containers, Container{})
				return w.container(&containers[len(containers)-1])
			})
		}
		return w.skip()
	})
	if phase == "" && !statuses {
		return err // the API server writes a missing status as an empty one
	}
	w.pod.HasStatus = true
	switch phase {
	case "Pending":
		w.pod.Phase = Pending
	case "Running":
		w.pod.Phase = Running
	}
	w.pod.containers = encodeContainers(containers)
	return err
}

func (w *wireObject) container(c *Container) error {
	const what = "status.containerStatuses[]"
	return w.object(what, func(key []byte) error {
		switch string(key) {
		case "name":
			return w.text(what, &c.Name)
		case "ready":
			return w.truth(what, &c.Ready)
		}
		return w.skip()
	})
}

func (w *wireObject) serviceSpec() error {
	var kind string
	err := w.object("spec", func(key []byte) error {
		switch string(key) {
		case "type":
			return w.text("spec.type", &kind)
		case "selector":
			return w.pairs("spec.selector", &w.selector)
		}
		return w.skip()
	})
	if kind == "ExternalName" {
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

func (w *walker) template(t *template) error {
	return w.object("", func(key []byte) error {
		switch string(key) {
		case "metadata":
			return w.inside("labels", func() error { return w.pairs("", &t.labels) })
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

func (w *walker) images(into *[]string) error {
	return w.array("", func() error {
		return w.inside("image", func() error {
			var image string
			err := w.text("", &image)
			*into = append(*into, image)
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

// decoder returns the decode function of one kind.
func (a *Account) decoder(kind *Kind) watch.Decode {
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
			a.keep(o, raw)
		}
		return o, err
	}
}

func objectDecoder(a *account.Account, kind *Kind) watch.Decode {
	return func(raw []byte) (watch.Object, error) {
		w, odd, err := read(kind, raw)
		if err != nil {
			return nil, err
		}
		if w.name == "" || w.uid == "" || w.version == "" {
			return nil, errors.New("an object without name, uid or resourceVersion")
		}
		if !a.AllowsNamespace(w.namespace) {
			return nil, nil
		}
		o := newObject(kind, w)
		moniker := spinnaker.MonikerOf(kind.Text, w.name, w.annotations, a.DeriveNames)
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

func newObject(kind *Kind, w *wireObject) *Object {
	o := &Object{
		Kind: kind, Namespace: w.namespace, Name: w.name, version: w.version, labels: labelsJSON(w.labels),
		Pod: w.pod, Terminating: w.deleted != "",
	}
	o.setUID(w.uid)
	if len(w.selector) > 0 {
		o.some().selector = w.selector
	}
	if kind.Class == spinnaker.ServerGroups {
		o.Group = w.grouped()
		o.Group.Explicit = spinnaker.ExplicitLoadBalancers(w.annotations)
	}
	if t, err := time.Parse(time.RFC3339, w.created); err == nil {
		o.Created = t.UnixMilli()
	}
	for i, ref := range w.owners {
		group, _, found := strings.Cut(ref.apiVersion, "/")
		if !found {
			group = ""
		}
		owner := Owner{Kind: spinnaker.KindText(group, ref.kind), Name: ref.name, UID: ref.uid}
		if i == 0 {
			o.owners = unique.Make(owner)
		} else {
			o.some().more = append(o.some().more, owner)
		}
	}
	return o
}

func labelsJSON(labels []pair) unique.Handle[string] {
	if len(labels) == 0 {
		return unique.Handle[string]{}
	}
	encoded := []byte{'{'}
	for i, l := range labels {
		if i > 0 {
			encoded = append(encoded, ',')
		}
		encoded = appendQuoted(encoded, l.key)
		encoded = append(encoded, ':')
		encoded = appendQuoted(encoded, l.value)
	}
	return unique.Make(string(append(encoded, '}')))
}

// appendQuoted appends a text as JSON.
func appendQuoted(to []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			encoded, _ := json.Marshal(text) // strings always encode
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
