package page

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// Account is one with what is held of it, by kind.
type Account struct {
	watch.Status
	Objects map[string]int
}

// AccountsQuery is what the list of accounts is narrowed and sorted by.
type AccountsQuery struct {
	Text string
	// State is one of ok, stale, starting and failed; "" for all.
	State string
	// Sort is one of name, state, objects, lag and since.
	Sort string
	Page int
}

type accountsPage struct {
	Query  AccountsQuery
	Rows   []accountRow
	Leaf   Leaf
	States []stateCount
	Sorts  []string
}

type stateCount struct {
	Name  string
	Count int
	// Chosen says that the list shows only these.
	Chosen bool
}

type accountRow struct {
	Name, Address   string
	State           string
	Version         string
	Objects         int
	Followed, Kinds int
	Lag, Since      time.Duration
	Message, Advice string
	haveLag         bool
}

// LagText is the lag, if one is known.
func (r accountRow) LagText() string {
	if !r.haveLag {
		return "–"
	}
	return ago(r.Lag)
}

// SinceText is how long the account is in its state.
func (r accountRow) SinceText() string { return ago(r.Since) }

// states in the order of how much they want to be looked at.
var states = []string{"failed", "starting", "stale", "ok"}

var sorts = []string{"name", "state", "objects", "lag", "since"}

// Accounts is the list of all accounts.
func (p *Pages) Accounts(all []Account, q AccountsQuery) ([]byte, error) {
	m := accountsPage{Query: q, Sorts: sorts}
	byState := map[string]int{}
	text := strings.ToLower(strings.TrimSpace(q.Text))
	var rows []accountRow
	for _, a := range all {
		row := newAccount(a)
		byState[row.State]++
		if (text == "" || strings.Contains(strings.ToLower(row.Name+" "+row.Message), text)) && (q.State == "" || q.State == row.State) {
			rows = append(rows, row)
		}
	}
	for _, state := range states {
		m.States = append(m.States, stateCount{state, byState[state], q.State == state})
	}
	sortAccounts(rows, q.Sort)
	m.Rows, m.Leaf = leaf(rows, q.Page, perPage, address("/ui/accounts", "q", q.Text, "state", q.State, "sort", q.Sort))
	return p.render("accounts", frame{Title: "Accounts", Section: "accounts", Every: 2000, Model: m})
}

func sortAccounts(rows []accountRow, by string) {
	slices.SortStableFunc(rows, func(a, b accountRow) int {
		order := 0
		switch by {
		case "state":
			order = cmp.Compare(slices.Index(states, a.State), slices.Index(states, b.State))
		case "objects":
			order = cmp.Compare(b.Objects, a.Objects)
		case "lag":
			order = cmp.Compare(b.Lag, a.Lag)
		case "since":
			order = cmp.Compare(a.Since, b.Since)
		}
		return cmp.Or(order, cmp.Compare(a.Name, b.Name))
	})
}

// stateOf is an account's state in one word.
func stateOf(s watch.Status) string {
	switch {
	case s.State == watch.Starting:
		return "starting"
	case s.State == watch.Failed:
		return "failed"
	case s.Stale:
		return "stale"
	}
	return "ok"
}

func newAccount(a Account) accountRow {
	out := accountRow{Name: a.Account, Address: "/ui/accounts/" + url.PathEscape(a.Account), State: stateOf(a.Status), Version: a.Version, Message: a.Message, Since: time.Since(a.Since), Kinds: len(a.Kinds)}
	for _, n := range a.Objects {
		out.Objects += n
	}
	for _, k := range a.Kinds {
		if k.Phase == watch.Live {
			out.Followed++
		}
		if k.Lag > 0 {
			out.Lag, out.haveLag = max(out.Lag, k.Lag), true
		}
	}
	if a.Message != "" {
		out.Advice = cluster.Advice(a.Reason, a.Message)
	}
	return out
}

type accountPage struct {
	accountRow
	Rows []kindRow
	Leaf Leaf
}

type kindRow struct {
	Kind, Namespace string
	Phase           string
	Objects         string
	Events, Lists   uint64
	Odd             uint64
	Heard, Lag      string
	Message         string
}

// Account is the page of one: each of its streams.
func (p *Pages) Account(a Account, page int) ([]byte, error) {
	m := accountPage{accountRow: newAccount(a)}
	shown := map[string]bool{}
	for _, k := range a.Kinds {
		row := kindRow{Kind: k.Kind, Namespace: k.Namespace, Phase: string(k.Phase), Events: k.Events, Lists: k.Lists, Odd: k.Odd, Heard: "–", Lag: "–", Message: k.Message}
		if !shown[k.Kind] { // the objects of all namespaces are counted together
			row.Objects = fmt.Sprint(a.Objects[k.Kind])
			shown[k.Kind] = true
		}
		if !k.Heard.IsZero() {
			row.Heard = ago(time.Since(k.Heard))
		}
		if k.Lag > 0 {
			row.Lag = ago(k.Lag)
		}
		m.Rows = append(m.Rows, row)
	}
	m.Rows, m.Leaf = leaf(m.Rows, page, perPage, m.Address+"?")
	return p.render("account", frame{Title: a.Account, Section: "accounts", Every: 2000, Model: m})
}
