package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/localkube"
	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/api"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// counting counts requests to clusters that fit.
func counting(n *atomic.Int64, fits func(*http.Request) bool) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if fits(r) {
				n.Add(1)
			}
			return next.RoundTrip(r)
		})
	}
}

// labelledOnly is an account that watches only what Spinnaker manages.
func labelledOnly(name string, c *localkube.Cluster) config.Account {
	yes := true
	return config.Account{Name: name, KubeconfigContents: string(c.Kubeconfig()), OnlySpinnakerManaged: &yes}
}

// user is the cluster as its user without rights sees it.
func user(c *localkube.Cluster) *localkube.Cluster {
	return &localkube.Cluster{Name: c.Name, URL: c.URL, CA: c.CA, Token: c.UserToken}
}

// grant lets the user of the cluster do verbs, in all namespaces, until revoke or
// the end of the test.
func grant(t *testing.T, c *localkube.Cluster, name string, verbs string) {
	t.Helper()
	apply(t, c, fmt.Sprintf(`
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: %[1]s}
rules: [{apiGroups: ["*"], resources: ["*"], verbs: [%[2]s]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: %[1]s}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: %[3]s}]
`, name, verbs, localkube.User))
	t.Cleanup(func() {
		for _, kind := range []string{"clusterrolebindings/", "clusterroles/"} {
			call(t, c, http.MethodDelete, "/apis/rbac.authorization.k8s.io/v1/"+kind+name, "application/json", "")
		}
	})
}

