package index

import (
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// Account is what one account holds. It is the receiver of the account's
// watchers.
type Account struct {
	// Name is the account's.
	Name string

	account *account.Account
	index   *Index

	mu     sync.RWMutex
	closed bool
	// filling says that much is taken in at once: versions are given when that is over.
	filling    bool
	kinds      map[string]*kindObjects // by kind text
	byUID      map[uid]*Object         // server groups and managers: what can own
	children   map[uid]set
	apps       map[string]*part // by lower-case name
	links      linker
	namespaces map[string]string  // uid to name
	spaces     *namespaceReceiver // fills them
	past       *past              // what streams begin with that are not opened yet
	interned   map[string]string
	// gone are the UIDs of objects that were deleted through us, until the
	// watch has said so, too, and swept is when old ones were last forgotten.
	gone  map[string]time.Time
	swept time.Time
	// finished are jobs that are gone.
	finished map[place]finished
}

type place struct{ namespace, name string }

// kindObjects are the objects of one kind.
type kindObjects struct {
	kind  *Kind
	table table
	// receivers are those of the kind's watches by namespace, "" for all.
	receivers map[string]*receiver
	// ignored is set once an object of Spinnaker's was seen that no view may
	// show.
	ignored bool
}

// part is one application within one account.
type part struct {
	app       *app
	version   uint64
	groups    set
	managers  set
	balancers set
	policies  set
	others    set    // of classes that no list view shows
	spellings counts // of the application's name
	clusters  map[string]int
}

func (p *part) empty() bool {
	return p.groups.len()+p.managers.len()+p.balancers.len()+p.policies.len()+p.others.len() == 0
}

// counts says how often there is what. There is nearly always one.
type counts []counted

type counted struct {
	text  string
	times int
}

// more counts one up, and says whether it is the first.
func (c *counts) more(text string) bool {
	for i := range *c {
		if (*c)[i].text == text {
			(*c)[i].times++
			return false
		}
	}
	*c = append(*c, counted{text, 1})
	return true
}

// fewer counts one down, and says whether it was the last.
func (c *counts) fewer(text string) bool {
	at := slices.IndexFunc(*c, func(one counted) bool { return one.text == text })
	if at < 0 {
		return false
	}
	if (*c)[at].times--; (*c)[at].times > 0 {
		return false
	}
	*c = slices.Delete(*c, at, at+1)
	return true
}

func newAccount(a *account.Account, ix *Index) *Account {
	return &Account{
		Name: a.Name, account: a, index: ix,
		kinds: map[string]*kindObjects{}, byUID: map[uid]*Object{}, children: map[uid]set{},
		apps: map[string]*part{}, links: newLinker(), namespaces: map[string]string{}, interned: map[string]string{}, gone: map[string]time.Time{}, finished: map[place]finished{},
	}
}

// Wants implements watch.AccountSink.
func (a *Account) Wants(r cluster.Resource) bool { return Wants(a.account, r) }

// Wants says whether the index holds a kind of an account, so that it has to be
// listed and watched.
func Wants(a *account.Account, r cluster.Resource) bool {
	if r.Group == "" && r.Kind == "Namespace" {
		return len(a.Namespaces) == 0
	}
	_, ok := kindOf(a, r)
	return ok
}

// Open implements watch.AccountSink.
func (a *Account) Open(r cluster.Resource, from *watch.Stream) (watch.Decode, watch.Receiver) {
	kind, ok := kindOf(a.account, r)
	switch {
	case r.Group == "" && r.Kind == "Namespace" && !ok:
		list := a.openNamespaces(r, from)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.taken(streamKey{namespaceKind, ""})
		return decodeNamespace, list
	case r.Group == "" && r.Kind == "Namespace":
		list := a.openNamespaces(r, from)
		decode, objects := a.open(kind, r, from)
		return decodeTwice(decode), twoReceivers{list, objects}
	case !ok:
		panic("watching a kind that was not wanted: " + r.KindText()) // a mistake in the watcher
	}
	return a.open(kind, r, from)
}

func (a *Account) openNamespaces(r cluster.Resource, from *watch.Stream) *namespaceReceiver {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.spaces = &namespaceReceiver{a: a, resource: r, from: from}
	a.adoptNamespaces(a.spaces)
	return a.spaces
}

func (a *Account) open(kind *Kind, r cluster.Resource, from *watch.Stream) (watch.Decode, *receiver) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := a.kinds[kind.Text]
	switch {
	case k == nil:
		k = &kindObjects{kind: kind, receivers: map[string]*receiver{}}
		a.kinds[kind.Text] = k
	case *k.kind != *kind:
		k.kind = kind // in another version; its objects are listed anew
	}
	opened := &receiver{a: a, resource: r, kind: kind.Text, namespace: from.Namespace, from: from}
	k.receivers[from.Namespace] = opened
	a.adopt(k, opened)
	return a.decoder(k.kind, func() bool { return !from.Listed() }), opened
}

