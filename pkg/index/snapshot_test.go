package index

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// keptIn is one account's snapshot.
type keptIn []byte

func (k keptIn) Load(*account.Account) ([]byte, time.Time) { return k, time.Time{} }
func (keptIn) Refuse(*account.Account, error)              {}

func TestSnapshot_HoldsAnyObjectAsItIs(t *testing.T) {
	of := watch.Identity{UID: "c", Version: "v1.37.2"}
	for seed := range uint64(2_000) {
		r := rand.New(rand.NewPCG(seed, 5))
		kind := decodedKinds[r.IntN(len(decodedKinds))]
		stream := &pastStream{resource: deployments, passed: "17", heard: 4, ignored: seed%2 == 0}
		for range 4 {
			raw, err := json.Marshal(anyObject(r))
			if err != nil {
				t.Fatal(err)
			}
			got, _ := objectDecoder(&account.Account{DeriveNames: true}, kind)(raw)
			o := got.(*Object)
			o.Kind = nil // the stream's
			stream.objects = append(stream.objects, o)
		}
		if seed%7 == 0 {
			stream.objects[0].Group = &GroupState{packed: []byte("packed"), Images: []string{}, Desired: -1}
		}
		streams := map[streamKey]*pastStream{{"deployment", "ns"}: stream}
		namespaces := map[string]string{"u": "ns"}
		content := encodeSnapshot(nil, of, streams, namespaces)
		past, held, err := decodeSnapshot(content)
		if err != nil || past.Identity != of || !reflect.DeepEqual(held.namespaces, namespaces) || !reflect.DeepEqual(held.streams, streams) {
			t.Fatalf("seed %d: %v %+v\n%+v\n%+v", seed, err, past, held.streams[streamKey{"deployment", "ns"}], stream)
		}
	}
}

func TestSnapshot_WhatIsCutOrMadeLongerIsRefused(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 5))
	raw, err := json.Marshal(anyObject(r))
	if err != nil {
		t.Fatal(err)
	}
	got, _ := objectDecoder(&account.Account{DeriveNames: true}, decodedKinds[2])(raw)
	streams := map[streamKey]*pastStream{{"deployment", ""}: {resource: deployments, passed: "17", objects: []*Object{got.(*Object)}}}
	whole := encodeSnapshot(nil, watch.Identity{UID: "c"}, streams, nil)
	for n := range len(whole) {
		if _, _, err := decodeSnapshot(whole[:n]); err == nil {
			t.Errorf("the first %d of %d bytes are taken", n, len(whole))
		}
	}
	if _, _, err := decodeSnapshot(append(whole, 0)); err == nil {
		t.Error("what is longer is taken")
	}
}

func FuzzSnapshot(f *testing.F) {
	f.Add(encodeSnapshot(nil, watch.Identity{UID: "c"}, map[streamKey]*pastStream{{"deployment", ""}: {resource: deployments, passed: "1"}}, nil))
	f.Fuzz(func(_ *testing.T, content []byte) { _, _, _ = decodeSnapshot(content) })
}

// TestSnapshot_GoesOnAsIfNothingHadEnded takes a snapshot at any moment of a history;
// who begins with it shows what was shown then, and at last what has seen it all.
func TestSnapshot_GoesOnAsIfNothingHadEnded(t *testing.T) {
	for seed := range uint64(500) {
		c := &simulated{rand: rand.New(rand.NewPCG(seed, 9)), objects: map[string]map[string]map[string]any{}}
		for _, r := range everyKind {
			c.objects[r.Kind] = map[string]map[string]any{}
		}
		for range 60 {
			c.mutate()
		}
		before := New(nil)
		receivers := open(before)
		for _, s := range receivers {
			s.replace(t, nil, 0, false)
		}
		send := func(to map[string]sink, changes []change) {
			for _, ch := range changes {
				o := to[ch.kind].object(t, ch.object)
				if ch.deleted {
					to[ch.kind].stream.Delete(o)
				} else {
					to[ch.kind].stream.Upsert(o)
				}
			}
		}
		moment := c.rand.IntN(len(c.history))
		send(receivers, c.history[:moment])
		_, content := before.Snapshot("a", watch.Identity{UID: "c"}, time.Time{}, nil)
		after := New(nil)
		after.Begin(keptIn(content))
		opened := after.Open(&account.Account{Name: "a"})
		past := opened.Past(t.Context())
		if past == nil || past.UID != "c" || len(past.Streams) != len(everyKind) {
			t.Fatalf("%+v", past)
		}
		resumed := map[string]sink{}
		versions := map[string]int{}
		for _, p := range past.Streams {
			decode, stream := opened.Open(p.Resource, &watch.Stream{Kind: p.Resource.KindText()})
			resumed[p.Resource.Kind] = sink{decode, stream}
			versions[p.Resource.Kind], _ = strconv.Atoi(p.Version)
		}
		if got, want := picture(after), picture(before); !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d at %d:\ngot  %v\nwant %v", seed, moment, got, want)
		}
		// A watch brings again what came after its version only; some come twice.
		again := max(moment-c.rand.IntN(3), 0)
		for _, ch := range c.history[again:moment] {
			version := ch.object["metadata"].(map[string]any)["resourceVersion"].(string)
			if n, _ := strconv.Atoi(version); n > versions[ch.kind] {
				t.Fatalf("seed %d: %s %s has come before the snapshot and is said not to", seed, ch.kind, version)
			}
		}
		send(resumed, c.history[again:])
		send(receivers, c.history[moment:])
		if got, want := picture(after), picture(before); !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d at the end:\ngot  %v\nwant %v", seed, got, want)
		}
	}
}