// TestDoubt_CostsOneObject has the record of writes away, rows that wait, and a
// row that cannot be read, and polls as Orca does: watches go on, no account is
// listed for one object, and what is asked for is answered.
func TestDoubt_CostsOneObject(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	namespace(t, "doubt", c)
	m := newDatabase(t, "utf8mb4")
	options := storeOptions(t, m)
	p, err := localkube.NewProxy(m.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	broken := *m
	broken.Host = p.Addr()
	cfg := settings()
	cfg.Kubernetes.Accounts = javaAccounts(c)
	direct := &ops{service: startShared(t, options, cfg, nil).ready(t), c: c, namespace: "doubt"}
	through := options
	through.MySQL, through.Timeout = &broken, time.Second
	var lists atomic.Int64
	s := &ops{service: startShared(t, through, cfg, counting(&lists, func(r *http.Request) bool {
		return initial(r) || r.URL.Query().Get("limit") != "" && !strings.Contains(r.URL.Path, "/events")
	})).ready(t), c: c, namespace: "doubt"}
	direct.deploy(t, direct.replicaSetManifest("m", 1), "").only(t)
	manifest := escaped("manifests", c.Name, "doubt", "replicaSet m-v000") + "?includeEvents=false"
	target := escaped("manifests", c.Name, "doubt", "replicaSet", "cluster", "doubt", "replicaSet m", "dynamic", "newest")
	group := escaped("applications", "doubt", "clusters", c.Name, "replicaSet m")
	eventually(t, 20*time.Second, func() error {
		if r := s.get(t, group); r.status != http.StatusOK {
			return errors.New(r.body)
		}
		return nil
	})
	poll := func(what string, most int64, paths ...string) {
		t.Helper()
		before := lists.Load()
		for range 15 {
			for _, path := range paths {
				begin := time.Now()
				r := s.get(t, path)
				if r.status != http.StatusOK || time.Since(begin) > 3*time.Second {
					t.Errorf("%s: %s: %d after %s: %.200s", what, path, r.status, time.Since(begin).Round(time.Millisecond), r.body)
				}
			}
			until(time.Now().Add(100 * time.Millisecond))
		}
		if n := lists.Load() - before; n > most {
			t.Errorf("%s: %d lists, at most %d are wanted", what, n, most)
		}
		if a := statusOf(s.service, c.Name); a.Stale {
			t.Errorf("%s: the account is out of touch: %s", what, a.Message)
		}
	}
	raw := backend{options: options}.raw(t)
	for i := range 100 {
		if _, err := raw.Exec(`INSERT INTO clouddriver_writes (written_at, task_id, operation, account, kind, namespace, name, uid, resource_version, deleted, application, cluster)
			VALUES (?, 't', 'deployManifest', ?, 'configMap', 'doubt', ?, 'u', '999999999', 0, 'elsewhere', '')`, time.Now().UnixMilli(), c.Name, fmt.Sprint("pending-", i)); err != nil {
			t.Fatal(err)
		}
	}
	poll("100 rows of others wait", 0, manifest, group)
	p.Refuse(true)
	poll("no SQL, one object", 0, manifest)
	// A set has to be listed, by one list of each kind for all who ask.
	kinds := int64(len(statusOf(s.service, c.Name).Kinds))
	poll("no SQL, a set", 15*kinds, group)
	poll("no SQL, a target", 15*2, target)
	p.Refuse(false)
}

// TestUnreachable_EndsOrcasStage has a cluster that has never answered: for a
// moment that may mend it, then in an answer that Orca does not repeat.
func TestUnreachable_EndsOrcasStage(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	dead := &localkube.Cluster{Name: "dead", URL: "https://127.0.0.1:1", CA: c.CA, Token: c.Token}
	cfg := settings()
	cfg.Watch.GiveUpAfter = 3 * time.Second
	cfg.Server.NotSyncedDeadline = time.Second
	cfg.Kubernetes.Accounts = javaAccounts(dead)
	begin := time.Now()
	s := startWith(t, cfg, nil)
	paths := []string{
		escaped("manifests", "dead", "ns", "deployment web"), escaped("manifests", "dead", "ns", "replicaSet", "cluster", "app", "replicaSet web", "dynamic", "newest"),
		escaped("applications", "app", "clusters", "dead", "replicaSet web"), escaped("applications", "app", "jobs", "dead", "ns", "job x"),
		escaped("instances", "dead", "ns", "pod x"), escaped("serverGroups", "dead", "ns", "replicaSet web"),
	}
	for _, path := range paths[:1] {
		if r := s.get(t, path); r.status != http.StatusServiceUnavailable && time.Since(begin) < cfg.Watch.GiveUpAfter {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	until(begin.Add(cfg.Watch.GiveUpAfter + time.Second))
	for _, path := range paths {
		r := s.get(t, path)
		if r.status != http.StatusInternalServerError || !strings.Contains(r.body, "connection refused") {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	s.get(t, "/applications").is(t, 200, "[]")
	if marks := s.get(t, "/applications").header.Get(api.StaleHeader); marks != "dead" {
		t.Errorf("marked %q", marks)
	}
}

// TestUnlabelledObjects_AreReadByName has an account that watches what carries
// the label, and objects without it: whatever is asked for by name is there.
func TestUnlabelledObjects_AreReadByName(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	namespace(t, "bare", c)
	apply(t, c, `
apiVersion: batch/v1
kind: Job
metadata: {name: work, namespace: bare, labels: {app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: bare, moniker.spinnaker.io/cluster: job work}}
spec: {template: {metadata: {labels: {job: work}}, spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web-v001, namespace: bare}
spec: {replicas: 2, selector: {matchLabels: {a: web}}, template: {metadata: {labels: {a: web}}, spec: {containers: [{name: main, image: x}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: bare}
spec: {selector: {a: web}, ports: [{port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: bare}
spec: {podSelector: {}}
`)
	cfg := settings()
	cfg.Kubernetes.Accounts = []config.Account{labelledOnly("labelled", c)}
	s := startWith(t, cfg, nil).ready(t)
	pod := ""
	eventually(t, 30*time.Second, func() error {
		var list struct{ Items []object }
		if err := json.Unmarshal(call(t, c, http.MethodGet, "/api/v1/namespaces/bare/pods?labelSelector=job%3Dwork", "", ""), &list); err != nil || len(list.Items) == 0 {
			return errors.New("no pod yet")
		}
		pod = list.Items[0].text("metadata", "name")
		return nil
	})
	for _, want := range []struct{ path, text string }{
		{escaped("instances", "labelled", "bare", "pod "+pod), `"name":`},
		{escaped("instances", "labelled", "bare", "pod "+pod, "console"), `"name":"main"`},
		{escaped("manifests", "labelled", "bare", "pod "+pod), `"kind":"Pod"`},
		{escaped("serverGroups", "labelled", "bare", "replicaSet web-v001"), `"total":2`},
		{escaped("applications", "web", "serverGroups", "labelled", "bare", "replicaSet web-v001"), `"name":"replicaSet web-v001"`},
		{escaped("kubernetes", "loadBalancers", "labelled", "bare", "service web"), `"name":"service web"`},
		{escaped("securityGroups", "labelled", "kubernetes", "bare", "networkPolicy web"), `"name":"networkPolicy web"`},
		{escaped("applications", "bare", "jobs", "labelled", "bare", "job work"), `"pods":[{"name":"` + pod},
	} {
		eventually(t, 10*time.Second, func() error {
			if r := s.get(t, want.path); r.status != http.StatusOK || !strings.Contains(r.body, want.text) {
				return fmt.Errorf("%s: %d %s", want.path, r.status, r.body)
			}
			return nil
		})
	}
	for _, path := range []string{
		escaped("instances", "labelled", "bare", "pod nobody"), escaped("serverGroups", "labelled", "bare", "replicaSet nobody"),
		escaped("securityGroups", "labelled", "kubernetes", "bare", "networkPolicy nobody"), escaped("instances", "labelled", "bare", "unheardOf x"),
	} {
		if r := s.get(t, path); r.status != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
}

// TestRBAC_ThatComesLaterIsSeen has an identity that may do nothing at first: an
// account whose kinds are forbidden is marked, and filled when they are not.
func TestRBAC_ThatComesLaterIsSeen(t *testing.T) {
	t.Parallel() // it mostly waits
	c := pool.Private(t, localkube.Options{Name: "later"})
	apply(t, c, "apiVersion: v1\nkind: Namespace\nmetadata: {name: later}\n"+"---"+strings.ReplaceAll(replicaSet("web-v000", "later", "replicaSet web", "", ""), "shop", "later"))
	cfg := settings()
	cfg.Kubernetes.Accounts = []config.Account{labelledOnly("later", user(c))}
	s := startWith(t, cfg, nil).ready(t)
	group := escaped("applications", "later", "clusters", "later", "replicaSet web")
	if r := s.get(t, group); r.status < http.StatusInternalServerError {
		t.Errorf("while it is forbidden: %d %s", r.status, r.body)
	}
	if r := s.get(t, "/applications/later/serverGroups"); r.header.Get(api.StaleHeader) != "later" {
		t.Errorf("not marked: %v", r.header)
	}
	until(time.Now().Add(5 * time.Second))
	grant(t, c, "later", "get, list, watch")
	eventually(t, 50*time.Second, func() error {
		r := s.get(t, "/applications/later/serverGroups")
		if !strings.Contains(r.body, "web-v000") || r.header.Get(api.StaleHeader) != "" {
			return fmt.Errorf("marked %q: %s", r.header.Get(api.StaleHeader), r.body)
		}
		return nil
	})
	s.get(t, group).says(t, 200, "web-v000")
}

// TestGetOnlyAccount_ShowsNoPhantom has an identity that may get and patch, but
// not list and watch.
func TestGetOnlyAccount_ShowsNoPhantom(t *testing.T) {
	c := pool.Private(t, localkube.Options{Name: "getonly"})
	apply(t, c, "apiVersion: v1\nkind: Namespace\nmetadata: {name: getonly}\n")
	grant(t, c, "getonly", "get, create, patch, update, delete")
	cfg := settings()
	cfg.Server.NotSyncedDeadline = time.Second
	cfg.Kubernetes.Accounts = []config.Account{labelledOnly("getonly", user(c))}
	s := &ops{service: startWith(t, cfg, nil).ready(t), c: c, namespace: "getonly"}
	s.account = "getonly"
	s.deploy(t, s.deployment("web", "x"), "").only(t)
	// What the controllers do is seen, and not the object as it was written.
	manifest := escaped("manifests", "getonly", "getonly", "deployment web") + "?includeEvents=false"
	eventually(t, 20*time.Second, func() error {
		if r := s.get(t, manifest); r.status != 200 || !strings.Contains(r.body, `"observedGeneration"`) {
			return errors.New(r.body)
		}
		return nil
	})
	call(t, c, http.MethodDelete, "/apis/apps/v1/namespaces/getonly/deployments/web", "application/json", "")
	eventually(t, 10*time.Second, func() error {
		if r := s.get(t, manifest); r.status != http.StatusNotFound {
			return fmt.Errorf("%d %s", r.status, r.body)
		}
		return nil
	})
	r := s.get(t, "/applications/getonly/serverGroupManagers")
	if r.body != "[]" || r.header.Get(api.StaleHeader) != "getonly" {
		t.Errorf("marked %q: %s", r.header.Get(api.StaleHeader), r.body)
	}
}

// versions writes a definition whose kind is served in some versions, the first
// one stored.
func versions(group string, served map[string]bool, stored string) string {
	var list []string
	for _, v := range []string{"v1beta1", "v1"} {
		list = append(list, fmt.Sprintf("{name: %s, served: %v, storage: %v, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}", v, served[v], v == stored))
	}
	return fmt.Sprintf(`apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: rollouts.%[1]s}
spec:
  group: %[1]s
  scope: Namespaced
  names: {plural: rollouts, singular: rollout, kind: Rollout}
  versions: [%[2]s]
`, group, strings.Join(list, ", "))
}

// TestPreferredVersion_MovesWithoutLosingObjects has a definition whose preferred
// version changes, under a running service and between two starts with the
// catalog kept on disk.
func TestPreferredVersion_MovesWithoutLosingObjects(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	namespace(t, "moves", c)
	const group = "moves.example.com"
	apply(t, c, versions(group, map[string]bool{"v1beta1": true}, "v1beta1"))
	t.Cleanup(func() {
		call(t, c, http.MethodDelete, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/rollouts."+group, "application/json", "")
	})
	served := func(version string) {
		t.Helper()
		eventually(t, 20*time.Second, func() error {
			_, err := c.Call(context.Background(), http.MethodGet, "/apis/"+group+"/"+version+"/rollouts", "", nil)
			return err
		})
	}
	served("v1beta1")
	apply(t, c, "apiVersion: "+group+"/v1beta1\nkind: Rollout\nmetadata: {name: web, namespace: moves, labels: {app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: moves, moniker.spinnaker.io/cluster: rollout web}}\nspec: {replicas: 1}\n")
	cfg := settings()
	cfg.Kubernetes.UseDiskCache, cfg.Kubernetes.DiskCache = true, t.TempDir()
	a := labelledOnly("moves", c)
	a.CustomResources = []config.CustomResource{{KubernetesKind: "Rollout." + group, SpinnakerKind: "serverGroupManagers"}}
	cfg.Kubernetes.Accounts = []config.Account{a}
	s := startWith(t, cfg, nil).ready(t)
	managers := "/applications/moves/serverGroupManagers"
	shown := func(s *service, version string) error {
		r := s.get(t, managers)
		if !strings.Contains(r.body, `"displayName":"web"`) && r.header.Get(api.StaleHeader) == "" {
			t.Fatalf("the object is gone, unmarked: %s", r.body)
		}
		if !strings.Contains(r.body, `"apiVersion":"`+group+"/"+version+`"`) || r.header.Get(api.StaleHeader) != "" {
			return fmt.Errorf("marked %q: %s", r.header.Get(api.StaleHeader), r.body)
		}
		return nil
	}
	eventually(t, 20*time.Second, func() error { return shown(s, "v1beta1") })
	apply(t, c, versions(group, map[string]bool{"v1beta1": true, "v1": true}, "v1beta1"))
	served("v1")
	eventually(t, 20*time.Second, func() error { return shown(s, "v1") })
	s.stop()
	// The next start believes the disk at first: v1, which is not served then.
	apply(t, c, versions(group, map[string]bool{"v1beta1": true}, "v1beta1"))
	eventually(t, 20*time.Second, func() error {
		if _, err := c.Call(context.Background(), http.MethodGet, "/apis/"+group+"/v1/rollouts", "", nil); err == nil {
			return errors.New("v1 is still served")
		}
		return nil
	})
	again := startWith(t, cfg, nil)
	eventually(t, 20*time.Second, func() error { return shown(again, "v1beta1") })
}

// TestVersionNoLongerServed_IsNoMissingObject has an account that may not watch
// definitions, and a version that it knows dropped: what is there is found,
// patched and deleted in another version.
func TestVersionNoLongerServed_IsNoMissingObject(t *testing.T) {
	c := pool.Private(t, localkube.Options{Name: "dropped"})
	const group = "dropped.example.com"
	apply(t, c, "apiVersion: v1\nkind: Namespace\nmetadata: {name: dropped}\n---\n"+versions(group, map[string]bool{"v1beta1": true, "v1": true}, "v1beta1"))
	eventually(t, 20*time.Second, func() error {
		_, err := c.Call(context.Background(), http.MethodGet, "/apis/"+group+"/v1/rollouts", "", nil)
		return err
	})
	apply(t, c, fmt.Sprintf(`
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: dropped}
rules: [{apiGroups: [%s, "", apps], resources: ["*"], verbs: ["*"]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: dropped}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: dropped}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: %s}]
`, group, localkube.User))
	for _, name := range []string{"a", "b"} {
		apply(t, c, "apiVersion: "+group+"/v1beta1\nkind: Rollout\nmetadata: {name: "+name+", namespace: dropped}\nspec: {replicas: 1}\n")
	}
	cfg := settings()
	cfg.Kubernetes.Accounts = []config.Account{labelledOnly("dropped", user(c))}
	s := &ops{service: startWith(t, cfg, nil).ready(t), c: c, namespace: "dropped"}
	s.account = "dropped"
	path := func(name string) string {
		return escaped("manifests", "dropped", "dropped", "Rollout."+group+" "+name) + "?includeEvents=false"
	}
	s.get(t, path("a")).says(t, 200, group+"/v1\"")
	apply(t, c, versions(group, map[string]bool{"v1beta1": true}, "v1beta1"))
	eventually(t, 20*time.Second, func() error {
		if _, err := c.Call(context.Background(), http.MethodGet, "/apis/"+group+"/v1/rollouts", "", nil); err == nil {
			return errors.New("v1 is still served")
		}
		return nil
	})
	s.get(t, path("a")).says(t, 200, group+"/v1beta1")
	s.run(t, "patchManifest", fmt.Sprintf("manifestName: Rollout.%s a\nlocation: dropped\npatchBody: {spec: {replicas: 7}}\noptions: {mergeStrategy: merge}", group)).only(t)
	if o := s.live(t, "/apis/"+group+"/v1beta1/namespaces/dropped/rollouts/a"); o.at("spec", "replicas") != float64(7) {
		t.Errorf("%v", o)
	}
	s.run(t, "deleteManifest", fmt.Sprintf("manifestName: Rollout.%s b\nlocation: dropped\noptions: {cascading: true}", group)).only(t)
	if s.exists(t, "/apis/"+group+"/v1beta1/namespaces/dropped/rollouts/b") {
		t.Error("the deletion has succeeded, and the object is there")
	}
}

// hung is a cluster that says what it serves and never sends a list: headers, and
// then nothing.
func hung(t *testing.T) *httptest.Server {
	t.Helper()
	ended := make(chan struct{})
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/api":
			_, _ = io.WriteString(w, `{"kind":"APIGroupDiscoveryList","items":[{"metadata":{"name":""},"versions":[{"version":"v1","freshness":"Current","resources":[
				{"resource":"pods","responseKind":{"kind":"Pod"},"scope":"Namespaced","verbs":["get","list","watch"]},{"resource":"services","responseKind":{"kind":"Service"},"scope":"Namespaced","verbs":["get","list","watch"]}]}]}]}`)
			return
		case "/apis":
			_, _ = io.WriteString(w, `{"kind":"APIGroupDiscoveryList","items":[]}`)
			return
		}
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
		case <-ended:
		}
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(ended) })
	return server
}

func insecure(name, server string) config.Account {
	yes := true
	return config.Account{Name: name, OnlySpinnakerManaged: &yes, KubeconfigContents: `{"apiVersion":"v1","kind":"Config","current-context":"x","contexts":[{"name":"x","context":{"cluster":"x","user":"x"}}],
"clusters":[{"name":"x","cluster":{"server":"` + server + `","insecure-skip-tls-verify":true}}],"users":[{"name":"x","user":{"token":"t"}}]}`}
}

// TestHungCluster_HoldsUpNobody has clusters that send headers and then nothing,
// at the start and added later, with few slots.
func TestHungCluster_HoldsUpNobody(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	namespace(t, "hung", c)
	apply(t, c, deployment("hung", "steady", 1))
	server := hung(t)
	cfg := settings()
	cfg.Watch.StartConcurrency = 2
	cfg.Server.NotSyncedDeadline = 2 * time.Second
	for i := range 6 {
		cfg.Kubernetes.Accounts = append(cfg.Kubernetes.Accounts, insecure(fmt.Sprint("a-hung-", i), server.URL))
	}
	cfg.Kubernetes.Accounts = append(cfg.Kubernetes.Accounts, labelledOnly("good", c))
	begin := time.Now()
	s := startWith(t, cfg, nil)
	eventually(t, 10*time.Second, func() error {
		if a := statusOf(s, "good"); a.State != watch.Synced || a.Stale {
			return fmt.Errorf("%s: %s", a.State, a.Message)
		}
		return nil
	})
	t.Logf("the healthy account was in touch after %s", time.Since(begin).Round(time.Millisecond))
	until(begin.Add(cfg.Server.NotSyncedDeadline + 100*time.Millisecond))
	quick := func(path string) {
		t.Helper()
		at := time.Now()
		r := s.get(t, path)
		if took := time.Since(at); took > 500*time.Millisecond || r.status != http.StatusOK {
			t.Errorf("%s: %d after %s", path, r.status, took)
		}
	}
	quick("/applications")
	quick("/applications/steady/serverGroups")
	// One that comes later is marked, and waited for by nobody.
	all, _ := s.registry.List()
	late := *all[0]
	late.Name = "b-late"
	s.registry.Replace(account.SourceKubeconfig, append(all[:len(all):len(all)], &late))
	for range 50 {
		quick("/applications")
		quick("/applications/steady/serverGroups")
	}
	if r := s.get(t, "/applications"); !strings.Contains(r.header.Get(api.StaleHeader), "b-late") {
		t.Errorf("marked %q", r.header.Get(api.StaleHeader))
	}
}

// TestOddObjects_HarmThemselvesOnly has objects that a real API server takes and
// that are not what their kind is.
func TestOddObjects_HarmThemselvesOnly(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	namespace(t, "oddities", c)
	const group = "oddities.example.com"
	define(t, c, group, "Rollout")
	meta := func(name string) string {
		return fmt.Sprintf("{name: %s, namespace: oddities, labels: {app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: oddities, moniker.spinnaker.io/cluster: rollout %s}}", name, name)
	}
	for name, rest := range map[string]string{"list": "spec: [1, 2]", "text": "status: broken", "both": "spec: 7\nstatus: [x]", "good": "spec: {replicas: 3}"} {
		apply(t, c, fmt.Sprintf("apiVersion: %s/v1\nkind: Rollout\nmetadata: %s\n%s\n", group, meta(name), rest))
	}
	apply(t, c, `
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web-v000, namespace: oddities, labels: {app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: oddities, moniker.spinnaker.io/cluster: replicaSet web}}
spec: {replicas: 1, selector: {matchLabels: {a: web}}, template: {metadata: {labels: {a: web, app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: oddities, moniker.spinnaker.io/cluster: replicaSet web}}, spec: {nodeName: nowhere, containers: [{name: main, image: x}]}}}
`)
	a := labelledOnly("oddities", c)
	a.CustomResources = []config.CustomResource{{KubernetesKind: "Rollout." + group, SpinnakerKind: "serverGroups"}}
	cfg := settings()
	cfg.Kubernetes.Accounts = []config.Account{a}
	for _, what := range []string{"as they come", "after a restart"} {
		s := startWith(t, cfg, nil).ready(t)
		pod := ""
		eventually(t, 20*time.Second, func() error {
			var list struct{ Items []object }
			if err := json.Unmarshal(call(t, c, http.MethodGet, "/api/v1/namespaces/oddities/pods?labelSelector=a%3Dweb", "", ""), &list); err != nil || len(list.Items) == 0 {
				return errors.New("no pod yet")
			}
			pod = list.Items[0].text("metadata", "name")
			return nil
		})
		call(t, c, http.MethodPatch, "/api/v1/namespaces/oddities/pods/"+pod+"/status", "application/merge-patch+json",
			`{"status":{"phase":"Running","containerStatuses":[{"name":"\u0000","ready":true,"image":"x","imageID":"x","restartCount":0,"state":{}},{"name":"main","ready":false,"image":"x","imageID":"x","restartCount":0,"state":{}}]}}`)
		eventually(t, 20*time.Second, func() error {
			r := s.get(t, "/applications/oddities/serverGroups?expand=true")
			for _, name := range []string{"list", "text", "both", "good", "web-v000"} {
				if r.status != 200 || !strings.Contains(r.body, `"displayName":"`+name+`"`) {
					return fmt.Errorf("%s: %s is not there: %d %s", what, name, r.status, r.body)
				}
			}
			if !strings.Contains(r.body, `"source":"Container \u0000"`) {
				return fmt.Errorf("%s: %s", what, r.body)
			}
			return nil
		})
		if state := statusOf(s, "oddities"); state.State != watch.Synced || state.Stale {
			t.Errorf("%s: %+v", what, state)
		}
		if r := s.get(t, "/metrics"); !strings.Contains(r.body, `clouddriver_watch_odd_objects_total{account="oddities",kind="Rollout.`+group+`",namespace=""} 3`) {
			t.Errorf("%s: the odd ones are not counted", what)
		}
		s.stop()
	}
}

// TestCredentials_RotateWithoutAList changes an account's token, and that of an
// account beside it: nothing is listed, and the new one is used.
func TestCredentials_RotateWithoutAList(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	namespace(t, "rotate", c)
	apply(t, c, deployment("rotate", "rotate", 1))
	var lists, withNew atomic.Int64
	s := &service{kubeconfig: t.TempDir() + "/kubeconfig"}
	write := func(first, second string) {
		t.Helper()
		one := &localkube.Cluster{Name: "one", URL: c.URL, CA: c.CA, Token: first}
		two := &localkube.Cluster{Name: "two", URL: c.URL, CA: c.CA, Token: second}
		if err := localkube.WriteKubeconfig(s.kubeconfig, one, two); err != nil {
			t.Fatal(err)
		}
	}
	write(c.Token, c.Token)
	s.wrap = func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if listsAnything(r) {
				lists.Add(1)
			}
			return next.RoundTrip(r)
		})
	}
	cfg := settings()
	cfg.Kubernetes.Kubeconfig = s.kubeconfig
	s.serve(t, cfg, -4)
	s.ready(t)
	waitPods(t, s, "rotate", "one", 1)
	waitPods(t, s, "rotate", "two", 1)
	before := lists.Load()
	// The user may do nothing: that it is used shows in what is refused.
	write(c.UserToken, c.Token)
	manifest := escaped("manifests", "one", "rotate", "configMap x")
	eventually(t, 20*time.Second, func() error {
		if r := s.get(t, manifest); r.status != http.StatusBadGateway {
			return fmt.Errorf("%d %s", r.status, r.body)
		}
		withNew.Add(1)
		return nil
	})
	r := s.get(t, "/applications/rotate/serverGroups")
	if n := lists.Load() - before; n != 0 || r.header.Get(api.StaleHeader) != "" || strings.Count(r.body, `"kind":"replicaSet"`) != 2 {
		t.Errorf("%d lists; marked %q; %s", n, r.header.Get(api.StaleHeader), r.body)
	}
	write(c.Token, c.Token)
	eventually(t, 20*time.Second, func() error {
		if r := s.get(t, manifest); r.status != http.StatusNotFound {
			return fmt.Errorf("%d %s", r.status, r.body)
		}
		return nil
	})
	if n := lists.Load() - before; n != 0 {
		t.Errorf("%d lists", n)
	}
}

