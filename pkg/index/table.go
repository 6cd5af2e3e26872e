package index

import (
	"bytes"
	"hash/maphash"
	"iter"
	"slices"
	"strings"
	"unique"

	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// table holds the objects of a kind, and finds them by their names. It also holds what
// searches look at, one row after the other, and the names in one piece: walking the
// objects themselves takes ten times as long, nearly all of it waiting for memory
// (BenchmarkSearch). Namespaces and clusters are numbers, so that each is compared
// once a search and not once an object.
type table struct {
	rows []row
	// slots are the rows by the hash of their namespaces and names, each one up, and 0
	// for an empty slot. Where two want one slot, the later one has the next that is
	// free.
	slots []uint32
	// names are the names in the order of the rows, each with a NUL behind it,
	// which is in none of them. mixed says that some are not in lower case.
	names      []byte
	mixed      bool
	counts     *[256]uint32 // of the bytes in names; nil for few
	removed    int          // rows without an object
	namespaces numbers[string]
	clusters   numbers[unique.Handle[spinnaker.Moniker]]
	// taking is the text of the names of a list that is taken in: one piece for all of
	// them, so that there are not as many pieces as objects.
	taking *strings.Builder
}

type row struct {
	start, end         uint32 // of its name
	namespace, cluster uint32
	o                  *Object // nil for one that is removed
}

// len is how many objects there are.
func (t *table) len() int { return len(t.rows) - t.removed }

// objects are all of them, in no order. They may be removed meanwhile.
func (t *table) objects() iter.Seq[*Object] {
	return func(yield func(*Object) bool) {
		for i := range t.rows {
			if o := t.rows[i].o; o != nil && !yield(o) {
				return
			}
		}
	}
}

// expect makes room for what is new of a list, until clip.
func (t *table) expect(list iter.Seq[*Object]) {
	rows, bytes := 0, 0
	for o := range list {
		if t.row(o.Namespace, o.Name) < 0 {
			rows++
			bytes += len(o.Name)
		}
	}
	if rows == 0 {
		return
	}
	t.rows = slices.Grow(t.rows, rows)
	t.names = slices.Grow(t.names, bytes+rows)
	t.reslot(len(t.rows) + rows)
	t.taking = &strings.Builder{}
	t.taking.Grow(bytes)
}

func (t *table) name(r *row) []byte { return t.names[r.start:r.end] }

var placeSeed = maphash.MakeSeed()

// slot is where a place is looked for first.
func (t *table) slot(namespace, name string) int {
	const spread = 0x9e3779b97f4a7c15 // the names of two namespaces are often the same
	hash := maphash.String(placeSeed, namespace)*spread ^ maphash.String(placeSeed, name)
	return int(hash & uint64(len(t.slots)-1))
}

// row is that of an object, -1 for one that is not there.
func (t *table) row(namespace, name string) int {
	if len(t.slots) == 0 {
		return -1
	}
	for at := t.slot(namespace, name); t.slots[at] != 0; at = (at + 1) & (len(t.slots) - 1) {
		r := &t.rows[t.slots[at]-1]
		if r.o != nil && string(t.name(r)) == name && r.o.Namespace == namespace {
			return int(t.slots[at] - 1)
		}
	}
	return -1
}

// find is the object in a place, nil for none.
func (t *table) find(namespace, name string) *Object {
	at := t.row(namespace, name)
	if at < 0 {
		return nil
	}
	return t.rows[at].o
}

// leastSlots is how many a table begins with; they are a power of two.
const leastSlots = 8

// reslot makes so many slots that three quarters are taken by so many rows at the most.
func (t *table) reslot(rows int) {
	n := leastSlots
	for 3*n/4 < rows {
		n *= 2
	}
	if n <= len(t.slots) {
		return
	}
	t.slots = make([]uint32, n)
	for i := range t.rows {
		if o := t.rows[i].o; o != nil {
			t.place(o.Namespace, o.Name, i)
		}
	}
}

// place puts a row into a free slot.
func (t *table) place(namespace, name string, row int) {
	at := t.slot(namespace, name)
	for t.slots[at] != 0 {
		at = (at + 1) & (len(t.slots) - 1)
	}
	t.slots[at] = uint32(row) + 1
}

// numbers gives what many objects share numbers, in the order in which they come.
type numbers[K comparable] struct {
	of  map[K]uint32 // where there are many
	all []K
}

// number is that of a value. Few are looked through as fast as a map is asked.
func (n *numbers[K]) number(of K) uint32 {
	const few = 64
	if n.of == nil {
		if at := slices.Index(n.all, of); at >= 0 {
			return uint32(at)
		}
	} else if known, ok := n.of[of]; ok {
		return known
	}
	next := uint32(len(n.all))
	n.all = append(n.all, of)
	switch {
	case n.of != nil:
		n.of[of] = next
	case len(n.all) > few:
		n.of = make(map[K]uint32, 2*few)
		for i, one := range n.all {
			n.of[one] = uint32(i)
		}
	}
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
	if t.taking != nil {
		o.Name = inOnePiece(t.taking, o.Name)
	}
	t.reslot(len(t.rows) + 1)
	t.place(o.Namespace, o.Name, len(t.rows))
	t.append(o)
}

// inOnePiece is a text that is part of a longer one.
func inOnePiece(all *strings.Builder, text string) string {
	from := all.Len()
	all.WriteString(text)
	return all.String()[from:]
}

func (t *table) append(o *Object) {
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

// gone is the row of an object that was in a table: others may still read it.
const gone = -1

func (t *table) remove(o *Object) {
	t.rows[o.row].o = nil
	o.row = gone
	t.removed++
}

// replace puts an object in the place of another of the same name.
func (t *table) replace(old, fresh *Object) {
	t.sweep()
	r := &t.rows[old.row]
	r.namespace, r.cluster, r.o = t.namespaces.number(fresh.Namespace), t.clusters.number(fresh.moniker), fresh
	fresh.row, old.row = old.row, gone
}

// clip gives back what a list has left over while it was taken in.
func (t *table) clip() {
	t.taking = nil
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
	left := old.len()
	*t = table{rows: make([]row, 0, left), names: make([]byte, 0, len(old.names)), taking: old.taking}
	for i := range old.rows {
		if o := old.rows[i].o; o != nil {
			t.append(o)
		}
	}
	t.reslot(left)
}
