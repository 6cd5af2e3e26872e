package page

import (
	"net/url"

	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// MostHits are shown.
const MostHits = 100

type searchPage struct {
	Query string
	Rows  []hitRow
	Total int
}

type hitRow struct{ Address, Name, What, Account, Namespace, Application string }

// Found is what was found for a text, as much of it as is shown.
type Found struct {
	// Task is the id of one, "" for none.
	Task         string
	Applications []index.Application
	Accounts     []string
	Hits         []index.Hit
	// Group says whether there is a server group of that full name to link to.
	Group func(account, namespace, fullName string) bool
	// Total is how much there is in all.
	Total int
}

// Search is what was found for a text: what has a page of its own first, then
// objects.
func (p *Pages) Search(query string, found Found, stale []string) ([]byte, error) {
	m := searchPage{Query: query, Total: found.Total}
	if found.Task != "" {
		m.Rows = append(m.Rows, hitRow{Address: "/ui/tasks/" + url.PathEscape(found.Task), Name: found.Task, What: "task"})
	}
	for _, a := range found.Applications {
		m.Rows = append(m.Rows, hitRow{Address: application(a.Name), Name: a.Name, What: "application", Application: a.Name})
	}
	for _, name := range found.Accounts {
		m.Rows = append(m.Rows, hitRow{Address: "/ui/accounts/" + url.PathEscape(name), Name: name, What: "account", Account: name})
	}
	for _, h := range found.Hits {
		m.Rows = append(m.Rows, newHit(h, found.Group))
	}
	return p.render("search", frame{Title: "Search", Section: "search", Query: query, Stale: stale, Model: m})
}

func newHit(h index.Hit, isGroup func(account, namespace, fullName string) bool) hitRow {
	app := h.Moniker().App
	out := hitRow{Name: h.FullName(), What: h.Kind.Text, Account: h.Account, Namespace: h.Namespace, Application: app}
	switch {
	case app == "":
		out.Address = "/ui/accounts/" + url.PathEscape(h.Account)
	case h.Kind.Class == spinnaker.ServerGroups:
		out.Address = serverGroup(app, h.Account, h.Namespace, h.FullName())
	default:
		out.Address = application(app)
		if owner, ok := h.Owner(); ok && h.Kind.Class == spinnaker.Instances {
			if name := spinnaker.FullName(owner.Kind, owner.Name); isGroup(h.Account, h.Namespace, name) {
				out.Address = serverGroup(app, h.Account, h.Namespace, name)
			}
		}
	}
	return out
}
