package page

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
)

// Part is an application in one account.
type Part struct {
	Account   string
	Groups    []view.ServerGroup
	Balancers []view.LoadBalancer
	// Policies are the security groups.
	Policies []*index.Object
}

// most of what a page of an application shows; the rest is counted.
const (
	mostClusters = 30
	mostGroups   = 8    // of a cluster, the newest first
	mostSquares  = 100  // of a server group
	allSquares   = 1000 // of a page
	// mostImages of a server group are named, and as many load balancers.
	mostImages = 5
	// longestTitle is how much of an instance's name a square has.
	longestTitle = 63
)

type applicationPage struct {
	Name, Query string
	Clusters    []clusterRow
	Leaf        Leaf
	Balancers   []balancerRow
	// MoreBalancers are not shown.
	MoreBalancers int
	Policies      []policyRow
	MorePolicies  int
	Counts        counts
}

// policyRow is a security group.
type policyRow struct{ Account, Namespace, Name string }

type clusterRow struct {
	Account, Name string
	Groups        []groupRow
	More          int
}

type groupRow struct {
	Address         string
	Name, Namespace string
	Version         string
	Images          []string
	LoadBalancers   []string
	Managers        []string
	Age             string
	Disabled        bool
	Desired         int64
	Counts          counts
	Squares         []square
	More            int
}

// square is an instance; its state is its colour.
type square struct{ Name, State string }

type counts struct{ Up, Down, Unknown int }

// Total is all of them.
func (c counts) Total() int { return c.Up + c.Down + c.Unknown }

// String says what the squares show.
func (c counts) String() string {
	return fmt.Sprintf("%d up, %d down, %d unknown", c.Up, c.Down, c.Unknown)
}

func (c *counts) add(state string) {
	switch state {
	case "Up":
		c.Up++
	case "Down":
		c.Down++
	default:
		c.Unknown++
	}
}

type balancerRow struct {
	Account, Namespace, Name string
	Groups                   []string
}

// Application is the page of one: its clusters, whose names or accounts have a
// text, with their server groups and instances.
func (p *Pages) Application(name string, parts []Part, query string, page int, stale []string) ([]byte, error) {
	m := applicationPage{Name: name, Query: query}
	clusters := clustersOf(name, parts, strings.ToLower(strings.TrimSpace(query)))
	m.Clusters, m.Leaf = leaf(clusters, page, mostClusters, address(application(name), "q", query))
	thin(m.Clusters)
	for _, part := range parts {
		for _, g := range part.Groups {
			for _, i := range g.Instances {
				m.Counts.add(i.HealthState)
			}
		}
		for _, b := range part.Balancers {
			m.Balancers = append(m.Balancers, balancerOf(part.Account, b))
		}
		for _, o := range part.Policies {
			m.Policies = append(m.Policies, policyRow{part.Account, o.Namespace, o.FullName()})
		}
	}
	m.Balancers, m.MoreBalancers = first(m.Balancers, perPage)
	m.Policies, m.MorePolicies = first(m.Policies, perPage)
	return p.render("application", frame{Title: name, Section: "applications", Stream: "/applications/" + url.PathEscape(name) + "/stream", Stale: stale, Model: m})
}

// first are the first of some rows, and how many there are beyond.
func first[T any](rows []T, most int) (shown []T, more int) {
	n := min(len(rows), most)
	return rows[:n], len(rows) - n
}

// thin keeps a page's squares within their bound: the later server groups have
// fewer.
func thin(clusters []clusterRow) {
	left := allSquares
	for _, c := range clusters {
		for i := range c.Groups {
			g := &c.Groups[i]
			keep := min(len(g.Squares), left)
			g.More += len(g.Squares) - keep
			g.Squares = g.Squares[:keep]
			left -= keep
		}
	}
}