func TestSnapshot_NamespacesAreKept(t *testing.T) {
	namespaces := cluster.Resource{Version: "v1", Plural: "namespaces", Kind: "Namespace", Watchable: true}
	for _, held := range []account.Held{{}, {All: true}} {
		before := New(nil)
		a := &account.Account{Name: "a", Held: held}
		_, s := opened(t, before, a, namespaces)
		s.stream.Replace([]watch.Object{s.text(t, thing("one", "u1", "3", "")), s.text(t, thing("two", "u2", "4", ""))}, "9", false)
		s.stream.Passed("12")
		_, content := before.Snapshot("a", watch.Identity{}, time.Time{}, nil)
		after := New(nil)
		after.Begin(keptIn(content))
		next := after.Open(a)
		past := next.Past(t.Context())
		if past == nil || len(past.Streams) != 1 || past.Streams[0].Version != "12" {
			t.Fatalf("%+v", past)
		}
		next.Open(namespaces, &watch.Stream{Kind: "namespace"})
		if got := fmt.Sprint(next.(*Account).namespaceNames()); got != "[one two]" {
			t.Error(got)
		}
		if next.(*Account).past != nil {
			t.Error("what is taken in is kept twice")
		}
	}
}

func TestSnapshot_LeavesOutWhatIsOld(t *testing.T) {
	ix := New(nil)
	_, s := opened(t, ix, &account.Account{Name: "a"}, pods)
	s.stream.Replace([]watch.Object{s.text(t, thing("p", "u", "3", ""))}, "9", false)
	if _, content := ix.Snapshot("a", watch.Identity{}, time.Now(), nil); content != nil {
		t.Error("a stream that has heard nothing for long is kept")
	}
	if _, content := ix.Snapshot("nobody", watch.Identity{}, time.Time{}, nil); content != nil {
		t.Error("there is no such account")
	}
}

// TestSnapshot_IsOfOneMoment is taken beside a namespace's two receivers, which have
// one version: what one has may not pass for what the other has.
func TestSnapshot_IsOfOneMoment(t *testing.T) {
	namespaces := cluster.Resource{Version: "v1", Plural: "namespaces", Kind: "Namespace", Watchable: true}
	for range 300 {
		ix := New(nil)
		_, s := opened(t, ix, &account.Account{Name: "a", DeriveNames: true, Held: account.Held{All: true}}, namespaces)
		one := s.text(t, thing("one", "u1", "3", ""))
		listed := make(chan struct{})
		go func() {
			defer close(listed)
			s.stream.Replace([]watch.Object{one}, "9", false)
		}()
		var content []byte
		for content == nil {
			_, content = ix.Snapshot("a", watch.Identity{}, time.Time{}, nil)
		}
		<-listed
		_, held, err := decodeSnapshot(content)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(held.streams[streamKey{namespaceKind, ""}].objects); n != 1 || len(held.namespaces) != 1 {
			t.Fatalf("%d objects, namespaces %v", n, held.namespaces)
		}
	}
}

// TestEpoch_NothingOfTheOldOneIsTakenForTheNew: versions come again in a cluster that
// was restored, with other content.
func TestEpoch_NothingOfTheOldOneIsTakenForTheNew(t *testing.T) {
	ix := New(nil)
	sinks, s := opened(t, ix, &account.Account{Name: "a", DeriveNames: true}, pods)
	before, after := thing("p", "u", "7", `,"status":{"phase":"Running"}`), thing("p", "u", "7", `,"status":{"phase":"Pending"}`)
	s.stream.Replace([]watch.Object{s.text(t, before)}, "9", false)
	holder := s.stream.(watch.Holder)
	if holder.Held([]byte(after)) == nil {
		t.Fatal("it is not known by its version")
	}
	sinks.NewEpoch()
	s.stream.Upsert(s.text(t, thing("late", "l", "11", "")))
	s.stream.Passed("12")
	s.stream.Replace(nil, "13", false) // a list from before
	if holder.Held([]byte(after)) != nil {
		t.Error("what was held in the old epoch is taken for the new one's")
	}
	if _, content := ix.Snapshot("a", watch.Identity{UID: "new"}, time.Time{}, nil); content != nil {
		t.Error("what was held in the old epoch is kept as the new one's")
	}
	s.stream.Replace([]watch.Object{s.text(t, after)}, "8", true)
	held := &sinks.(*Account).kinds["pod"].table
	if held.len() != 1 || held.find("ns", "p").phase != Pending {
		t.Errorf("%+v", held)
	}
	if _, content := ix.Snapshot("a", watch.Identity{UID: "new"}, time.Time{}, nil); content == nil {
		t.Error("the new epoch is not kept")
	}
}

