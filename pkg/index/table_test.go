package index

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestTable_FindsWhatAMapWouldFind under any coming and going: lists, single objects,
// replacements, and what makes room in between.
func TestTable_FindsWhatAMapWouldFind(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		var tested table
		want := map[place]*Object{}
		object := func() *Object {
			return &Object{Kind: &Kind{Text: "pod"}, Namespace: fmt.Sprint("ns", r.IntN(3)), Name: fmt.Sprint("name-", r.IntN(4000))}
		}
		put := func(o *Object) {
			where := place{o.Namespace, strings.Clone(o.Name)}
			if old := tested.find(o.Namespace, o.Name); old != nil {
				tested.replace(old, o)
			} else {
				tested.add(o)
			}
			want[where] = o
		}
		for range 20 {
			switch r.IntN(3) {
			case 0:
				var list []*Object
				for range r.IntN(1500) {
					list = append(list, object())
				}
				tested.expect(slices.Values(list))
				for _, o := range list {
					put(o)
				}
				tested.clip()
			case 1:
				for range r.IntN(200) {
					put(object())
				}
			case 2:
				for o := range tested.objects() {
					if r.IntN(3) > 0 {
						delete(want, place{o.Namespace, o.Name})
						tested.remove(o)
					}
				}
			}
			if tested.len() != len(want) {
				t.Fatalf("seed %d: %d objects, want %d", seed, tested.len(), len(want))
			}
			for where, o := range want {
				if tested.find(where.namespace, where.name) != o || o.Name != where.name || tested.rows[o.row].o != o {
					t.Fatalf("seed %d: %v is %+v", seed, where, tested.find(where.namespace, where.name))
				}
			}
			for range 100 {
				if o := object(); tested.find(o.Namespace, o.Name) != want[place{o.Namespace, o.Name}] {
					t.Fatalf("seed %d: %s in %s is taken for another", seed, o.Name, o.Namespace)
				}
			}
			held := maps.Collect(func(yield func(place, *Object) bool) {
				for o := range tested.objects() {
					if !yield(place{o.Namespace, o.Name}, o) {
						return
					}
				}
			})
			if !maps.Equal(held, want) {
				t.Fatalf("seed %d: %d objects are listed, want %d", seed, len(held), len(want))
			}
		}
	}
}

func TestTable_AListsNamesAreOneText(t *testing.T) {
	var tested table
	list := make([]*Object, 1000)
	for i := range list {
		list[i] = &Object{Namespace: "ns", Name: fmt.Sprintf("name-%d", i)}
	}
	tested.expect(slices.Values(list))
	for _, o := range list {
		tested.add(o)
	}
	tested.clip()
	own := testing.AllocsPerRun(1, func() {
		for _, o := range list {
			if tested.find("ns", o.Name) != o {
				t.Error(o.Name)
			}
		}
	})
	if own > 0 {
		t.Errorf("looking up takes memory: %.0f", own)
	}
}

func TestSet_IsASetOfAnySize(t *testing.T) {
	objects := make([]*Object, 3*mostFew)
	for i := range objects {
		objects[i] = &Object{Name: fmt.Sprint(i)}
	}
	r := rand.New(rand.NewPCG(1, 1))
	var tested set
	want := map[*Object]struct{}{}
	for range 5000 {
		o := objects[r.IntN(len(objects))]
		if r.IntN(2) == 0 {
			tested.add(o)
			want[o] = struct{}{}
		} else {
			tested.remove(o)
			delete(want, o)
		}
		got := map[*Object]struct{}{}
		for o := range tested.all() {
			got[o] = struct{}{}
		}
		if tested.len() != len(want) || !maps.Equal(got, want) {
			t.Fatalf("%d and %d, want %d", tested.len(), len(got), len(want))
		}
	}
	sets := map[string]set{}
	insert(sets, "a", objects[0])
	insert(sets, "a", objects[1])
	discard(sets, "a", objects[0])
	discard(sets, "b", objects[0])
	if s := sets["a"]; len(sets) != 1 || s.len() != 1 {
		t.Error(sets)
	}
	if discard(sets, "a", objects[1]); len(sets) != 0 {
		t.Error(sets)
	}
}

func TestVersion_IsANumberOrComparedAsText(t *testing.T) {
	of := func(text string) *Object {
		o := &Object{}
		o.setVersion([]byte(text))
		return o
	}
	texts := []string{"1", "2", "10", "9999999999999999999", "18446744073709551615", "18446744073709551616", "99999999999999999999999999", "0", "007", "abc", "-1", "1a"}
	for _, a := range texts {
		if got := of(a).ResourceVersion(); got != a || !of(a).hasVersion([]byte(a)) {
			t.Errorf("%s is %s", a, got)
		}
		for _, b := range texts {
			x, y := of(a), of(b)
			if x.newer(y) != newer(a, b) || x.newerThan(b) != newer(a, b) || x.sameVersion(y) != (a == b) || x.hasVersion([]byte(b)) != (a == b) {
				t.Errorf("%s and %s: newer %v, than %v, same %v, has %v", a, b, x.newer(y), x.newerThan(b), x.sameVersion(y), x.hasVersion([]byte(b)))
			}
		}
	}
}

