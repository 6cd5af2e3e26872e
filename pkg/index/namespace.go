package index

import (
	"errors"
	"maps"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// namespaceObject is a namespace of the cluster; only its name matters.
type namespaceObject struct{ name, uid, version string }

func (n namespaceObject) ResourceVersion() string { return n.version }

func decodeNamespace(raw []byte) (watch.Object, error) {
	w := take(&Kind{}, raw)
	defer w.leave()
	if _, err := w.read(); err != nil {
		return nil, err
	}
	if len(w.name) == 0 || len(w.version) == 0 {
		return nil, errors.New("a namespace without name or resourceVersion")
	}
	return namespaceObject{string(w.name), string(w.uid), string(w.version)}, nil
}

// namespaceReceiver keeps the account's list of namespaces.
type namespaceReceiver struct {
	a        *Account
	resource cluster.Resource
	from     *watch.Stream
	progress
}

func (s *namespaceReceiver) Replace(objects []watch.Object, version string, reset bool) {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	s.replace(objects, version, reset)
}

func (s *namespaceReceiver) replace(objects []watch.Object, version string, reset bool) {
	if !reset && (s.void || s.beyond(version)) {
		return
	}
	s.passed, s.void = version, false
	listed := make(map[string]string, len(objects))
	for _, o := range objects {
		n := o.(namespaceObject)
		listed[n.uid] = n.name
	}
	if !maps.Equal(listed, s.a.namespaces) {
		s.a.namespaces = listed
		s.a.index.renamed()
	}
}

func (s *namespaceReceiver) Upsert(o watch.Object) {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	s.upsert(o.(namespaceObject))
}

func (s *namespaceReceiver) upsert(n namespaceObject) {
	if !s.late(n.version) && s.a.namespaces[n.uid] != n.name {
		s.a.namespaces[n.uid] = n.name
		s.a.index.renamed()
	}
}

func (s *namespaceReceiver) Delete(o watch.Object) {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	s.remove(o.(namespaceObject))
}

func (s *namespaceReceiver) remove(n namespaceObject) {
	if !s.late(n.version) {
		delete(s.a.namespaces, n.uid)
		s.a.index.renamed()
	}
}

func (s *namespaceReceiver) Passed(version string) {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	s.late(version)
}

// named is a namespace twice over: in the account's list, and as an object, nil
// where that is not shown.
type named struct {
	namespaceObject
	object watch.Object
}

// decodeTwice decodes namespaces that are objects, too.
func decodeTwice(decode watch.Decode) watch.Decode {
	return func(raw []byte) (watch.Object, error) {
		listed, err := decodeNamespace(raw)
		if err != nil {
			return nil, err
		}
		object, odd := decode(raw)
		return named{listed.(namespaceObject), object}, odd
	}
}

// twoReceivers pass a namespace on to the account's list and to the objects, to both at
// once: nobody sees one without the other.
type twoReceivers struct {
	list    *namespaceReceiver
	objects *receiver
}

// Replace implements watch.Receiver.
func (t twoReceivers) Replace(all []watch.Object, version string, reset bool) {
	var list, objects []watch.Object
	for _, o := range all {
		one := o.(named)
		list = append(list, one.namespaceObject)
		if one.object != nil {
			objects = append(objects, one.object)
		}
	}
	t.list.a.mu.Lock()
	defer t.list.a.mu.Unlock()
	t.list.replace(list, version, reset)
	t.objects.replace(objects, version, reset)
}

// Upsert implements watch.Receiver.
func (t twoReceivers) Upsert(o watch.Object) {
	one := o.(named)
	t.list.a.mu.Lock()
	defer t.list.a.mu.Unlock()
	t.list.upsert(one.namespaceObject)
	if one.object != nil {
		t.objects.upsert(one.object)
	}
}

// Delete implements watch.Receiver.
func (t twoReceivers) Delete(o watch.Object) {
	one := o.(named)
	t.list.a.mu.Lock()
	defer t.list.a.mu.Unlock()
	t.list.remove(one.namespaceObject)
	if one.object != nil {
		t.objects.remove(one.object)
	}
}

// Passed implements watch.Receiver.
func (t twoReceivers) Passed(version string) {
	t.list.a.mu.Lock()
	defer t.list.a.mu.Unlock()
	t.list.late(version)
	t.objects.pass(version)
}