// Drop implements watch.AccountSink.
func (a *Account) Drop(r cluster.Resource, namespace string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := a.kinds[r.KindText()]
	if k == nil {
		return
	}
	for o := range k.table.objects() {
		if namespace == "" || o.Namespace == namespace {
			a.vanish(k, o)
		}
	}
	delete(k.receivers, namespace)
	if len(k.receivers) == 0 {
		delete(a.kinds, r.KindText())
	}
}

// Close implements watch.AccountSink.
func (a *Account) Close() {
	a.mu.Lock()
	a.closed = true
	a.past = nil
	for _, k := range a.kinds {
		for o := range k.table.objects() {
			a.vanish(k, o)
		}
	}
	a.mu.Unlock()
	a.index.forget(a)
}

// NewEpoch implements watch.AccountSink.
func (a *Account) NewEpoch() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.gone)
	for _, k := range a.kinds {
		for _, r := range k.receivers {
			r.end()
		}
	}
	if a.spaces != nil {
		a.spaces.end()
	}
}

func objectOf(o watch.Object) *Object {
	if h, ok := o.(hidden); ok {
		return h.Object
	}
	return o.(*Object)
}

// newer says whether a is a higher version than b. What cannot be compared is
// not newer, so that the last word of the cluster counts.
func newer(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order > 0
}

// upsert takes an object in unless something newer is known of its name.
func (a *Account) upsert(k *kindObjects, in watch.Object) {
	o := objectOf(in)
	if a.deleted(o) {
		return // an event from before its deletion
	}
	cur := k.table.find(o.Namespace, o.Name)
	if cur != nil && (cur.newer(o) || sameUID(cur, o) && cur.sameVersion(o) && cur.Kind == o.Kind) {
		return
	}
	if _, hide := in.(hidden); hide {
		k.ignored = k.ignored || o.Stated
		if cur != nil {
			a.vanish(k, cur)
		}
		return
	}
	if o.row == gone { // a list has brought what was taken away meanwhile
		again := *o
		o = &again
	}
	o.Namespace = a.intern(o.Namespace)
	if cur == nil {
		a.add(k, o)
	} else {
		if !sameUID(cur, o) || cur.moniker != o.moniker {
			a.publish(cur, true)
		}
		a.swap(k, cur, o)
	}
	a.publish(o, false)
}

// deleted says whether an object was deleted through us. There is nearly never one
// such, and each event asks.
func (a *Account) deleted(o *Object) bool {
	if len(a.gone) == 0 {
		return false
	}
	_, gone := a.gone[o.UID()]
	return gone
}

func (a *Account) intern(s string) string {
	if known, ok := a.interned[s]; ok {
		return known
	}
	a.interned[s] = s
	return s
}

// swap puts an object into the place of another one of its name. What the old one is
// part of has the new one before it loses the old one: an application and a cluster
// that are all of one object do not end when it changes.
func (a *Account) swap(k *kindObjects, cur, o *Object) {
	a.touchRelated(cur)
	o.Name = cur.Name
	k.table.replace(cur, o)
	a.own(o)
	a.disown(cur)
	a.links.add(o)
	a.links.remove(cur)
	a.join(o)
	a.leave(cur)
	a.touchRelated(o)
}

func (a *Account) add(k *kindObjects, o *Object) {
	k.table.add(o)
	a.own(o)
	a.links.add(o)
	a.join(o)
	a.touchRelated(o)
}

func (a *Account) remove(k *kindObjects, o *Object) {
	a.touchRelated(o)
	k.table.remove(o)
	a.disown(o)
	a.links.remove(o)
	a.leave(o)
}

// own has an object found by its owners, and as one. What it says of its first owner
// is the same text as its siblings'.
func (a *Account) own(o *Object) {
	if o.owner != nil {
		siblings := a.children[o.owner.key]
		for s := range siblings.all() {
			if s.owner != nil && *s.owner == *o.owner {
				o.owner = s.owner
			}
			break
		}
	}
	o.eachOwner(func(w Owner) { insert(a.children, w.key, o) })
	if o.Kind.Class.FormsClusters() {
		a.byUID[o.key()] = o
	}
}

