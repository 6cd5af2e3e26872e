package index

import (
	"bytes"
	"slices"
	"strings"
	"unique"

	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// table holds what searches look at, one row after the other, and the names in
// one piece: walking the objects themselves takes ten times as long, nearly all
// of it waiting for memory (BenchmarkSearch). Namespaces and clusters are
// numbers, so that each is compared once a search and not once an object.
type table struct {
	rows []row
	// names are the names in the order of the rows, each with a NUL behind it,
	// which is in none of them. mixed says that some are not in lower case.
	names      []byte
	mixed      bool
	counts     *[256]uint32 // of the bytes in names; nil for few
	removed    int          // rows without an object
	namespaces numbers[string]
	clusters   numbers[unique.Handle[spinnaker.Moniker]]
}

type row struct {
	start, end         uint32 // of its name
	namespace, cluster uint32
	o                  *Object // nil for one that is removed
}

// expect makes room for so many rows.
func (t *table) expect(rows int) { t.rows = slices.Grow(t.rows, rows) }

func (t *table) name(r *row) []byte { return t.names[r.start:r.end] }

// numbers gives what many objects share numbers, in the order in which they come.
type numbers[K comparable] struct {
	of  map[K]uint32
	all []K
}

func (n *numbers[K]) number(of K) uint32 {
	if known, ok := n.of[of]; ok {
		return known
	}
	if n.of == nil {
		n.of = map[K]uint32{}
	}
	next := uint32(len(n.all))
	n.of[of] = next
	n.all = append(n.all, of)
	return next
}

// sweep makes room: what comes and goes leaves rows, names and clusters behind.
func (t *table) sweep() {
	const spare = 1000
	if len(t.clusters.all) > 2*len(t.rows)+spare || t.removed > len(t.rows)/2+spare {
		t.rebuild()
	}
}

// fewNames is how many bytes of names are looked through without knowing how often
// each byte is in them.
const fewNames = 16 << 10

func (t *table) count(names []byte) {
	for _, c := range names {
		t.counts[c]++
	}
}

func (t *table) add(o *Object) {
	t.sweep()
	start := uint32(len(t.names))
	t.names = append(t.names, o.Name...)
	t.mixed = t.mixed || strings.ToLower(o.Name) != o.Name
	end := uint32(len(t.names))
	t.names = append(t.names, 0)
	switch {
	case t.counts != nil:
		t.count(t.names[start:end])
	case len(t.names) > fewNames:
		t.counts = &[256]uint32{}
		t.count(t.names)
	}
	o.row = int32(len(t.rows))
	t.rows = append(t.rows, row{start, end, t.namespaces.number(o.Namespace), t.clusters.number(o.moniker), o})
}

// finder finds a lower-case text in one name after the other, whatever their
// case.
type finder struct {
	*table
	text []byte
	next int // where it is next in the names
	// common says that names have much of what the text begins with.
	common bool
}

func (t *table) finder(text string) finder {
	f := finder{table: t, text: []byte(text), next: -1}
	f.common = text != "" && t.counts != nil && int(t.counts[text[0]]) > len(t.names)/16
	return f
}

// after finds the text from a place in the names on; their length for nowhere.
// bytes.Index tries wherever the first byte is, but for short slices, which it
// compares throughout: that is faster where the byte is everywhere.
func (f *finder) after(from int) int {
	const short = 64
	step := len(f.names)
	if f.common && len(f.text) < short/2 {
		step = short - len(f.text) + 1
	}
	for ; from < len(f.names); from += step {
		if at := bytes.Index(f.names[from:min(from+step+len(f.text)-1, len(f.names))], f.text); at >= 0 {
			return from + at
		}
	}
	return len(f.names)
}

// in is where the text begins in a row's name, -1 for nowhere. Names are looked
// through all at once.
func (f *finder) in(r *row) int {
	if f.mixed {
		return bytes.Index(bytes.ToLower(f.name(r)), f.text)
	}
	if f.next < int(r.start) {
		f.next = f.after(int(r.start))
	}
	if f.next >= int(r.end) {
		return -1
	}
	return f.next - int(r.start)
}

func (t *table) remove(o *Object) {
	t.rows[o.row].o = nil
	t.removed++
}

// replace puts an object in the place of another of the same name.
func (t *table) replace(old, fresh *Object) {
	t.sweep()
	r := &t.rows[old.row]
	r.namespace, r.cluster, r.o = t.namespaces.number(fresh.Namespace), t.clusters.number(fresh.moniker), fresh
	fresh.row = old.row
}

// clip gives back what a list has left over while it was taken in.
func (t *table) clip() {
	const spare = 8 // parts of it may be
	if cap(t.rows) > len(t.rows)+len(t.rows)/spare {
		t.rows = slices.Clone(t.rows)
	}
	if cap(t.names) > len(t.names)+len(t.names)/spare {
		t.names = bytes.Clone(t.names)
	}
}

func (t *table) rebuild() {
	old := *t
	*t = table{namespaces: old.namespaces, rows: make([]row, 0, len(old.rows)-old.removed), names: make([]byte, 0, len(old.names))}
	for i := range old.rows {
		if o := old.rows[i].o; o != nil {
			t.add(o)
		}
	}
}
