package view

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// balanced is an account's part of an application with services before replica sets of
// pods, of which one has odd letters in all that can have them.
func balanced(t testing.TB, pods int) index.Part {
	t.Helper()
	ix := newIndex(t)
	account := ix.Open(&account.Account{Name: `a"b`, DeriveNames: true})
	taken := func(r cluster.Resource, objects ...string) {
		t.Helper()
		r.Version, r.Namespaced, r.Watchable = "v1", true, true
		decode, receiver := account.Open(r, &watch.Stream{})
		for i, text := range objects {
			o, err := decode(fmt.Appendf(nil, `{"metadata":{"namespace":"ns","resourceVersion":"%d",%s}`, i+1, text))
			if err != nil {
				t.Fatal(err, text)
			}
			receiver.Upsert(o)
		}
	}
	taken(cluster.Resource{Plural: "services", Kind: "Service"},
		`"name":"web","uid":"s1"},"spec":{"selector":{"app":"web"}}`, `"name":"web-other","uid":"s2"},"spec":{"selector":{"app":"web"}}`, `"name":"web-none","uid":"s3"},"spec":{"selector":{"app":"none"}}`)
	taken(cluster.Resource{Group: "apps", Plural: "replicasets", Kind: "ReplicaSet"},
		`"name":"web-v000","uid":"r0"},"spec":{"template":{"metadata":{"labels":{"app":"web"}}}}`, `"name":"web-v001","uid":"r1"},"spec":{"template":{"metadata":{"labels":{"app":"web"}}}}`)
	states := []string{`,"status":{"phase":"Running","containerStatuses":[{"name":"<main>","ready":true}]}`, `,"status":{"phase":"Pending"}`, `,"status":{}`, ``}
	var all []string
	for n := range pods {
		name := fmt.Sprint("web-v001-", n)
		if n == 1 {
			name = `odd\"é\u2028<&>\\`
		}
		all = append(all, fmt.Sprintf(`"name":"%s","uid":"%08d-0000-4000-8000-000000000000","ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-v001","uid":"r1"}]}%s`, name, n, states[n%len(states)]))
	}
	taken(cluster.Resource{Plural: "pods", Kind: "Pod"}, all...)
	p := ix.Part("web", `a"b`, index.Balancers)
	if len(p.Balancers) != 3 || len(p.Balancers[0].Groups) != 2 || len(p.Balancers[0].Groups[1].Instances) != pods {
		t.Fatalf("%+v", p)
	}
	return p
}

func TestLoadBalancers_AreWrittenAsTheirModelIs(t *testing.T) {
	for _, pods := range []int{0, 1, 9} {
		p := balanced(t, pods)
		for i, e := range LoadBalancers(p) {
			if want := encode(NewLoadBalancer(p.Account, p.Balancers[i])); !bytes.Equal(e.JSON, want) {
				t.Errorf("%s\nand not\n%s", e.JSON, want)
			}
		}
	}
}

func BenchmarkLoadBalancers(b *testing.B) {
	p := balanced(b, 44)
	b.Run("list", func(b *testing.B) {
		for b.Loop() {
			LoadBalancers(p)
		}
	})
	b.Run("models", func(b *testing.B) {
		for b.Loop() {
			for _, balancer := range p.Balancers {
				encode(NewLoadBalancer(p.Account, balancer))
			}
		}
	})
}
