package index

// table holds what searches look at, one row after the other: walking the
// objects themselves takes ten times as long, nearly all of it waiting for
// memory (BenchmarkSearch). Namespaces and clusters are numbers, so that each
// is compared once a search and not once an object.
type table struct {
	rows       []row
	namespaces numbers
	clusters   numbers
}

type row struct {
	name               string
	namespace, cluster uint32
	o                  *Object
}

// numbers gives texts numbers, in the order in which they come.
type numbers struct {
	of    map[string]uint32
	texts []string
}

func (n *numbers) number(text string) uint32 {
	if known, ok := n.of[text]; ok {
		return known
	}
	if n.of == nil {
		n.of = map[string]uint32{}
	}
	next := uint32(len(n.texts))
	n.of[text] = next
	n.texts = append(n.texts, text)
	return next
}

// clusterText is what a search compares of an object's moniker.
func clusterText(o *Object) string {
	m := o.Moniker()
	return m.App + "\x00" + m.Cluster
}

func (t *table) add(o *Object) {
	// Clusters that come and go leave their numbers behind.
	const spare = 1000
	if len(t.clusters.texts) > 2*len(t.rows)+spare {
		t.rebuild()
	}
	o.row = int32(len(t.rows))
	t.rows = append(t.rows, row{o.Name, t.namespaces.number(o.Namespace), t.clusters.number(clusterText(o)), o})
}

func (t *table) remove(o *Object) {
	last := len(t.rows) - 1
	moved := t.rows[last]
	t.rows[o.row] = moved
	moved.o.row = o.row
	t.rows[last] = row{}
	t.rows = t.rows[:last]
}

// replace puts an object in the place of another of the same name.
func (t *table) replace(old, fresh *Object) {
	t.rows[old.row] = row{fresh.Name, t.namespaces.number(fresh.Namespace), t.clusters.number(clusterText(fresh)), fresh}
	fresh.row = old.row
}

func (t *table) rebuild() {
	t.clusters = numbers{}
	for i := range t.rows {
		t.rows[i].cluster = t.clusters.number(clusterText(t.rows[i].o))
	}
}
