package page

import (
	"strings"

	"github.com/datapunchorg/go-clouddriver/pkg/index"
)

// perPage rows of a list are shown at once, so that a page stays small.
const perPage = 100

// Leaf is a place within a list: which rows are shown, and how to leaf.
type Leaf struct {
	Page, Pages, Total int
	First, Last        int
	// Address is that of the list without its page number.
	Address string
}

// leaf picks the rows of a page.
func leaf[T any](all []T, page, size int, address string) ([]T, Leaf) {
	pages := max(1, (len(all)+size-1)/size)
	page = min(max(page, 1), pages)
	from := (page - 1) * size
	to := min(from+size, len(all))
	return all[from:to], Leaf{Page: page, Pages: pages, Total: len(all), First: min(from+1, to), Last: to, Address: address}
}

// Previous is the page before, 0 for none.
func (l Leaf) Previous() int { return l.Page - 1 }

// Next is the page after, 0 for none.
func (l Leaf) Next() int {
	if l.Page == l.Pages {
		return 0
	}
	return l.Page + 1
}

type applications struct {
	Query string
	Rows  []index.Application
	Leaf  Leaf
}

// Applications is the list of those whose name has a text.
func (p *Pages) Applications(all []index.Application, query string, page int, stale []string) ([]byte, error) {
	text := strings.ToLower(strings.TrimSpace(query))
	found := all[:0:0]
	for _, a := range all {
		if index.Contains(a.Name, text) {
			found = append(found, a)
		}
	}
	m := applications{Query: query}
	m.Rows, m.Leaf = leaf(found, page, perPage, address("/ui/applications", "q", query))
	return p.render("applications", frame{Title: "Applications", Section: "applications", Every: 5000, Stale: stale, Model: m})
}
