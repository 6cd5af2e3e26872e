package index

import (
	"testing"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
)

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
