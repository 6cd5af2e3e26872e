package index

import (
	"iter"
	"maps"
	"slices"
)

// set is a set of objects. Nearly all have a few, which take no more room than their
// list.
type set struct {
	few  []*Object
	many map[*Object]struct{} // instead, of a larger one
}

// mostFew is how many are looked through faster than a map is asked.
const mostFew = 64

func (s *set) add(o *Object) {
	switch {
	case s.many != nil:
		s.many[o] = struct{}{}
	case slices.Contains(s.few, o):
	case len(s.few) < mostFew:
		s.few = append(s.few, o)
	default:
		s.many = make(map[*Object]struct{}, 2*mostFew)
		for _, one := range s.few {
			s.many[one] = struct{}{}
		}
		s.many[o] = struct{}{}
		s.few = nil
	}
}

func (s *set) remove(o *Object) {
	if s.many != nil {
		delete(s.many, o)
		if len(s.many) == 0 {
			s.many = nil
		}
		return
	}
	at := slices.Index(s.few, o)
	if at < 0 {
		return
	}
	last := len(s.few) - 1
	s.few[at], s.few[last] = s.few[last], nil
	s.few = s.few[:last]
}

func (s *set) len() int { return len(s.few) + len(s.many) }

// all are the objects, in no order.
func (s *set) all() iter.Seq[*Object] {
	if s.many != nil {
		return maps.Keys(s.many)
	}
	return slices.Values(s.few)
}

// inOrder are the objects as the views want them.
func (s *set) inOrder() []*Object {
	out := slices.AppendSeq(make([]*Object, 0, s.len()), s.all())
	slices.SortFunc(out, Compare)
	return out
}

// insert adds an object to the set under a key.
func insert[K comparable](m map[K]set, key K, o *Object) {
	s := m[key]
	s.add(o)
	m[key] = s
}

// discard takes it away again, and the set with the last one.
func discard[K comparable](m map[K]set, key K, o *Object) {
	s := m[key]
	s.remove(o)
	if s.len() == 0 {
		delete(m, key)
		return
	}
	m[key] = s
}