// TestUnknownKinds_CostFewDiscoveries asks for kinds that nobody knows.
func TestUnknownKinds_CostFewDiscoveries(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	var discoveries atomic.Int64
	cfg := settings()
	cfg.Kubernetes.Accounts = javaAccounts(c)
	s := startWith(t, cfg, counting(&discoveries, func(r *http.Request) bool { return r.URL.Path == "/apis" })).ready(t)
	before, begin := discoveries.Load(), time.Now()
	answers := make(chan response)
	const n = 200
	for i := range n {
		go func() {
			r, err := s.tryGet(escaped("manifests", c.Name, "default", fmt.Sprintf("unheardOf%d x", i)))
			if err != nil {
				r.body = err.Error()
			}
			answers <- r
		}()
	}
	for range n {
		if r := <-answers; r.status != http.StatusNotFound {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	if got, most := discoveries.Load()-before, 3+int64(time.Since(begin)/time.Second); got > most {
		t.Errorf("%d discoveries for %d unknown kinds within %s", got, n, time.Since(begin))
	}
}

// TestLog_PromisesNoObjectsThatNobodyHas reads what the log says of an account
// that was never in touch.
func TestLog_PromisesNoObjectsThatNobodyHas(t *testing.T) {
	dir := t.TempDir()
	binary := clouddriver.Path(t)
	cfg := dir + "/kubeconfig"
	if err := os.WriteFile(cfg, []byte(insecure("x", "https://127.0.0.1:1").KubeconfigContents), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startBinary(t, binary, dir, "--kubernetes.kubeconfig="+cfg)
	eventually(t, 20*time.Second, func() error {
		if text := p.log(); !strings.Contains(text, "account cannot be listed") {
			return errors.New(text)
		}
		return nil
	})
	if strings.Contains(p.log(), "last known objects") {
		t.Error(p.log())
	}
}

// TestAnotherCluster_BeginsAnEpoch has an account's address lead to another
// cluster, whose versions may be higher: nothing of the first one is shown.
func TestAnotherCluster_BeginsAnEpoch(t *testing.T) {
	clusters := pool.Shared(t, 2)
	namespace(t, "epochs", clusters...)
	apply(t, clusters[0], strings.ReplaceAll(replicaSet("first", "epochs", "replicaSet first", "", ""), "shop", "epochs"))
	apply(t, clusters[1], strings.ReplaceAll(replicaSet("second", "epochs", "replicaSet second", "", ""), "shop", "epochs"))
	wire, err := clusters[0].Proxy()
	if err != nil {
		t.Fatal(err)
	}
	var at atomic.Int64
	one := insecure("moves", "https://"+wire.Addr())
	one.KubeconfigContents = strings.Replace(one.KubeconfigContents, `"token":"t"`, `"token":"`+clusters[0].Token+`"`, 1)
	cfg := settings()
	cfg.Kubernetes.Accounts = []config.Account{one}
	s := startWith(t, cfg, func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if at.Load() == 0 {
				return next.RoundTrip(r)
			}
			moved := r.Clone(r.Context())
			moved.URL.Host = strings.TrimPrefix(clusters[1].URL, "https://")
			moved.Header.Set("Authorization", "Bearer "+clusters[1].Token)
			return next.RoundTrip(moved)
		})
	}).ready(t)
	shown := func(want, not string) error {
		r := s.get(t, "/applications/epochs/serverGroups")
		if !strings.Contains(r.body, "replicaSet "+want) || strings.Contains(r.body, "replicaSet "+not) || r.header.Get(api.StaleHeader) != "" {
			return fmt.Errorf("marked %q: %s", r.header.Get(api.StaleHeader), r.body)
		}
		return nil
	}
	eventually(t, 20*time.Second, func() error { return shown("first", "second") })
	at.Store(1)
	wire.Cut()
	eventually(t, 20*time.Second, func() error {
		r := s.get(t, "/applications/epochs/serverGroups")
		if strings.Contains(r.body, "replicaSet first") && strings.Contains(r.body, "replicaSet second") && r.header.Get(api.StaleHeader) == "" {
			t.Fatalf("both clusters are shown, unmarked: %s", r.body)
		}
		return shown("second", "first")
	})
	s.get(t, escaped("manifests", "moves", "epochs", "replicaSet first")).says(t, 404)
}
