package index

import (
	"encoding/json"
	"errors"

	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// namespaceObject is a namespace of the cluster; only its name matters.
type namespaceObject struct{ name, uid, version string }

func (n namespaceObject) ResourceVersion() string { return n.version }

func decodeNamespace(raw []byte) (watch.Object, error) {
	var w wireObject
	if err := json.Unmarshal(raw, &w); err != nil {
		return nil, err
	}
	if w.Metadata.Name == "" || w.Metadata.ResourceVersion == "" {
		return nil, errors.New("a namespace without name or resourceVersion")
	}
	return namespaceObject{w.Metadata.Name, w.Metadata.UID, w.Metadata.ResourceVersion}, nil
}

// namespaceReceiver keeps the account's list of namespaces.
type namespaceReceiver struct {
	a *Account
	progress
}

func (s *namespaceReceiver) Replace(objects []watch.Object, version string, reset bool) {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	if !reset && s.beyond(version) {
		return
	}
	s.passed = version
	s.a.namespaces = make(map[string]string, len(objects))
	for _, o := range objects {
		n := o.(namespaceObject)
		s.a.namespaces[n.uid] = n.name
	}
}

func (s *namespaceReceiver) Upsert(o watch.Object) {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	if n := o.(namespaceObject); !s.late(n.version) {
		s.a.namespaces[n.uid] = n.name
	}
}

func (s *namespaceReceiver) Delete(o watch.Object) {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	if n := o.(namespaceObject); !s.late(n.version) {
		delete(s.a.namespaces, n.uid)
	}
}

func (s *namespaceReceiver) Passed(string) {}
