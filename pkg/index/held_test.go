package index

import (
	"slices"
	"testing"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// TestHeld_NamespacesAreObjectsToo: they stay the account's list.
func TestHeld_NamespacesAreObjectsToo(t *testing.T) {
	cache, err := NewCache(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Close)
	ix := New(cache)
	namespace := cluster.Resource{Version: "v1", Plural: "namespaces", Kind: "Namespace", Watchable: true}
	decode, receiver := ix.Open(&account.Account{Name: "prod", DeriveNames: true, Held: account.Held{All: true}}).Open(namespace, &watch.Stream{})
	object := func(name, version string) watch.Object {
		o, err := decode([]byte(`{"metadata":{"name":"` + name + `","uid":"u-` + name + `","resourceVersion":"` + version + `"}}`))
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	found := func() (names []string) {
		hits, _ := ix.Search(Search{Kinds: []string{"namespace"}, Most: 10})
		for _, h := range hits {
			names = append(names, h.Name)
		}
		return names
	}
	receiver.Replace([]watch.Object{object("shop", "1"), object("bank", "2")}, "2", true)
	receiver.Upsert(object("tools", "3"))
	receiver.Delete(object("bank", "4"))
	receiver.Passed("5")
	if got := found(); !slices.Equal(got, []string{"shop", "tools"}) {
		t.Errorf("hits: %q", got)
	}
	if got := ix.Namespaces("prod"); !slices.Equal(got, []string{"shop", "tools"}) {
		t.Errorf("the account's list: %q", got)
	}
}

// TestHeld_IsWhatIsAskedFor is kubernetes.cache (accounts.md 7.1).
func TestHeld_IsWhatIsAskedFor(t *testing.T) {
	configMap := cluster.Resource{Version: "v1", Plural: "configmaps", Kind: "ConfigMap", Namespaced: true, Watchable: true}
	crontab := cluster.Resource{Group: "stable.example.com", Version: "v1", Plural: "crontabs", Kind: "CronTab", Namespaced: true, Watchable: true}
	definition := cluster.Resource{Group: "apiextensions.k8s.io", Version: "v1", Plural: "customresourcedefinitions", Kind: "CustomResourceDefinition", Watchable: true}
	event := cluster.Resource{Version: "v1", Plural: "events", Kind: "Event", Namespaced: true, Watchable: true}
	replicaSet := cluster.Resource{Group: "apps", Version: "v1", Plural: "replicasets", Kind: "ReplicaSet", Namespaced: true, Watchable: true}
	for name, c := range map[string]struct {
		a    account.Account
		want map[*cluster.Resource]bool
	}{
		"by default":  {account.Account{}, map[*cluster.Resource]bool{&configMap: false, &crontab: false, &definition: false, &event: false, &replicaSet: true}},
		"all":         {account.Account{Held: account.Held{All: true}}, map[*cluster.Resource]bool{&configMap: true, &crontab: true, &definition: true, &event: false, &replicaSet: true}},
		"one":         {account.Account{Held: account.Held{Kinds: []string{"configMap"}}}, map[*cluster.Resource]bool{&configMap: true, &crontab: false, &replicaSet: true}},
		"all but one": {account.Account{Held: account.Held{All: true, Omit: []string{"configmap", "replicaSet"}}}, map[*cluster.Resource]bool{&configMap: false, &crontab: true, &replicaSet: false}},
		"not allowed": {account.Account{Held: account.Held{All: true}, OmitKinds: []string{"configMap"}}, map[*cluster.Resource]bool{&configMap: false, &crontab: true}},
	} {
		for r, want := range c.want {
			if got := Wants(&c.a, *r); got != want {
				t.Errorf("%s: %s: %t", name, r.Kind, got)
			}
		}
	}
}
