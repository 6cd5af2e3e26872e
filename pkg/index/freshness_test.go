package index

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

var rollouts = cluster.Resource{Group: "example.com", Version: "v1beta1", Plural: "rollouts", Kind: "Rollout", Namespaced: true, Watchable: true}

func podKind() cluster.Resource {
	return cluster.Resource{Version: "v1", Plural: "pods", Kind: "Pod", Namespaced: true, Watchable: true}
}

// opened is one kind of an account.
func opened(t *testing.T, ix *Index, a *account.Account, r cluster.Resource) (watch.AccountSink, sink) {
	t.Helper()
	accounts := ix.Open(a)
	decode, receiver := accounts.Open(r, &watch.Stream{Kind: r.KindText()})
	return accounts, sink{decode, receiver}
}

func (r sink) text(t *testing.T, text string) watch.Object {
	t.Helper()
	o, _ := r.decode([]byte(text))
	if o == nil {
		t.Fatalf("%s is left out", text)
	}
	return o
}

func thing(name, uid, version, more string) string {
	return fmt.Sprintf(`{"metadata":{"name":%q,"namespace":"ns","uid":%q,"resourceVersion":%q}%s}`, name, uid, version, more)
}

// TestTombstones_AreForgotten: the watch may have told of a deletion before we
// heard of it, so that its event never comes.
func TestTombstones_AreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ix := New(nil)
		sinks, s := opened(t, ix, &account.Account{Name: "a", DeriveNames: true}, podKind())
		held := sinks.(*Account)
		for i := range 1000 {
			uid := fmt.Sprint("u", i)
			s.stream.Upsert(s.text(t, thing("p", uid, fmt.Sprint(2*i+1), "")))
			s.stream.Delete(s.text(t, thing("p", uid, fmt.Sprint(2*i+2), "")))
			ix.Gone("a", "pod", "ns", "p", uid)
			time.Sleep(10 * time.Second)
		}
		if n := len(held.gone); n > 80 {
			t.Errorf("%d deletions are remembered", n)
		}
	})
}

// TestGone_LateEventsDoNotBringAnObjectBack, whether they come by the watch or by
// a list that was made before.
func TestGone_LateEventsDoNotBringAnObjectBack(t *testing.T) {
	ix := New(nil)
	_, s := opened(t, ix, &account.Account{Name: "a", DeriveNames: true}, podKind())
	s.stream.Upsert(s.text(t, thing("p", "u", "5", "")))
	ix.Gone("a", "pod", "ns", "p", "u")
	s.stream.Upsert(s.text(t, thing("p", "u", "6", "")))
	if o := ix.Find("a", "ns", "pod", "p"); o != nil {
		t.Errorf("%+v is back", o)
	}
	s.stream.Upsert(s.text(t, thing("q", "w", "8", "")))
	s.stream.Delete(s.text(t, thing("q", "w", "9", "")))
	s.stream.Replace([]watch.Object{s.text(t, thing("q", "w", "8", ""))}, "8", false) // asked for before the deletion
	if o := ix.Find("a", "ns", "pod", "q"); o != nil {
		t.Errorf("a list of before brought %+v back", o)
	}
}

// TestOpen_AnotherVersionOfAKindKeepsItsObjects until they are listed in it.
func TestOpen_AnotherVersionOfAKindKeepsItsObjects(t *testing.T) {
	ix := New(nil)
	a := &account.Account{Name: "a", DeriveNames: true}
	a.CustomResources = map[string]spinnaker.Class{"Rollout.example.com": "serverGroupManagers"}
	sinks, old := opened(t, ix, a, rollouts)
	old.stream.Replace([]watch.Object{old.text(t, thing("web", "u", "5", ""))}, "6", false)
	moved := rollouts
	moved.Version = "v1"
	decode, receiver := sinks.Open(moved, &watch.Stream{})
	next := sink{decode, receiver}
	find := func() *Object { return ix.Find("a", "ns", "Rollout.example.com", "web") }
	if o := find(); o == nil || o.Kind.APIVersion != "example.com/v1beta1" {
		t.Fatalf("before the list: %+v", o)
	}
	next.stream.Replace([]watch.Object{next.text(t, thing("web", "u", "5", ""))}, "7", false)
	if o := find(); o == nil || o.Kind.APIVersion != "example.com/v1" {
		t.Errorf("after the list: %+v", o)
	}
	old.stream.Replace(nil, "9", false)
	old.stream.Delete(old.text(t, thing("web", "u", "9", "")))
	if find() == nil {
		t.Error("the old version's watch has taken the object away")
	}
}

// TestNewEpoch_VoidsWhatIsKnownOfVersions.
func TestNewEpoch_VoidsWhatIsKnownOfVersions(t *testing.T) {
	ix := New(nil)
	sinks, s := opened(t, ix, &account.Account{Name: "a", DeriveNames: true}, podKind())
	s.stream.Replace([]watch.Object{s.text(t, thing("p", "u", "500", ""))}, "500", false)
	w := Write{Account: "a", Kind: "pod", Namespace: "ns", Name: "other", UID: "o", Version: "400"}
	if !ix.Confirms(w) {
		t.Fatal("a version that was passed is not confirmed")
	}
	ix.Gone("a", "pod", "ns", "gone", "g")
	sinks.NewEpoch()
	if ix.Confirms(w) {
		t.Error("a version of another history is confirmed")
	}
	s.stream.Replace([]watch.Object{s.text(t, thing("p", "u", "100", "")), s.text(t, thing("gone", "g", "90", ""))}, "110", true)
	for _, name := range []string{"p", "gone"} {
		if o := ix.Find("a", "ns", "pod", name); o == nil {
			t.Errorf("%s of the new history is not shown", name)
		}
	}
}

