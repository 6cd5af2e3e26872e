package index

import (
	"cmp"
	"container/heap"
	"slices"
	"strings"

	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// Search asks for objects by a text.
type Search struct {
	// Text matches any part of an object's kind, account, namespace, name,
	// application or cluster, whatever the case; "" matches everything.
	Text string
	// Classes and Kinds (in any spelling) say what is looked for.
	Classes []spinnaker.Class
	Kinds   []string
	// Account and Namespace narrow, when not empty.
	Account, Namespace string
	// Skip and Most say which hits are wanted.
	Skip, Most int
}

// Hit is an object that was found.
type Hit struct {
	Account string
	*Object
	rank int
}

// Ranks of hits.
const (
	exact = iota // the name or the namespace is the text
	prefix
	substring
	elsewhere
	noMatch
)

// order of hits: the best first.
func (h Hit) compare(o Hit) int {
	return cmp.Or(cmp.Compare(h.rank, o.rank), cmp.Compare(h.Account, o.Account), cmp.Compare(h.Namespace, o.Namespace), cmp.Compare(h.Name, o.Name), cmp.Compare(h.Kind.Text, o.Kind.Text))
}

// before says whether a hit is better than another for sure, which spares most
// of them a look at the object. Accounts come in order: of equal rank, those
// before are better.
func (h Hit) before(rank int, account, namespace, name string) bool {
	switch {
	case rank != h.rank:
		return rank > h.rank
	case account != h.Account:
		return true
	case namespace != h.Namespace:
		return namespace > h.Namespace
	}
	return name > h.Name
}

// worst is a heap with the worst hit on top.
type worst []Hit

func (w worst) Len() int           { return len(w) }
func (w worst) Less(i, j int) bool { return w[i].compare(w[j]) > 0 }
func (w worst) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }
func (w *worst) Push(x any)        { *w = append(*w, x.(Hit)) }
func (w *worst) Pop() any {
	last := len(*w) - 1
	out := (*w)[last]
	*w = (*w)[:last]
	return out
}

// Search finds objects, the best hits first, and how many there are in all.
func (ix *Index) Search(q Search) (hits []Hit, total int) {
	q.Text = strings.ToLower(q.Text)
	ix.mu.RLock()
	accounts := sortedAccounts(ix.accounts)
	ix.mu.RUnlock()
	keep := q.Skip + q.Most
	var best worst
	for _, a := range accounts {
		if q.Account != "" && a.Name != q.Account {
			continue
		}
		a.mu.RLock()
		for _, k := range a.kinds {
			if q.wants(k.kind) {
				total += k.search(&q, a.Name, keep, &best)
			}
		}
		a.mu.RUnlock()
	}
	slices.SortFunc(best, Hit.compare)
	return best[min(q.Skip, len(best)):], total
}

func (q *Search) wants(kind *Kind) bool {
	return slices.Contains(q.Classes, kind.Class) || slices.ContainsFunc(q.Kinds, func(text string) bool { return spinnaker.SameKind(text, kind.Text) })
}

func (k *kindObjects) search(q *Search, account string, keep int, best *worst) (total int) {
	// What many objects share is looked at once.
	outside := contains(account, q.Text) || contains(k.kind.Text, q.Text)
	namespaces := make([]int, len(k.table.namespaces.texts))
	const excluded = noMatch + 1
	for i, namespace := range k.table.namespaces.texts {
		switch {
		case q.Namespace != "" && namespace != q.Namespace:
			namespaces[i] = excluded
		case q.Text != "" && strings.EqualFold(namespace, q.Text):
			namespaces[i] = exact
		case outside || contains(namespace, q.Text):
			namespaces[i] = elsewhere
		default:
			namespaces[i] = noMatch
		}
	}
	clusters := make([]bool, len(k.table.clusters.texts))
	for i, text := range k.table.clusters.texts {
		app, cluster, _ := strings.Cut(text, "\x00")
		clusters[i] = contains(app, q.Text) || contains(cluster, q.Text)
	}
	lowerCase := k.kind.lowerCase()
	for i := range k.table.rows {
		r := &k.table.rows[i]
		rank := namespaces[r.namespace]
		if rank == excluded {
			continue
		}
		if rank != exact {
			rank = min(rank, rankOf(r.name, q.Text, lowerCase))
		}
		if rank == noMatch {
			if !clusters[r.cluster] {
				continue
			}
			rank = elsewhere
		}
		total++
		if len(*best) == keep && (keep == 0 || (*best)[0].before(rank, account, k.table.namespaces.texts[r.namespace], r.name)) {
			continue
		}
		hit := Hit{account, r.o, rank}
		switch {
		case len(*best) < keep:
			heap.Push(best, hit)
		case hit.compare((*best)[0]) < 0:
			(*best)[0] = hit
			heap.Fix(best, 0)
		}
	}
	return total
}

// rankOf ranks a name.
func rankOf(name, text string, lowerCase bool) int {
	i := strings.Index(name, text)
	if i < 0 && !lowerCase {
		i = strings.Index(strings.ToLower(name), text)
	}
	switch {
	case i < 0:
		return noMatch
	case i > 0:
		return substring
	case len(name) == len(text):
		return exact
	}
	return prefix
}

func contains(has, text string) bool { return strings.Contains(strings.ToLower(has), text) }
