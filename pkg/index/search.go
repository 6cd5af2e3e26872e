package index

import (
	"bytes"
	"cmp"
	"container/heap"
	"slices"
	"strings"
	"unicode/utf8"

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
	// SeesAccount and SeesApplication leave out what the caller may not see, nil
	// for none. What has no application is not left out by the second.
	SeesAccount, SeesApplication func(name string) bool
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

// compare is the order of hits, the best first. What decides most of the time
// comes first, and the rest is not looked at.
func (h Hit) compare(o Hit) int {
	switch {
	case h.rank != o.rank:
		return cmp.Compare(h.rank, o.rank)
	case h.Account != o.Account:
		return strings.Compare(h.Account, o.Account)
	case h.Namespace != o.Namespace:
		return strings.Compare(h.Namespace, o.Namespace)
	case h.Name != o.Name:
		return strings.Compare(h.Name, o.Name)
	}
	return strings.Compare(h.Kind.Text, o.Kind.Text)
}

// candidate is a hit of one account by its row, which spares a look at the
// object.
type candidate struct {
	rank int
	kind *kindObjects
	row
}

func (c *candidate) namespace() string { return c.kind.table.namespaces.all[c.row.namespace] }

// compare is the order of hits.
func (c *candidate) compare(o *candidate) int {
	if c.rank != o.rank {
		return cmp.Compare(c.rank, o.rank)
	}
	if c.kind != o.kind || c.row.namespace != o.row.namespace {
		if order := strings.Compare(c.namespace(), o.namespace()); order != 0 {
			return order
		}
	}
	if order := bytes.Compare(c.kind.table.name(&c.row), o.kind.table.name(&o.row)); order != 0 {
		return order
	}
	return strings.Compare(c.kind.kind.Text, o.kind.kind.Text)
}

// worst is a heap with the worst candidate on top.
type worst []candidate

func (w worst) Len() int           { return len(w) }
func (w worst) Less(i, j int) bool { return w[i].compare(&w[j]) > 0 }
func (w worst) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }
func (w *worst) Push(x any)        { *w = append(*w, x.(candidate)) }
func (w *worst) Pop() any {
	last := len(*w) - 1
	out := (*w)[last]
	*w = (*w)[:last]
	return out
}

// Search finds objects, the best hits first, and how many there are in all.
func (ix *Index) Search(q Search) (hits []Hit, total int) {
	if strings.ContainsRune(q.Text, 0) {
		return nil, 0 // no field has one; names stand behind each other with one between them
	}
	q.Text = strings.ToLower(q.Text)
	ix.mu.RLock()
	accounts := sortedAccounts(ix.accounts)
	ix.mu.RUnlock()
	keep := q.Skip + q.Most
	for _, a := range accounts {
		if q.Account != "" && a.Name != q.Account || q.SeesAccount != nil && !q.SeesAccount(a.Name) {
			continue
		}
		var best worst // rows hold under the account's lock only
		floor := noMatch
		if len(hits) >= keep { // of equal rank, accounts before are better
			floor = rankAt(hits, keep)
		}
		a.mu.RLock()
		for _, k := range a.kinds {
			if q.wants(k.kind) {
				total += k.search(&q, a.Name, keep, floor, &best)
			}
		}
		for i := range best {
			hits = append(hits, Hit{a.Name, best[i].o, best[i].rank})
		}
		a.mu.RUnlock()
	}
	slices.SortFunc(hits, Hit.compare)
	return hits[min(q.Skip, len(hits)):min(keep, len(hits))], total
}

// rankAt is the rank that a hit has to be better than to be among so many.
func rankAt(hits []Hit, keep int) int {
	var counts [noMatch]int
	for _, h := range hits {
		counts[h.rank]++
	}
	for rank, n := range counts {
		if keep -= n; keep <= 0 {
			return rank
		}
	}
	return noMatch
}

func (q *Search) wants(kind *Kind) bool {
	return slices.Contains(q.Classes, kind.Class) || slices.ContainsFunc(q.Kinds, func(text string) bool { return spinnaker.SameKind(text, kind.Text) })
}

// search adds a kind's best hits whose rank is below a floor, and counts all.
func (k *kindObjects) search(q *Search, account string, keep, floor int, best *worst) (total int) {
	// What many objects share is looked at once.
	outside := Contains(account, q.Text) || Contains(k.kind.Text, q.Text)
	namespaces := make([]int, len(k.table.namespaces.all))
	const excluded = noMatch + 1
	for i, namespace := range k.table.namespaces.all {
		switch {
		case q.Namespace != "" && namespace != q.Namespace:
			namespaces[i] = excluded
		case q.Text != "" && strings.EqualFold(namespace, q.Text):
			namespaces[i] = exact
		case outside || Contains(namespace, q.Text):
			namespaces[i] = elsewhere
		default:
			namespaces[i] = noMatch
		}
	}
	clusters := make([]bool, len(k.table.clusters.all))
	var hidden []bool // as many, where somebody may not see all applications
	if q.SeesApplication != nil {
		hidden = make([]bool, len(clusters))
	}
	for i, of := range k.table.clusters.all {
		m := of.Value()
		clusters[i] = Contains(m.App, q.Text) || Contains(m.Cluster, q.Text)
		if hidden != nil {
			hidden[i] = m.App != "" && !q.SeesApplication(m.App)
		}
	}
	t, names := &k.table, k.table.finder(q.Text)
	for i := range t.rows {
		r := &t.rows[i]
		rank := namespaces[r.namespace]
		if rank == excluded || r.o == nil || hidden != nil && hidden[r.cluster] {
			continue
		}
		if rank != exact {
			if at := names.in(r); at >= 0 {
				rank = min(rank, Rank(at, len(q.Text), int(r.end-r.start)))
			}
		}
		if rank == noMatch {
			if !clusters[r.cluster] {
				continue
			}
			rank = elsewhere
		}
		total++
		if rank >= floor || keep == 0 {
			continue
		}
		c := candidate{rank, k, *r}
		switch {
		case len(*best) < keep:
			*best = append(*best, c)
			heap.Fix(best, len(*best)-1)
		case c.compare(&(*best)[0]) < 0:
			(*best)[0] = c
			heap.Fix(best, 0)
		}
	}
	return total
}

// Rank orders what is found by where a text is in its name, -1 for not in it, and
// by both lengths: what is called so comes first, then what begins so, then what
// has it in its name.
func Rank(at, text, name int) int {
	switch {
	case at < 0:
		return elsewhere
	case at > 0:
		return substring
	case text == name:
		return exact
	}
	return prefix
}

// Contains says whether a text has a lower-case part, in any spelling.
func Contains(text, part string) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return strings.Contains(strings.ToLower(text), part)
		}
	}
	for at := 0; at+len(part) <= len(text); at++ {
		if startsWith(text[at:], part) {
			return true
		}
	}
	return false
}

// startsWith compares ASCII.
func startsWith(text, part string) bool {
	for i := range len(part) {
		c := text[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != part[i] {
			return false
		}
	}
	return true
}
