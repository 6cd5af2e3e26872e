package index

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// Index holds the accounts and knows which of them hold an application.
type Index struct {
	// payloads keeps whole manifests, as long as there is room.
	payloads *Cache
	// snapshots keep accounts from one start to the next; nil for nothing kept.
	snapshots Snapshots
	loading   loading
	feeds     feeds
	clock     atomic.Uint64
	// membership changes with every application, account and cluster text that
	// comes or goes.
	membership atomic.Uint64
	// spaces changes with the namespaces of any account.
	spaces atomic.Uint64
	// listed are the applications as of a membership.
	listed atomic.Pointer[applications]

	mu       sync.RWMutex
	accounts map[string]*Account
	apps     map[string]*app // by lower-case name
}

// app is an application over all accounts. Its version is taken from the
// index's clock, so no version ever comes again.
type app struct {
	version atomic.Uint64
	// members changes with every account and cluster text of the application.
	members  atomic.Uint64
	accounts map[string]*Account
}

// New makes an empty index that keeps whole manifests in a cache; none when it
// is nil.
func New(payloads *Cache) *Index {
	return &Index{payloads: payloads, loading: newLoading(), accounts: map[string]*Account{}, apps: map[string]*app{}}
}

// Begin has accounts that are opened from now on begin with what is kept of them.
func (ix *Index) Begin(with Snapshots) { ix.snapshots = with }

func (ix *Index) tick() uint64 { return ix.clock.Add(1) }

// Open implements watch.Sink: it makes room for an account.
func (ix *Index) Open(a *account.Account) watch.AccountSink {
	opened := newAccount(a, ix)
	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.accounts[a.Name] = opened
	ix.renamed()
	return opened
}

func (ix *Index) forget(a *Account) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if ix.accounts[a.Name] == a {
		delete(ix.accounts, a.Name)
		ix.renamed()
	}
}

func (ix *Index) join(key string, a *Account) *app {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	found := ix.apps[key]
	if found == nil {
		found = &app{accounts: map[string]*Account{}}
		ix.apps[key] = found
	}
	found.accounts[a.Name] = a
	return found
}

func (ix *Index) leave(key string, a *Account) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	found := ix.apps[key]
	if found == nil || found.accounts[a.Name] != a {
		return
	}
	delete(found.accounts, a.Name)
	if len(found.accounts) == 0 {
		delete(ix.apps, key)
	}
}

// Version identifies the application's content over all accounts: as long as
// it stays, so does every answer about the application. 0 means that there is
// none.
func (ix *Index) Version(application string) uint64 {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	if found := ix.apps[strings.ToLower(application)]; found != nil {
		return found.version.Load()
	}
	return 0
}

// Membership identifies the set of applications and their clusters.
func (ix *Index) Membership() uint64 { return ix.membership.Load() }

// changed takes note of other members of an application.
func (ix *Index) changed(a *app) {
	a.members.Store(ix.tick())
	ix.membership.Store(ix.tick())
}

// holders lists the accounts that hold something of the application, sorted
// by name.
func (ix *Index) holders(application string) []*Account {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	found := ix.apps[strings.ToLower(application)]
	if found == nil {
		return nil
	}
	return sortedAccounts(found.accounts)
}

func sortedAccounts(m map[string]*Account) []*Account {
	return slices.SortedFunc(maps.Values(m), func(a, b *Account) int { return cmp.Compare(a.Name, b.Name) })
}

func (ix *Index) account(name string) *Account {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return ix.accounts[name]
}

// Namespaces lists an account's namespaces as far as they are known.
func (ix *Index) Namespaces(accountName string) []string {
	a := ix.account(accountName)
	if a == nil {
		return []string{}
	}
	return a.namespaceNames()
}

// renamed takes note of other namespaces of an account.
func (ix *Index) renamed() { ix.spaces.Store(ix.tick()) }

// NamespacesVersion identifies what Namespaces says of all accounts.
func (ix *Index) NamespacesVersion() uint64 { return ix.spaces.Load() }

// Size counts the objects of an account by kind text.
func (ix *Index) Size(accountName string) map[string]int {
	out := map[string]int{}
	if a := ix.account(accountName); a != nil {
		a.mu.RLock()
		defer a.mu.RUnlock()
		for text, k := range a.kinds {
			out[text] = k.table.len()
		}
	}
	return out
}

// Group is a server group with all that its views show.
type Group struct {
	*Object
	Instances []*Object // by name
	// Attached are the services linked to it, in order.
	Attached []*Object
	// Managers are its owners that are server group managers.
	Managers []Owner
}

// Manager is a server group manager with what it owns.
type Manager struct {
	*Object
	Groups []*Object
}

// Balancer is a load balancer with the server groups behind it.
type Balancer struct {
	*Object
	Groups []Group
}

// Part is one application within one account at one moment.
type Part struct {
	Account string
	// Version identifies the content.
	Version   uint64
	Groups    []Group
	Managers  []Manager
	Balancers []Balancer
	// Policies are the security groups.
	Policies []*Object
}

// What selects what a Part is filled with.
type What uint8

// What a Part can be filled with.
const (
	Groups What = 1 << iota
	Managers
	Balancers
	Policies
)

