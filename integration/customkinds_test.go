package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/localkube"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// define makes kinds of a group, and waits until objects of them are accepted.
func define(t testing.TB, c *localkube.Cluster, group string, kinds ...string) {
	t.Helper()
	for _, kind := range kinds {
		plural := strings.ToLower(kind) + "s"
		apply(t, c, fmt.Sprintf(`apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[1]s.%[2]s}
spec:
  group: %[2]s
  scope: Namespaced
  names: {plural: %[1]s, singular: %[3]s, kind: %[4]s}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`, plural, group, strings.ToLower(kind), kind))
		t.Cleanup(func() {
			call(t, c, http.MethodDelete, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"+plural+"."+group, "application/json", "")
		})
		eventually(t, 20*time.Second, func() error {
			_, err := c.Call(context.Background(), http.MethodGet, "/apis/"+group+"/v1/"+plural, "", nil)
			return err
		})
	}
}

// TestCustomKinds_AreShownAsTheirAccountSays has a kind of each class, as the
// account's settings say, in the list of that class.
func TestCustomKinds_AreShownAsTheirAccountSays(t *testing.T) {
	o := startOps(t, "custom-classes")
	const group = "classes.example.com"
	define(t, o.c, group, "Rollout", "Gateway", "Policy", "Runner")
	cfg := settings()
	cfg.Kubernetes.Accounts = javaAccounts(o.c)
	for kind, class := range map[string]string{"Rollout": "serverGroupManagers", "Gateway": "loadBalancers", "Policy": "securityGroups", "Runner": "instances"} {
		cfg.Kubernetes.Accounts[0].CustomResources = append(cfg.Kubernetes.Accounts[0].CustomResources, config.CustomResource{KubernetesKind: kind + "." + group, SpinnakerKind: spinnaker.Class(class)})
	}
	s := &ops{service: startWith(t, cfg, nil).ready(t), c: o.c, namespace: o.namespace}
	for _, kind := range []string{"Rollout", "Gateway", "Policy"} {
		s.deploy(t, fmt.Sprintf("apiVersion: %s/v1\nkind: %s\nmetadata: {name: mine, namespace: %s}\nspec: {replicas: 1}", group, kind, o.namespace), "").only(t)
	}
	var rollout object
	if err := json.Unmarshal(call(t, o.c, http.MethodGet, "/apis/"+group+"/v1/namespaces/"+o.namespace+"/rollouts/mine", "", ""), &rollout); err != nil {
		t.Fatal(err)
	}
	owner := func(kind, apiVersion, uid string) string {
		return fmt.Sprintf("ownerReferences: [{apiVersion: %s, kind: %s, name: mine, uid: %s}]", apiVersion, kind, uid)
	}
	apply(t, o.c, "apiVersion: apps/v1\nkind: ReplicaSet\nmetadata: {name: mine, namespace: "+o.namespace+", annotations: {moniker.spinnaker.io/application: "+o.namespace+", moniker.spinnaker.io/cluster: replicaSet mine}, "+
		owner("Rollout", group+"/v1", rollout.text("metadata", "uid"))+"}\nspec: {replicas: 0, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: main, image: x}]}}}")
	apply(t, o.c, "apiVersion: "+group+"/v1\nkind: Runner\nmetadata: {name: mine, namespace: "+o.namespace+", "+owner("ReplicaSet", "apps/v1", o.live(t, o.apps("replicasets", "mine")).text("metadata", "uid"))+"}\nstatus: {phase: Running}")
	full := func(kind string) string { return kind + "." + group + " mine" }
	app := "/applications/" + o.namespace
	for path, wants := range map[string][]string{
		app + "/serverGroupManagers": {`"name":"` + full("Rollout") + `"`, `"serverGroups":[{"name":"replicaSet mine"`},
		app + "/serverGroups":        {`"name":"replicaSet mine"`, `"serverGroupManagers":[{"account":"` + o.c.Name + `","location":"` + o.namespace + `","name":"mine"}]`, `"name":"` + full("Runner") + `"`},
		app + "/loadBalancers":       {`"name":"` + full("Gateway") + `"`},
		app + "/rawResources":        {`"name":"` + full("Rollout") + `"`, `"name":"` + full("Gateway") + `"`, `"name":"` + full("Policy") + `"`},
		"/securityGroups":            {`"id":"` + full("Policy") + `"`},
		escaped("securityGroups", o.c.Name, "kubernetes", o.namespace, full("Policy")): {`"inboundRules":[]`, `"displayName":"mine"`},
		escaped("instances", o.c.Name, o.namespace, full("Runner")):                    {`"humanReadableName":"` + full("Runner") + `"`},
		"/search?type=serverGroupManagers&q=mine":                                      {`"name":"` + full("Rollout") + `"`, `"type":"serverGroupManagers"`},
		"/search?type=rollout." + group + "&q=" + o.namespace:                          {`"name":"` + full("Rollout") + `"`},
		escaped("credentials", o.c.Name):                                               {`"Rollout.` + group + `":"serverGroupManagers"`},
		s.manifestPath(full("Gateway")):                                                {`"stable":{"state":true}`},
	} {
		t.Run(path, func(t *testing.T) {
			eventually(t, 20*time.Second, func() error {
				r := s.get(t, path)
				for _, want := range wants {
					if r.status != http.StatusOK || !strings.Contains(r.body, want) {
						return fmt.Errorf("no %s in %d %s", want, r.status, r.body)
					}
				}
				return nil
			})
		})
	}
}

func TestCustomKind_IsPickedUpWhenItAppearsAndDroppedWhenItGoes(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	namespace(t, "custom", c)
	yes := true
	cfg := settings()
	cfg.Kubernetes.Accounts = []config.Account{{
		Name: "custom", KubeconfigContents: string(c.Kubeconfig()), OnlySpinnakerManaged: &yes,
		CustomResources: []config.CustomResource{{KubernetesKind: "CronTab.stable.example.com", SpinnakerKind: "serverGroups"}},
	}}
	s := start(t, cfg).ready(t)
	apply(t, c, `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, singular: crontab, kind: CronTab}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`)
	gone := false
	remove := func() {
		if !gone {
			gone = true
			call(t, c, http.MethodDelete, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/crontabs.stable.example.com", "application/json", "")
		}
	}
	t.Cleanup(remove)
	eventually(t, 20*time.Second, func() error {
		return c.Apply(context.Background(), []byte(`
apiVersion: stable.example.com/v1
kind: CronTab
metadata: {name: tick, namespace: custom, `+marks("custom", "CronTab.stable.example.com tick")+`}
spec: {replicas: 4}
`))
	})
	eventually(t, 20*time.Second, func() error {
		r := s.get(t, "/applications/custom/serverGroups")
		if !strings.Contains(r.body, `"name":"CronTab.stable.example.com tick"`) || !strings.Contains(r.body, `"desired":4`) {
			return errors.New(r.body)
		}
		return nil
	})
	remove()
	eventually(t, 20*time.Second, func() error {
		if r := s.get(t, "/applications/custom/serverGroups"); r.body != "[]" {
			return errors.New(r.body)
		}
		return nil
	})
}

// customStatus has a kind of a definition evaluated by the older rewrite's
// rules.
func customStatus(t *testing.T, o *ops) {
	define(t, o.c, "status.example.com", "Rollout")
	rules := filepath.Join(t.TempDir(), "kinds.json")
	if err := os.WriteFile(rules, []byte(`{"Rollout":{"statusChecks":[{"fieldPath":"phase","comparedValue":"Healthy","operator":"EQ"}]}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &ops{service: serveWith(t, o, func(c *config.Config) { c.Kubernetes.CustomKinds = rules }), c: o.c, namespace: o.namespace}
	for phase, want := range map[string]string{"Healthy": `"stable":{"state":true}`, "Degraded": `"failed":{"message":"Field status.phase was Degraded","state":true}`} {
		s.deploy(t, fmt.Sprintf("apiVersion: status.example.com/v1\nkind: Rollout\nmetadata: {name: %s, namespace: %s}\nstatus: {phase: %s}", strings.ToLower(phase), o.namespace, phase), "").only(t)
		r := s.get(t, s.manifestPath("Rollout.status.example.com "+strings.ToLower(phase)))
		r.says(t, 200, fmt.Sprintf(`"name":"Rollout.status.example.com %s"`, strings.ToLower(phase)))
		var m struct{ Status map[string]any }
		r.into(t, &m)
		got, _ := json.Marshal(m.Status)
		if !strings.Contains(string(got), want) {
			t.Errorf("%s: %s, want %s", phase, got, want)
		}
	}
}