func (a *Account) disown(o *Object) {
	o.eachOwner(func(w Owner) { discard(a.children, w.key, o) })
	if !o.Kind.Class.FormsClusters() {
		return
	}
	if key := o.key(); a.byUID[key] == o {
		delete(a.byUID, key)
	}
}

// members is the set of the part that the object belongs to.
func (p *part) members(o *Object) *set {
	switch o.Kind.Class {
	case spinnaker.ServerGroups:
		return &p.groups
	case spinnaker.ServerGroupManagers:
		return &p.managers
	case spinnaker.LoadBalancers:
		return &p.balancers
	case spinnaker.SecurityGroups:
		return &p.policies
	}
	return &p.others
}

// joins says whether an object is held by its application. Instances are held by
// their server groups, unless the account shows all that an application has.
func (a *Account) joins(o *Object) bool {
	return o.Kind.Class != spinnaker.Instances || a.account.AllRelationships || a.account.Held.All
}

func (a *Account) join(o *Object) {
	m := o.Moniker()
	if m.App == "" || !a.joins(o) {
		return
	}
	key := strings.ToLower(m.App)
	p := a.apps[key]
	if p == nil {
		p = &part{clusters: map[string]int{}}
		p.app = a.index.join(key, a)
		a.apps[key] = p
	}
	p.members(o).add(o)
	if o.Kind.Class.FormsClusters() {
		p.clusters[m.Cluster]++
		if first := p.spellings.more(m.App); first || p.clusters[m.Cluster] == 1 {
			a.index.changed(p.app)
		}
	}
	a.touch(p)
}

func (a *Account) leave(o *Object) {
	m := o.Moniker()
	key := strings.ToLower(m.App)
	p := a.apps[key]
	if p == nil || !a.joins(o) {
		return
	}
	p.members(o).remove(o)
	if o.Kind.Class.FormsClusters() {
		cluster, spelling := decrement(p.clusters, m.Cluster), p.spellings.fewer(m.App)
		if cluster || spelling {
			a.index.changed(p.app)
		}
	}
	a.touch(p)
	if p.empty() {
		p.app.version.Store(a.index.tick())
		delete(a.apps, key)
		a.index.leave(key, a)
	}
}

// decrement counts one down and says whether nothing is left.
func decrement(counts map[string]int, key string) bool {
	counts[key]--
	if counts[key] > 0 {
		return false
	}
	delete(counts, key)
	return true
}

func (a *Account) touch(p *part) {
	if a.filling {
		return
	}
	p.version = a.index.tick()
	p.app.version.Store(a.index.tick())
}

// fill takes in so much that nearly all applications of the account are others than
// before.
func (a *Account) fill(take func()) {
	a.filling = true
	take()
	a.filling = false
	for _, p := range a.apps {
		a.touch(p)
	}
}

func (a *Account) touchApp(name string) {
	if p := a.apps[strings.ToLower(name)]; p != nil {
		a.touch(p)
	}
}

// touchRelated gives every application that shows the object a new version:
// its own, and those of its owners, of what it owns and of what it is linked
// to, which may be others.
func (a *Account) touchRelated(o *Object) {
	if a.filling {
		return
	}
	a.touchApp(o.Moniker().App)
	switch o.Kind.Class {
	case spinnaker.Instances:
		o.eachOwner(func(w Owner) {
			if group := a.byUID[w.key]; group != nil {
				a.touchGroup(group)
			}
		})
	case spinnaker.ServerGroups:
		a.touchGroup(o)
		o.eachOwner(func(w Owner) {
			if manager := a.byUID[w.key]; manager != nil {
				a.touchApp(manager.Moniker().App)
			}
		})
	case spinnaker.LoadBalancers:
		for _, group := range a.links.groupsOf(o) {
			a.touchApp(group.Moniker().App)
		}
	}
}

func (a *Account) touchGroup(group *Object) {
	a.touchApp(group.Moniker().App)
	for _, balancer := range a.links.balancersOf(group) {
		a.touchApp(balancer.Moniker().App)
	}
}

// namespaceNames lists the cluster's namespaces, less the omitted ones.
func (a *Account) namespaceNames() []string {
	a.mu.RLock()
	defer a.mu.RUnlock()
	out := make([]string, 0, len(a.namespaces))
	for _, name := range a.namespaces {
		if a.account.AllowsNamespace(name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