// Holding is an account that holds something of an application.
type Holding struct {
	Account string
	Version uint64
}

// Holdings lists where an application is, sorted by account.
func (ix *Index) Holdings(application string) []Holding {
	key := strings.ToLower(application)
	var out []Holding
	for _, a := range ix.holders(application) {
		a.mu.RLock()
		if p := a.apps[key]; p != nil {
			out = append(out, Holding{a.Name, p.version})
		}
		a.mu.RUnlock()
	}
	return out
}

// Part takes a snapshot of an application in one account, sorted as the views
// want it: by namespace, kind text, name.
func (ix *Index) Part(application, accountName string, what What) Part {
	out := Part{Account: accountName}
	a := ix.account(accountName)
	if a == nil {
		return out
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	p := a.apps[strings.ToLower(application)]
	if p == nil {
		return out
	}
	out.Version = p.version
	if what&Groups != 0 {
		for _, o := range p.groups.inOrder() {
			out.Groups = append(out.Groups, a.group(o))
		}
	}
	if what&Managers != 0 {
		for _, o := range p.managers.inOrder() {
			out.Managers = append(out.Managers, a.manager(o))
		}
	}
	if what&Balancers != 0 {
		known := map[*Object]Group{} // several balance one
		for _, o := range p.balancers.inOrder() {
			out.Balancers = append(out.Balancers, a.balancer(o, known))
		}
	}
	if what&Policies != 0 {
		out.Policies = p.policies.inOrder()
	}
	return out
}

// Compare orders objects of one account: by namespace, kind text, name.
func Compare(a, b *Object) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Kind.Text, b.Kind.Text), cmp.Compare(a.Name, b.Name))
}

func (a *Account) group(o *Object) Group {
	g := Group{Object: o}
	children := a.children[o.key()]
	g.Instances = make([]*Object, 0, children.len())
	for child := range children.all() {
		if child.Kind.Class == spinnaker.Instances {
			g.Instances = append(g.Instances, child)
		}
	}
	slices.SortFunc(g.Instances, Compare)
	g.Attached = a.links.balancersOf(o)
	slices.SortFunc(g.Attached, Compare)
	o.eachOwner(func(w Owner) {
		if class, _ := a.account.Class(w.Kind); class == spinnaker.ServerGroupManagers {
			g.Managers = append(g.Managers, w)
		}
	})
	return g
}

func (a *Account) manager(o *Object) Manager {
	m := Manager{Object: o}
	children := a.children[o.key()]
	for child := range children.all() {
		if child.Kind.Class == spinnaker.ServerGroups {
			m.Groups = append(m.Groups, child)
		}
	}
	slices.SortFunc(m.Groups, Compare)
	return m
}

// balancer is a load balancer with its server groups. known are those that others have,
// nil where there are no others.
func (a *Account) balancer(o *Object, known map[*Object]Group) Balancer {
	b := Balancer{Object: o}
	groups := a.links.groupsOf(o)
	slices.SortFunc(groups, Compare)
	for _, o := range groups {
		g, has := known[o]
		if !has {
			g = a.group(o)
			if known != nil {
				known[o] = g
			}
		}
		b.Groups = append(b.Groups, g)
	}
	return b
}

// FindGroup finds a server group by account, namespace, kind in any spelling
// and name.
func (ix *Index) FindGroup(accountName, namespace, kind, name string) (Group, bool) {
	a := ix.account(accountName)
	if a == nil {
		return Group{}, false
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	if o := a.find(namespace, kind, name); o != nil && o.Kind.Class == spinnaker.ServerGroups {
		return a.group(o), true
	}
	return Group{}, false
}

// FindBalancer finds a load balancer likewise.
func (ix *Index) FindBalancer(accountName, namespace, kind, name string) (Balancer, bool) {
	a := ix.account(accountName)
	if a == nil {
		return Balancer{}, false
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	if o := a.find(namespace, kind, name); o != nil && o.Kind.Class == spinnaker.LoadBalancers {
		return a.balancer(o, nil), true
	}
	return Balancer{}, false
}

func (a *Account) find(namespace, kind, name string) *Object {
	for text, k := range a.kinds {
		if spinnaker.SameKind(text, kind) {
			return k.table.find(namespace, name)
		}
	}
	return nil
}

// Objects lists an account's objects of some kinds, in order.
func (ix *Index) Objects(accountName string, kindTexts ...string) []*Object {
	return ix.objects(accountName, func(k *Kind) bool { return slices.Contains(kindTexts, k.Text) })
}

// OfClass lists an account's objects of a class, in order.
func (ix *Index) OfClass(accountName string, class spinnaker.Class) []*Object {
	return ix.objects(accountName, func(k *Kind) bool { return k.Class == class })
}

func (ix *Index) objects(accountName string, wanted func(*Kind) bool) []*Object {
	a := ix.account(accountName)
	if a == nil {
		return nil
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	var out []*Object
	for _, k := range a.kinds {
		if wanted(k.kind) {
			out = slices.AppendSeq(out, k.table.objects())
		}
	}
	slices.SortFunc(out, Compare)
	return out
}