func TestUID_StandsForItselfHoweverItIsWritten(t *testing.T) {
	for _, text := range []string{"01234567-89ab-cdef-0123-456789abcdef", "01234567-89AB-cdef-0123-456789abcdef", "uid-1", ""} {
		o := &Object{}
		o.setUID([]byte(text))
		if o.UID() != text && text != "" || text != "" && o.key() != uidOf(text) {
			t.Errorf("%q is %q", text, o.UID())
		}
	}
	if uidOf("uid-1") == uidOf("uid-2") {
		t.Error("two are one")
	}
}

func TestContains_IsWhateverTheCase(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	letters := []rune("abABkKé\u212A\u0130 -")
	text := func(n int) string {
		out := make([]rune, r.IntN(n))
		for i := range out {
			out[i] = letters[r.IntN(len(letters))]
		}
		return string(out)
	}
	for range 20_000 {
		all, part := text(12), strings.ToLower(text(4))
		if got, want := Contains(all, part), strings.Contains(strings.ToLower(all), part); got != want {
			t.Fatalf("%q in %q: %v", part, all, got)
		}
	}
}

// TestApplications_AreAsIfListedAnew whatever has changed since they were listed last.
func TestApplications_AreAsIfListedAnew(t *testing.T) {
	for seed := range uint64(10) {
		c := &simulated{rand: rand.New(rand.NewPCG(seed, 7)), objects: map[string]map[string]map[string]any{}}
		for _, r := range everyKind {
			c.objects[r.Kind] = map[string]map[string]any{}
		}
		ix := New(nil)
		receivers := open(ix)
		for range 300 {
			c.mutate()
			last := c.history[len(c.history)-1]
			o := receivers[last.kind].object(t, last.object)
			before := ix.Applications()
			if last.deleted {
				receivers[last.kind].stream.Delete(o)
			} else {
				receivers[last.kind].stream.Upsert(o)
			}
			got, want := ix.Applications(), ix.list(1, nil).all
			if fmt.Sprint(plain(got)) != fmt.Sprint(plain(want)) {
				t.Fatalf("seed %d: %v, want %v", seed, plain(got), plain(want))
			}
			for _, was := range before {
				for _, is := range got {
					if was.Name == is.Name && fmt.Sprint(was.Clusters) == fmt.Sprint(is.Clusters) && len(before) == len(got) && was.form != is.form && last.kind != "Deployment" && last.kind != "ReplicaSet" {
						t.Fatalf("seed %d: %s is listed anew for a change of a %s", seed, is.Name, last.kind)
					}
				}
			}
		}
	}
}

func plain(all []Application) (out []Application) {
	for _, a := range all {
		out = append(out, a.In(a.Clusters))
	}
	return out
}

func TestApplication_IsMadeOnceAsLongAsItIsTheSame(t *testing.T) {
	ix := New(nil)
	all := open(ix)
	object := func(name, version string) map[string]any {
		return map[string]any{"metadata": map[string]any{"name": name, "namespace": "ns", "uid": name, "resourceVersion": version,
			"annotations": map[string]string{"moniker.spinnaker.io/application": name, "moniker.spinnaker.io/cluster": name}}}
	}
	for i, name := range []string{"one", "two"} {
		all["Deployment"].stream.Upsert(all["Deployment"].object(t, object(name, fmt.Sprint(i+1))))
	}
	times := map[string]int{}
	count := func(a Application) any { times[a.Name]++; return a.Name }
	use := func() {
		for _, a := range ix.Applications() {
			if a.Made(count) != a.Name {
				t.Error("it is made of another one")
			}
		}
	}
	use()
	all["Deployment"].stream.Upsert(all["Deployment"].object(t, object("one", "3"))) // in place
	use()
	all["ReplicaSet"].stream.Upsert(all["ReplicaSet"].object(t, map[string]any{"metadata": map[string]any{"name": "r", "namespace": "ns", "uid": "r", "resourceVersion": "4",
		"annotations": map[string]string{"moniker.spinnaker.io/application": "two", "moniker.spinnaker.io/cluster": "another"}}}))
	use()
	if want := map[string]int{"one": 1, "two": 2}; !maps.Equal(times, want) {
		t.Errorf("%v, want %v", times, want)
	}
	other := ix.Applications()[0].In(nil)
	if other.Made(func(a Application) any { return len(a.Clusters) }) != 0 {
		t.Error("what was made of all of it is taken for a part")
	}
}

// TestUpsert_WhatWasTakenAwayComesBackAsAnother: somebody may still read the one that
// was there.
func TestUpsert_WhatWasTakenAwayComesBackAsAnother(t *testing.T) {
	ix := New(nil)
	s := open(ix)["Pod"]
	s.stream.Upsert(s.object(t, map[string]any{"metadata": map[string]any{
		"name": "p", "namespace": "ns", "uid": "u", "resourceVersion": "1", "annotations": map[string]string{"moniker.spinnaker.io/application": "app"},
	}}))
	a := ix.account("a")
	k := a.kinds["pod"]
	was := k.table.find("ns", "p")
	before := *was
	before.row = gone
	a.mu.Lock()
	a.vanish(k, was)
	a.upsert(k, was)
	is := k.table.find("ns", "p")
	a.mu.Unlock()
	if is == was || is == nil || is.Name != "p" || *was != before {
		t.Errorf("%p is %p", was, is)
	}
}
