package index

import (
	"maps"
	"slices"
	"strings"
	"sync"
)

// Application is one application and its clusters by account. It must not be changed.
type Application struct {
	Name     string
	Clusters map[string][]string
	form     *form // nil for one that nobody comes back to
}

// form is what was made of an application.
type form struct {
	once sync.Once
	is   any
}

// Made is what by makes of the application: once, as long as the application is as it
// is.
func (a Application) Made(by func(Application) any) any {
	if a.form == nil {
		return by(a)
	}
	a.form.once.Do(func() { a.form.is = by(a) })
	if a.form.is == nil { // whoever made it has panicked
		return by(a)
	}
	return a.form.is
}

// In is the application with other clusters.
func (a Application) In(clusters map[string][]string) Application {
	return Application{Name: a.Name, Clusters: clusters}
}

// applications are all of them as long as the membership is the same.
type applications struct {
	membership uint64
	all        []Application
	by         map[string]listed // by lower-case name
}

// listed is an application as of a version of its members; Name is "" for one that
// has no cluster.
type listed struct {
	members uint64
	Application
}

// Applications lists every application that has a cluster, sorted by
// lower-case name. The list must not be changed.
func (ix *Index) Applications() []Application {
	membership := ix.Membership() // as it was before: what changes meanwhile is another one
	known := ix.listed.Load()
	if known == nil {
		known = &applications{}
	}
	if known.by == nil || known.membership != membership {
		known = ix.list(membership, known.by)
		ix.listed.Store(known)
	}
	return known.all
}

// list takes over the applications that have not changed.
func (ix *Index) list(membership uint64, before map[string]listed) *applications {
	out := &applications{membership: membership}
	out.by = ix.members()
	for key, now := range out.by {
		if was, ok := before[key]; ok && was.members == now.members && now.members != 0 {
			out.by[key] = was
			continue
		}
		if found, ok := ix.Application(key); ok {
			found.form = &form{}
			out.by[key] = listed{now.members, found}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(out.by)) {
		if app := out.by[key]; app.Name != "" {
			out.all = append(out.all, app.Application)
		}
	}
	return out
}

// members are the applications that there are, with the versions of their members.
func (ix *Index) members() map[string]listed {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	out := make(map[string]listed, len(ix.apps))
	for key, app := range ix.apps {
		out[key] = listed{members: app.members.Load()}
	}
	return out
}

// Application finds one application in any spelling; ok is false when it has
// no cluster.
func (ix *Index) Application(name string) (found Application, ok bool) {
	key := strings.ToLower(name)
	found.Clusters = map[string][]string{}
	for _, a := range ix.holders(name) {
		a.mu.RLock()
		if p := a.apps[key]; p != nil {
			p.addTo(&found, a.Name)
		}
		a.mu.RUnlock()
	}
	if len(found.Clusters) == 0 {
		return Application{}, false
	}
	return found, true
}

func (p *part) addTo(app *Application, account string) {
	if len(p.clusters) == 0 {
		return
	}
	for _, spelling := range p.spellings {
		if app.Name == "" || spelling.text < app.Name {
			app.Name = spelling.text
		}
	}
	app.Clusters[account] = slices.Sorted(maps.Keys(p.clusters))
}