// TestDecode_OddObjectsAreShownAsFarAsTheyCanBeRead and say that they are odd.
func TestDecode_OddObjectsAreShownAsFarAsTheyCanBeRead(t *testing.T) {
	a := &account.Account{Name: "a", DeriveNames: true, CustomResources: map[string]spinnaker.Class{"Rollout.example.com": "serverGroups"}}
	_, groups := opened(t, New(nil), a, rollouts)
	_, some := opened(t, New(nil), a, podKind())
	for name, c := range map[string]struct {
		s    sink
		more string
		odd  bool
		ok   func(*Object) bool
	}{
		"spec is a list":   {groups, `,"spec":[1]`, true, func(o *Object) bool { return o.Group != nil && o.Group.Desired == 0 }},
		"status is a text": {groups, `,"spec":{"replicas":3},"status":"x"`, true, func(o *Object) bool { return o.Group.Desired == 3 }},
		"both are odd":     {groups, `,"spec":7,"status":[]`, true, func(o *Object) bool { return o.Group != nil }},
		"neither":          {groups, `,"spec":{"replicas":3}`, false, func(o *Object) bool { return o.Group.Desired == 3 }},
		"a pod's status":   {some, `,"status":7`, true, func(o *Object) bool { return !o.Pod().HasStatus }},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := c.s.decode([]byte(thing("x", "u", "1", c.more)))
			if (err != nil) != c.odd || o == nil || !c.ok(o.(*Object)) {
				t.Errorf("%+v %v", o, err)
			}
		})
	}
	if o, err := groups.decode([]byte(`{"metadata":{"name":["x"]}}`)); o != nil || err == nil {
		t.Errorf("%+v %v", o, err)
	}
}

func TestContainers_NamesMayHoldAnyCharacter(t *testing.T) {
	_, s := opened(t, New(nil), &account.Account{Name: "a", DeriveNames: true}, podKind())
	long := strings.Repeat("x", 300)
	o := s.text(t, thing("p", "u", "1", `,"status":{"phase":"Running","containerStatuses":[{"name":"\u0000","ready":true},{"name":"","ready":false},{"name":"`+long+`","ready":true},{"name":"0\u00001","ready":false}]}`))
	want := []Container{{"\x00", true}, {"", false}, {long, true}, {"0\x001", false}}
	if got := o.(*Object).Pod().Containers(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%+v", got)
	}
}

// TestFeeds_CostLittleUntilSomethingHappens: anybody may open one for any name.
func TestFeeds_CostLittleUntilSomethingHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ix := New(nil)
		for i := range 10_000 {
			f := ix.Follow(fmt.Sprint("nobody-", i))
			if cap(f.ring) != 0 {
				t.Fatalf("%d changes have room", cap(f.ring))
			}
			f.Unfollow()
		}
		time.Sleep(3 * feedFor)
		ix.feeds.mu.Lock()
		defer ix.feeds.mu.Unlock()
		if n := len(ix.feeds.of); n != 0 || ix.feeds.active.Load() != 0 {
			t.Errorf("%d feeds are kept", n)
		}
	})
}

func TestFeed_GrowsAsItIsUsedAndKeepsTheLatest(t *testing.T) {
	ix := New(nil)
	f := ix.Follow("app")
	defer f.Unfollow()
	for n := uint64(1); n <= feedMost+100; n++ {
		f.add(&Change{})
		for _, after := range []uint64{n - 1, n - min(n, 10)} {
			all, err := f.Next(t.Context(), after, 1, nil)
			if err != nil || all[0].Seq != after+1 {
				t.Fatalf("after %d of %d: %v %v", after, n, all, err)
			}
		}
	}
	if len(f.ring) != feedMost {
		t.Errorf("room for %d", len(f.ring))
	}
	if _, err := f.Next(t.Context(), 10, 1, nil); err == nil {
		t.Error("what is not kept any more was given")
	}
}

// TestWritten_AKindThatMayNotBeListedShowsNoPhantom: nothing would ever take the
// object away again.
func TestWritten_AKindThatMayNotBeListedShowsNoPhantom(t *testing.T) {
	ix := New(nil)
	ix.Open(&account.Account{Name: "a", DeriveNames: true}).Open(podKind(), watch.EndedStream("pod", errors.New("forbidden")))
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "p", "namespace": "ns", "uid": "u", "resourceVersion": "1"}}}
	ix.Written("a", "pod", o)
	if found := ix.Find("a", "ns", "pod", "p"); found != nil {
		t.Errorf("%+v", found)
	}
	if !ix.Confirms(Write{Account: "a", Kind: "pod", Namespace: "ns", Name: "p", UID: "u", Version: "1"}) {
		t.Error("a write waits to be shown by a kind that shows nothing")
	}
}
