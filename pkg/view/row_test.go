package view

import (
	"strings"
	"testing"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

func newIndex(t testing.TB) *index.Index {
	t.Helper()
	cache, err := index.NewCache(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Close)
	return index.New(cache)
}

// TestServerGroups_OneThatCannotBeRenderedCostsItsRow has a group in the index
// whose state got lost.
func TestServerGroups_OneThatCannotBeRenderedCostsItsRow(t *testing.T) {
	ix := newIndex(t)
	decode, receiver := ix.Open(&account.Account{Name: "a", DeriveNames: true}).Open(
		cluster.Resource{Group: "apps", Version: "v1", Plural: "replicasets", Kind: "ReplicaSet", Namespaced: true, Watchable: true}, &watch.Stream{})
	for i, name := range []string{"web-v000", "web-v001", "web-v002"} {
		o, err := decode([]byte(`{"metadata":{"name":"` + name + `","namespace":"ns","uid":"` + name + `","resourceVersion":"` + string(rune('1'+i)) + `"}}`))
		if err != nil {
			t.Fatal(err)
		}
		receiver.Upsert(o)
	}
	p := ix.Part("web", "a", index.Groups)
	if len(p.Groups) != 3 {
		t.Fatalf("%+v", p)
	}
	p.Groups[1].Group = nil
	for _, expand := range []bool{false, true} {
		all := ServerGroups(p, expand)
		text := string(Join(nil, all))
		if !strings.Contains(text, "web-v000") || strings.Contains(text, "web-v001") || !strings.Contains(text, "web-v002") || strings.Contains(text, ",,") {
			t.Errorf("%s", text)
		}
		if !strings.Contains(all[1].LeftOut, `replicaSet web-v001 in "ns"`) {
			t.Errorf("%+v", all[1])
		}
	}
	if c, ok := NewCluster("web", p, p.Groups[0].Moniker().Cluster, true); !ok || len(c.ServerGroups) != 2 {
		t.Errorf("%v %+v", ok, c)
	}
}