// hanging is a disk that does not answer.
type hanging struct{ until chan struct{} }

func (h hanging) Load(*account.Account) ([]byte, time.Time) {
	<-h.until
	return nil, time.Time{}
}
func (hanging) Refuse(*account.Account, error) {}

func TestSnapshot_ADiskThatHangsKeepsNobody(t *testing.T) {
	ix := New(nil)
	h := hanging{make(chan struct{})}
	defer close(h.until)
	ix.Begin(h)
	for n := range 2 * cap(ix.loading) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if past := ix.Open(&account.Account{Name: fmt.Sprint(n)}).Past(ctx); past != nil {
			t.Errorf("%+v", past)
		}
		cancel()
	}
}

func TestSnapshot_NamespacesOfAnAccountHaveTheirOwnStreams(t *testing.T) {
	ix := New(nil)
	a := &account.Account{Name: "a", DeriveNames: true, Namespaces: []string{"one", "two"}}
	sinks := ix.Open(a)
	for i, namespace := range a.Namespaces {
		decode, receiver := sinks.Open(pods, &watch.Stream{Kind: "pod", Namespace: namespace})
		o, err := decode([]byte(`{"metadata":{"name":"p","namespace":"` + namespace + `","uid":"u` + namespace + `","resourceVersion":"3"}}`))
		if err != nil {
			t.Fatal(err)
		}
		receiver.Replace([]watch.Object{o}, fmt.Sprint(10+i), false)
	}
	_, content := ix.Snapshot("a", watch.Identity{}, time.Time{}, nil)
	_, held, err := decodeSnapshot(content)
	if err != nil || len(held.streams) != 2 {
		t.Fatalf("%+v: %v", held, err)
	}
	for i, namespace := range a.Namespaces {
		s := held.streams[streamKey{"pod", namespace}]
		if s.passed != fmt.Sprint(10+i) || len(s.objects) != 1 || s.objects[0].Namespace != namespace {
			t.Errorf("%s: %+v", namespace, s)
		}
	}
}

// BenchmarkSnapshot takes a thousand pods and what owns them out of an index and into
// another one, and compares with reading their JSON.
func BenchmarkSnapshot(b *testing.B) {
	const objects = 1000
	var raw []string
	for i := range objects {
		raw = append(raw, fmt.Sprintf(`{"metadata":{"name":"web-v001-%[1]d","namespace":"ns","uid":"00000000-0000-0000-0000-%012[1]d","resourceVersion":"%[1]d","creationTimestamp":"2026-01-01T00:00:00Z",
			"labels":{"app":"web%[2]d","app.kubernetes.io/managed-by":"spinnaker"},"annotations":{"moniker.spinnaker.io/application":"web%[2]d","moniker.spinnaker.io/cluster":"replicaSet web"},
			"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-v001","uid":"owner-%[2]d"}]},
			"status":{"phase":"Running","containerStatuses":[{"name":"web","ready":true}]}}`, i, i/10))
	}
	fill := func(ix *Index) {
		opened := ix.Open(&account.Account{Name: "a"})
		decode, receiver := opened.Open(pods, &watch.Stream{Kind: "pod"})
		var all []watch.Object
		for _, text := range raw {
			o, err := decode([]byte(text))
			if err != nil {
				b.Fatal(err)
			}
			all = append(all, o)
		}
		receiver.Replace(all, "9", false)
	}
	ix := New(nil)
	fill(ix)
	_, content := ix.Snapshot("a", watch.Identity{}, time.Time{}, nil)
	for name, do := range map[string]func(){
		"save": func() { ix.Snapshot("a", watch.Identity{}, time.Time{}, nil) },
		"load": func() {
			next := New(nil)
			next.Begin(keptIn(content))
			opened := next.Open(&account.Account{Name: "a"})
			opened.Past(b.Context())
			opened.Open(pods, &watch.Stream{Kind: "pod"})
		},
		"list": func() { fill(New(nil)) },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				do()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/objects, "ns/object")
			b.ReportMetric(float64(len(content))/objects, "bytes/object")
		})
	}
}
