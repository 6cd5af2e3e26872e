package view

import (
	"cmp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// Sibling is one of the objects of a cluster, as Orca's resolve-target task and
// traffic strategies read it (read-rest.md 1.7, 1.8).
type Sibling struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`

	created  int64
	sequence int
	replicas int64
}

// NewSibling describes a live object.
func NewSibling(kindText string, o *unstructured.Unstructured) Sibling {
	out := Sibling{
		Kind: kindText, Namespace: o.GetNamespace(), Name: o.GetName(), replicas: -1,
		sequence: sequenceOf(spinnaker.MonikerOf(kindText, o.GetName(), o.GetAnnotations(), true)),
	}
	if t := o.GetCreationTimestamp(); !t.IsZero() {
		out.created = t.UnixMilli()
	}
	if n, ok, _ := unstructured.NestedInt64(o.Object, "spec", "replicas"); ok {
		out.replicas = n
	}
	return out
}

func sequenceOf(m spinnaker.Moniker) int {
	if !m.HasSequence {
		return -1
	}
	return m.Sequence
}

// SiblingsOf are those of the index's objects of a kind that a cluster has in a
// namespace.
func SiblingsOf(all []*index.Object, namespace, application, cluster string) []Sibling {
	var out []Sibling
	for _, o := range all {
		m := o.Moniker()
		if o.Namespace != namespace || !o.Stated || o.Terminating || m.App != application || m.Cluster != cluster {
			continue
		}
		one := Sibling{Kind: o.Kind.Text, Namespace: o.Namespace, Name: o.Name, created: o.Created, sequence: sequenceOf(m), replicas: -1}
		if o.Group != nil {
			one.replicas = o.Group.Desired
		}
		out = append(out, one)
	}
	return SortSiblings(out)
}

// SortSiblings sorts by name.
func SortSiblings(all []Sibling) []Sibling {
	slices.SortFunc(all, func(a, b Sibling) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Siblings renders the list.
func Siblings(all []Sibling) []byte {
	if all == nil {
		all = []Sibling{}
	}
	return encode(all)
}

// IsCriteria says whether a target can be picked so.
func IsCriteria(criteria string) bool {
	switch criteria {
	case "oldest", "newest", "second_newest", "smallest", "largest":
		return true
	}
	return false
}

// Pick chooses among siblings that are sorted by name.
func Pick(criteria string, all []Sibling) (Sibling, bool) {
	byAge := func(a, b Sibling) int {
		// Creation times have a resolution of a second.
		second := int64(time.Second / time.Millisecond)
		return cmp.Or(cmp.Compare(a.created/second, b.created/second), cmp.Compare(a.sequence, b.sequence))
	}
	bySize := func(a, b Sibling) int { return cmp.Compare(a.replicas, b.replicas) }
	order, at := byAge, 0
	switch criteria {
	case "newest":
		at = len(all) - 1
	case "second_newest":
		at = len(all) - 2
	case "smallest":
		order = bySize
	case "largest":
		order, at = bySize, len(all)-1
	}
	if at < 0 || at >= len(all) {
		return Sibling{}, false
	}
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, order)
	return sorted[at], true
}
