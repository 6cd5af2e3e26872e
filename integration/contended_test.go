package integration

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/localkube"
)

// TestContended_NoWriteFails has a controller that rewrites the status of every
// object all the time: kubectl has no conflict there, and no more have we.
func TestContended_NoWriteFails(t *testing.T) {
	t.Parallel() // it keeps apart by namespace
	c := pool.Shared(t, 1)[0]
	for _, link := range []struct {
		name       string
		delay      time.Duration // of each way
		everyOther time.Duration
		rounds     int
	}{{"slow", 60 * time.Millisecond, 100 * time.Millisecond, 5}, {"fast", 0, 25 * time.Millisecond, 5}} {
		t.Run(link.name, func(t *testing.T) {
			name := "contended-" + link.name
			namespace(t, name, c)
			p, err := c.Proxy()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.Close)
			cfg := settings()
			cfg.Kubernetes.Accounts = javaAccounts(behind(c, "proxied", p))
			s := startWith(t, cfg, nil).ready(t)
			s.account = "proxied"
			o := &ops{s, c, name}
			const objects = 8
			for i := range objects {
				o.deploy(t, o.idle(fmt.Sprintf("web-%d", i), "v:0"), "").only(t)
			}
			p.Delay(link.delay)
			stop := make(chan struct{})
			var rewriting sync.WaitGroup
			rewriting.Go(func() { rewriteStatus(c, name, objects, link.everyOther, stop) })
			defer rewriting.Wait()
			defer close(stop)
			var mu sync.Mutex
			counts, failures := map[string]int{}, 0
			var all sync.WaitGroup
			for i := range objects {
				all.Go(func() {
					for round := range link.rounds {
						web := fmt.Sprintf("web-%d", i)
						sided := strings.Replace(o.idle("sided-"+web, fmt.Sprintf("v:%d", round+1)), "metadata: {name", "metadata: {annotations: {strategy.spinnaker.io/server-side-apply: 'true'}, name", 1)
						for kind, do := range map[string]func() done{
							"scale": func() done {
								return o.run(t, "scaleManifest", o.target("deployment "+web)+fmt.Sprintf("replicas: %d", round%2))
							},
							"apply": func() done { return o.deploy(t, o.idle(web, fmt.Sprintf("v:%d", round+1)), "") },
							"sided": func() done { return o.deploy(t, sided, "") },
							"patch": func() done {
								return o.run(t, "patchManifest", o.target("deployment "+web)+fmt.Sprintf("options: {mergeStrategy: strategic}\npatchBody: {metadata: {annotations: {round: 'r%d'}}}", round))
							},
							"restart": func() done { return o.run(t, "rollingRestartManifest", o.target("deployment "+web)) },
						} {
							d := do()
							mu.Lock()
							counts[kind]++
							if d.Status.Failed {
								failures++
								t.Errorf("%s: %s", kind, d.Status.Status)
							}
							mu.Unlock()
						}
					}
				})
			}
			all.Wait()
			t.Logf("%v, %d failures", counts, failures)
		})
	}
}

// idle is a deployment without pods.
func (o *ops) idle(name, image string) string {
	return strings.Replace(o.deployment(name, image), "replicas: 2", "replicas: 0", 1)
}

// rewriteStatus writes the status of the objects, each as often as said.
func rewriteStatus(c *localkube.Cluster, namespace string, objects int, every time.Duration, stop <-chan struct{}) {
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		case <-time.After(every / time.Duration(objects)):
		}
		name := fmt.Sprintf("web-%d", n%objects)
		if n/objects%2 == 1 {
			name = "sided-" + name
		}
		body := fmt.Sprintf(`{"status":{"conditions":[{"type":"Rewritten","status":"True","reason":"n%d","message":"","lastUpdateTime":"2026-01-01T00:00:00Z","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`, n)
		_, _ = c.Call(context.Background(), http.MethodPatch, "/apis/apps/v1/namespaces/"+namespace+"/deployments/"+name+"/status", mergePatch, []byte(body)) // it may not be there yet
	}
}

// TestApply_OntoAnObjectThatWasReplacedMeanwhile has it recreated between our
// look at it and our patch, for each way to apply.
func TestApply_OntoAnObjectThatWasReplacedMeanwhile(t *testing.T) {
	o := startOps(t, "replaced")
	for _, strategy := range []string{"none", "server-side-apply"} {
		name := "svc-" + strategy
		m := func(value string) string {
			return strings.Replace(o.serviceManifest(name, "{a: "+value+"}"), "metadata: {name", "metadata: {annotations: {strategy.spinnaker.io/"+strategy+": force-conflicts}, name", 1)
		}
		o.deploy(t, m("b"), "").only(t)
		s, _ := o.meddle(t, http.MethodPatch, "/services/"+name, func(n int64) *http.Response {
			if n == 1 {
				call(t, o.c, http.MethodDelete, o.core("services", name), "application/json", "")
				apply(t, o.c, o.serviceManifest(name, "{a: other}"))
			}
			return nil
		})
		s.deploy(t, m("c"), "").only(t)
		if got := o.live(t, o.core("services", name)).at("spec", "selector", "a"); got != "c" {
			t.Errorf("%s: %v", strategy, got)
		}
	}
}