func clustersOf(app string, parts []Part, text string) []clusterRow {
	var out []clusterRow
	for _, part := range parts {
		byName := map[string][]view.ServerGroup{}
		for _, g := range part.Groups {
			byName[g.Moniker.Cluster] = append(byName[g.Moniker.Cluster], g)
		}
		for name, groups := range byName {
			if index.Contains(name+" "+part.Account, text) {
				out = append(out, newCluster(app, part.Account, name, groups))
			}
		}
	}
	slices.SortFunc(out, func(a, b clusterRow) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Account, b.Account))
	})
	return out
}

func newCluster(app, account, name string, groups []view.ServerGroup) clusterRow {
	out := clusterRow{Account: account, Name: name}
	slices.SortFunc(groups, func(a, b view.ServerGroup) int {
		return cmp.Or(cmp.Compare(b.CreatedTime, a.CreatedTime), cmp.Compare(a.Name, b.Name))
	})
	for _, g := range groups[:min(len(groups), mostGroups)] {
		out.Groups = append(out.Groups, newGroup(app, account, g, mostSquares))
	}
	out.More = len(groups) - len(out.Groups)
	return out
}

func newGroup(app, account string, g view.ServerGroup, most int) groupRow {
	out := groupRow{
		Address: serverGroup(app, account, g.Region, g.Name), Name: g.Name, Namespace: g.Namespace, Images: g.BuildInfo.Images,
		LoadBalancers: g.LoadBalancers, Disabled: g.Disabled, Desired: g.Capacity.Desired,
	}
	if g.Moniker.HasSequence {
		out.Version = fmt.Sprintf("V%03d", g.Moniker.Sequence)
	}
	if g.CreatedTime > 0 {
		out.Age = ago(time.Since(time.UnixMilli(g.CreatedTime)))
	}
	out.Images, _ = first(out.Images, mostImages)
	out.LoadBalancers, _ = first(out.LoadBalancers, mostImages)
	for _, m := range g.ServerGroupManagers {
		out.Managers = append(out.Managers, m.Name)
	}
	for _, i := range g.Instances {
		out.Counts.add(i.HealthState)
		if len(out.Squares) < most {
			out.Squares = append(out.Squares, square{i.DisplayName[:min(len(i.DisplayName), longestTitle)], i.HealthState})
		}
	}
	out.More = len(g.Instances) - len(out.Squares)
	return out
}

func balancerOf(account string, b view.LoadBalancer) balancerRow {
	out := balancerRow{Account: account, Namespace: b.Namespace, Name: b.Name}
	behind, _ := first(b.ServerGroups, mostImages)
	for _, g := range behind {
		out.Groups = append(out.Groups, g.Name)
	}
	return out
}

type groupPage struct {
	Application, Account string
	Group                groupRow
	Labels               string
	Instances            []instanceRow
	Leaf                 Leaf
}

type instanceRow struct {
	Name, State, Zone, Age string
	Health                 []string
}

// ServerGroup is the page of one, with its instances.
func (p *Pages) ServerGroup(app, account string, g view.ServerGroup, page int, stale []string) ([]byte, error) {
	m := groupPage{Application: app, Account: account, Group: newGroup(app, account, g, mostSquares), Labels: string(g.Labels)}
	var rows []instanceRow
	for _, i := range g.Instances {
		row := instanceRow{Name: i.DisplayName, State: i.HealthState, Zone: i.Zone}
		if i.CreatedTime > 0 {
			row.Age = ago(time.Since(time.UnixMilli(i.CreatedTime)))
		}
		for _, h := range i.Health {
			row.Health = append(row.Health, h.Source+": "+h.State)
		}
		rows = append(rows, row)
	}
	m.Instances, m.Leaf = leaf(rows, page, perPage, serverGroup(app, account, g.Region, g.Name)+"?")
	return p.render("servergroup", frame{Title: g.Name, Section: "applications", Stream: "/applications/" + url.PathEscape(app) + "/stream", Stale: stale, Model: m})
}
