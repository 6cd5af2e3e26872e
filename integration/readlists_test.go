package integration

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/localkube"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

var update = flag.Bool("update", false, "write the golden files anew")

// shopManifests are the objects of read-lists.md 5: one application on two
// accounts.
const shopManifests = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: web, moniker.spinnaker.io/cluster: deployment web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, tier: front, app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: web, moniker.spinnaker.io/cluster: deployment web}}
    spec:
      initContainers: [{name: init, image: "registry.example.com/init:IMAGE"}]
      containers: [{name: web, image: "registry.example.com/web:IMAGE"}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web-db, namespace: shop, labels: {app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: web, moniker.spinnaker.io/cluster: statefulSet web-db}}
spec:
  serviceName: web-db
  replicas: 1
  selector: {matchLabels: {app: web-db}}
  template:
    metadata: {labels: {app: web-db, app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: web, moniker.spinnaker.io/cluster: statefulSet web-db}}
    spec: {containers: [{name: db, image: "registry.example.com/db:9"}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web-agent, namespace: shop, labels: {app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: web, moniker.spinnaker.io/cluster: daemonSet web-agent}}
spec:
  selector: {matchLabels: {app: web-agent}}
  template:
    metadata: {labels: {app: web-agent, tier: front, app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: web, moniker.spinnaker.io/cluster: daemonSet web-agent}}
    spec: {containers: [{name: agent, image: "registry.example.com/agent:2"}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: web-migrate, namespace: shop, labels: {app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: web, moniker.spinnaker.io/cluster: job web-migrate}}
spec:
  template:
    metadata: {labels: {app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: web, moniker.spinnaker.io/cluster: job web-migrate}}
    spec: {restartPolicy: Never, containers: [{name: migrate, image: "registry.example.com/migrate:1"}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, labels: {app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: web, moniker.spinnaker.io/cluster: service web}}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: web-front, namespace: shop, labels: {app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: web, moniker.spinnaker.io/cluster: service web-front}}
spec: {selector: {app: web, tier: front}, ports: [{port: 81}]}
---
apiVersion: v1
kind: Service
metadata: {name: web-db, namespace: shop, labels: {app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: web, moniker.spinnaker.io/cluster: service web-db}}
spec: {clusterIP: None, ports: [{port: 82}]}
---
apiVersion: v1
kind: Service
metadata: {name: web-none, namespace: shop, labels: {app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: web, moniker.spinnaker.io/cluster: service web-none}}
spec: {ports: [{port: 83}]}
---
apiVersion: v1
kind: Service
metadata: {name: elsewhere, namespace: shop, labels: {app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: onlyservices, moniker.spinnaker.io/cluster: service elsewhere}}
spec: {type: ExternalName, externalName: example.com, selector: {app: web}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: shop, labels: {app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: web, moniker.spinnaker.io/cluster: ingress web}}
spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}
---
apiVersion: v1
kind: Pod
metadata: {name: orphan, namespace: shop, labels: {app: orphan, app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: web, moniker.spinnaker.io/cluster: pod orphan}}
spec: {containers: [{name: x, image: "registry.example.com/x:1"}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: unmanaged-x, namespace: shop}
spec:
  replicas: 1
  selector: {matchLabels: {app: unmanaged-x}}
  template:
    metadata: {labels: {app: unmanaged-x}}
    spec: {containers: [{name: x, image: "registry.example.com/x:1"}]}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: hidden, namespace: shop, labels: {app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: web, moniker.spinnaker.io/cluster: replicaSet hidden, caching.spinnaker.io/ignore: "true"}}
spec:
  replicas: 0
  selector: {matchLabels: {app: hidden}}
  template: {metadata: {labels: {app: hidden}}, spec: {containers: [{name: x, image: x}]}}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: quoted, namespace: shop, labels: {app.kubernetes.io/managed-by: spinnaker-operator}, annotations: {moniker.spinnaker.io/application: '"quoted"', moniker.spinnaker.io/cluster: '"replicaSet quoted"'}}
spec:
  replicas: 0
  selector: {matchLabels: {app: quoted}}
  template: {metadata: {labels: {app: quoted}}, spec: {containers: [{name: x, image: x}]}}
`

// replicaSet writes a ReplicaSet without pods, for rows about server groups
// alone.
func replicaSet(name, app, cluster, labels, more string) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: %[1]s, namespace: shop, labels: {app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: %[2]s, moniker.spinnaker.io/cluster: %[3]s%[5]s}}
spec:
  replicas: 0
  selector: {matchLabels: {rs: %[1]s}}
  template: {metadata: {labels: {rs: %[1]s%[4]s}}, spec: {containers: [{name: x, image: "registry.example.com/x:1"}]}}
`, name, app, cluster, labels, more)
}

// trafficManifests are the four combinations of attached and explicit load
// balancers, and a malformed entry (read-lists.md 1.6).
func trafficManifests() string {
	explicit := func(json string) string { return ", traffic.spinnaker.io/load-balancers: '" + json + "'" }
	return strings.Join([]string{
		`
apiVersion: v1
kind: Service
metadata: {name: traffic, namespace: shop, labels: {app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: traffic, moniker.spinnaker.io/cluster: service traffic}}
spec: {selector: {lb: traffic}, ports: [{port: 80}]}
`,
		replicaSet("traffic-neither", "traffic", "replicaSet traffic", "", ""),
		replicaSet("traffic-attached", "traffic", "replicaSet traffic", ", lb: traffic", ""),
		replicaSet("traffic-both", "traffic", "replicaSet traffic", ", lb: traffic", explicit(`["Service traffic","svc other"]`)),
		replicaSet("traffic-disabled", "traffic", "replicaSet traffic", "", explicit(`["service traffic"]`)),
		replicaSet("traffic-malformed", "traffic", "replicaSet traffic", "", explicit(`["broken","service traffic"]`)),
	}, "---")
}

type healthCase struct{ name, status, want string }

// healthCases are the rows of read-lists.md 2.9.
var healthCases = []healthCase{
	{"running-ready", `{"phase":"Running","containerStatuses":[{"name":"a","ready":true,"image":"","imageID":"","restartCount":0}]}`, "Up"},
	{"running-one-not-ready", `{"phase":"Running","containerStatuses":[{"name":"a","ready":false,"image":"","imageID":"","restartCount":0},{"name":"b","ready":true,"image":"","imageID":"","restartCount":0}]}`, "Down"},
	{"pending", `{"phase":"Pending"}`, "Down"},
	{"running-no-containers", `{"phase":"Running"}`, "Up"},
	{"succeeded", `{"phase":"Succeeded","containerStatuses":[{"name":"a","ready":false,"image":"","imageID":"","restartCount":0}]}`, "Down"},
	{"evicted", `{"phase":"Failed","reason":"Evicted"}`, "Unknown"},
}

func setUpShop(t *testing.T, clusters []*localkube.Cluster) {
	t.Helper()
	namespace(t, "shop", clusters...)
	for i, c := range clusters {
		apply(t, c, strings.ReplaceAll(shopManifests, "IMAGE", "1.4.1"))
		if i > 0 {
			continue
		}
		apply(t, c, trafficManifests())
		waitRolledOut(t, c, 1)
		// A second revision leaves the first ReplicaSet at 0.
		apply(t, c, strings.ReplaceAll(shopManifests, "IMAGE", "1.4.2"))
		waitRolledOut(t, c, 2)
		setUpHealth(t, c)
		setUpTargets(t, c)
	}
	waitRolledOut(t, clusters[1], 1)
}

func waitRolledOut(t *testing.T, c *localkube.Cluster, generation int) {
	t.Helper()
	eventually(t, time.Minute, func() error {
		var d struct {
			Status struct{ ObservedGeneration, UpdatedReplicas, ReadyReplicas, Replicas int }
		}
		if err := json.Unmarshal(call(t, c, http.MethodGet, "/apis/apps/v1/namespaces/shop/deployments/web", "", ""), &d); err != nil {
			return err
		}
		if d.Status.ObservedGeneration < generation || d.Status.UpdatedReplicas != 2 || d.Status.ReadyReplicas != 2 || d.Status.Replicas != 2 {
			return fmt.Errorf("deployment web: %+v", d.Status)
		}
		var j struct{ Status struct{ Succeeded int } }
		if err := json.Unmarshal(call(t, c, http.MethodGet, "/apis/batch/v1/namespaces/shop/jobs/web-migrate", "", ""), &j); err != nil {
			return err
		}
		if j.Status.Succeeded != 1 {
			return errors.New("job web-migrate is not complete")
		}
		var pods struct {
			Items []struct {
				Metadata struct{ Name string }
				Status   struct{ Phase string }
			}
		}
		if err := json.Unmarshal(call(t, c, http.MethodGet, "/api/v1/namespaces/shop/pods?labelSelector=app%20in%20(web-db,web-agent)", "", ""), &pods); err != nil {
			return err
		}
		for _, p := range pods.Items {
			if p.Status.Phase != "Running" {
				return fmt.Errorf("pod %s is %s", p.Metadata.Name, p.Status.Phase)
			}
		}
		if len(pods.Items) != 2 {
			return fmt.Errorf("%d pods of web-db and web-agent", len(pods.Items))
		}
		return nil
	})
}

// setUpHealth makes pods with a status of their own; no scheduler takes them,
// so kwok leaves them alone.
func setUpHealth(t *testing.T, c *localkube.Cluster) {
	t.Helper()
	apply(t, c, replicaSet("health", "health", "replicaSet health", "", ""))
	var rs struct{ Metadata struct{ UID string } }
	if err := json.Unmarshal(call(t, c, http.MethodGet, "/apis/apps/v1/namespaces/shop/replicasets/health", "", ""), &rs); err != nil {
		t.Fatal(err)
	}
	for _, h := range healthCases {
		apply(t, c, podOf("health-"+h.name, "health", "replicaSet health", rs.Metadata.UID))
		call(t, c, http.MethodPatch, "/api/v1/namespaces/shop/pods/health-"+h.name+"/status", "application/merge-patch+json", `{"status":`+h.status+`}`)
	}
}

// podOf writes a pod that belongs to a ReplicaSet without being counted by it.
func podOf(name, owner, cluster, uid string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata:
  name: %s
  namespace: shop
  labels: {app.kubernetes.io/managed-by: spinnaker}
  annotations: {moniker.spinnaker.io/application: %s, moniker.spinnaker.io/cluster: %s}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: %s, uid: %s}]
spec: {schedulerName: nobody, containers: [{name: a, image: x}, {name: b, image: x}]}
`, name, strings.Split(owner, "-")[0], cluster, owner, uid)
}

// setUpTargets makes three server groups of one cluster, a second apart, whose
// sequence numbers run against their age, with two pods on the oldest.
func setUpTargets(t *testing.T, c *localkube.Cluster) {
	t.Helper()
	names := []string{"target-v003", "target-v002", "target-v001"}
	for i, name := range names {
		more := ""
		if i == 2 {
			more = ", traffic.spinnaker.io/load-balancers: '[\"service nowhere\"]'"
		}
		apply(t, c, replicaSet(name, "target", "replicaSet target", "", more+", moniker.spinnaker.io/sequence: '"+name[len(name)-1:]+"'"))
		created := creation(t, c, name)
		if i < len(names)-1 {
			eventually(t, 5*time.Second, func() error {
				if time.Now().Unix() <= created.Unix() {
					return errors.New("the clock has not moved on by a second")
				}
				return nil
			})
		}
	}
	var rs struct{ Metadata struct{ UID string } }
	if err := json.Unmarshal(call(t, c, http.MethodGet, "/apis/apps/v1/namespaces/shop/replicasets/target-v003", "", ""), &rs); err != nil {
		t.Fatal(err)
	}
	apply(t, c, podOf("target-a", "target-v003", "replicaSet target", rs.Metadata.UID))
	apply(t, c, podOf("target-b", "target-v003", "replicaSet target", rs.Metadata.UID))
	apply(t, c, replicaSet("single-v000", "single", "replicaSet single", "", ", moniker.spinnaker.io/sequence: '0'"))
	apply(t, c, replicaSet("mixed-x", "MiXed", "replicaSet mixed", "", ""))
}

func creation(t *testing.T, c *localkube.Cluster, name string) time.Time {
	t.Helper()
	var rs struct {
		Metadata struct{ CreationTimestamp time.Time }
	}
	if err := json.Unmarshal(call(t, c, http.MethodGet, "/apis/apps/v1/namespaces/shop/replicasets/"+name, "", ""), &rs); err != nil {
		t.Fatal(err)
	}
	return rs.Metadata.CreationTimestamp
}

// row is one line of read-lists.md's closing table.
type row struct {
	number int
	name   string
	paths  []string // one golden file holds the answers to all
	check  func(t *testing.T, answers []response)
}

func same(i, j int) func(*testing.T, []response) {
	return func(t *testing.T, a []response) {
		t.Helper()
		if a[i].status != a[j].status || a[i].body != a[j].body {
			t.Errorf("answers differ:\n%s\n%s", a[i].body, a[j].body)
		}
	}
}

func status(want ...int) func(*testing.T, []response) {
	return func(t *testing.T, a []response) {
		t.Helper()
		for i, w := range want {
			if a[i].status != w {
				t.Errorf("request %d: status %d, want %d: %s", i, a[i].status, w, a[i].body)
			}
		}
	}
}

const (
	web    = "/applications/web/clusters/prod-1/deployment%20web"
	target = "/applications/target/clusters/prod-1/replicaSet%20target/kubernetes/shop/serverGroups/target/"
	single = "/applications/single/clusters/prod-1/replicaSet%20single/kubernetes/shop/serverGroups/target/"
)

var rows = []row{
	{1, "applications", []string{"/applications?restricted=false&expand=true"}, nil},
	{2, "applications without expand", []string{"/applications?restricted=false&expand=false", "/applications?restricted=false&expand=true"}, same(0, 1)},
	{4, "applications with a slash", []string{"/applications/", "/applications"}, same(0, 1)},
	{5, "application in any case", []string{"/applications/web", "/applications/WEB", "/applications/mixed"}, same(0, 1)},
	{6, "application that does not exist", []string{"/applications/nobody", "/applications/onlyservices"}, status(404, 404)},
	{7, "clusters", []string{"/applications/web/clusters", "/applications/nobody/clusters"}, status(200, 200)},
	{8, "clusters of an account", []string{"/applications/web/clusters/prod-1", "/applications/web/clusters/prod-9", "/applications/nobody/clusters/prod-1"}, status(200, 404, 404)},
	{9, "cluster", []string{web, "/applications/web/clusters/prod-1/deployment web", "/applications/web/clusters/prod-1/deployment%20none"}, status(200, 200, 404)},
	{10, "cluster of a type", []string{web + "/kubernetes", "/applications/empty/clusters/prod-1/deployment%20empty/kubernetes"}, status(200, 200)},
	{11, "cluster without expand", []string{web + "/kubernetes?expand=false"}, nil},
	{13, "cluster of another provider", []string{web + "/aws", web + "/aws/serverGroups"}, status(404, 404)},
	{14, "server groups of a cluster by region", []string{web + "/kubernetes/serverGroups?region=shop", web + "/kubernetes/serverGroups?region=other"}, status(200, 200)},
	{15, "server group of a cluster", []string{web + "/kubernetes/serverGroups/{web}", web + "/kubernetes/serverGroups/{web}?region=shop", web + "/kubernetes/serverGroups/replicaSet%20none"}, status(200, 200, 404)},
	{16, "current target", []string{target + "current_asg_dynamic", target + "newest"}, same(0, 1)},
	{17, "ancestor target", []string{target + "ancestor_asg_dynamic", single + "ancestor_asg_dynamic"}, status(200, 404)},
	{18, "oldest target", []string{target + "oldest_asg_dynamic", single + "oldest_asg_dynamic", single + "oldest_asg_dynamic?validateOldest=false",
		strings.Replace(target, "/shop/", "/nowhere/", 1) + "oldest_asg_dynamic"}, status(200, 404, 200, 404)},
	{19, "largest target", []string{target + "largest", target + "LARGEST?onlyEnabled=true"}, status(200, 200)},
	{20, "fail and unknown targets", []string{target + "fail", target + "smallest", single + "fail"}, status(404, 404, 200)},
	{21, "target that is enabled", []string{target + "current?onlyEnabled=true"}, nil},
	{22, "image summary", []string{target + "NEWEST/Images?onlyEnabled=true", target + "NEWEST/image", target + "NEWEST/foo"}, status(200, 200, 404)},
	{23, "server groups", []string{"/applications/web/serverGroups"}, countsEqualInstances},
	{24, "server groups expanded", []string{"/applications/web/serverGroups?expand=true"}, nil},
	{25, "server groups of clusters", []string{"/applications/web/serverGroups?clusters=prod-1:deployment%20web,prod-2:deployment%20web"}, nil},
	{26, "server groups of no cluster", []string{"/applications/web/serverGroups?clusters="}, nil},
	{27, "server groups of a broken cluster or other provider", []string{"/applications/web/serverGroups?clusters=broken", "/applications/web/serverGroups?cloudProvider=aws"}, status(200, 200)},
	{29, "server groups of applications", []string{"/serverGroups?applications=target&applications=single", "/serverGroups?applications=target,single"}, same(0, 1)},
	{30, "server groups by id", []string{"/serverGroups?ids=prod-1:shop:replicaSet%20target-v001&ids=prod-1:shop:replicaSet%20none"}, nil},
	{31, "server groups asked wrongly", []string{"/serverGroups", "/serverGroups?ids=a:b:c&applications=x", "/serverGroups?ids=a:b,c"}, status(400, 400, 400)},
	{32, "server group", []string{"/applications/web/serverGroups/prod-1/shop/{web}?includeDetails=false"}, nil},
	{33, "server group without application", []string{"/serverGroups/prod-1/shop/{web}", "/applications/web/serverGroups/prod-1/shop/{web}", "/serverGroups/prod-1/shop/RS%20target-v001",
		"/serverGroups/prod-1/shop/replicaSet%20none", "/serverGroups/prod-1/shop/service%20web", "/serverGroups/prod-1/shop/word"}, func(t *testing.T, a []response) {
		same(0, 1)(t, a)
		status(200, 200, 200, 404, 404, 404)(t, a)
	}},
	{35, "traffic", []string{"/applications/traffic/serverGroups"}, nil},
	{36, "health", []string{"/applications/health/serverGroups?expand=true"}, checkHealth},
	{37, "services and selectors", []string{"/applications/web/loadBalancers", "/applications/onlyservices/loadBalancers"}, nil},
	{38, "statefulSet and daemonSet links", []string{"/serverGroups/prod-1/shop/statefulSet%20web-db", "/serverGroups/prod-1/shop/daemonSet%20web-agent"}, status(200, 200)},
	{39, "server group managers", []string{"/applications/web/serverGroupManagers"}, nil},
	{40, "server group managers of nobody", []string{"/applications/nobody/serverGroupManagers", "/applications/nobody/serverGroups", "/applications/nobody/loadBalancers"}, status(200, 200, 200)},
	{41, "load balancers", []string{"/applications/web/loadBalancers"}, nil},
	{42, "load balancer", []string{"/kubernetes/loadBalancers/prod-1/shop/service%20web", "/kubernetes/loadBalancers/prod-1/shop/service%20none", "/kubernetes/loadBalancers/prod-9/shop/service%20web"}, status(200, 200, 200)},
	{43, "load balancers of the provider", []string{"/kubernetes/loadBalancers", "/kubernetes/loadBalancers/x"}, status(200, 404)},
	{44, "load balancers of another provider", []string{"/aws/loadBalancers"}, status(400)},
	{47, "ignored objects", []string{"/serverGroups/prod-1/shop/replicaSet%20hidden"}, status(404)},
	{48, "quoted annotations", []string{"/applications/quoted/serverGroups"}, nil},
}

func countsEqualInstances(t *testing.T, a []response) {
	t.Helper()
	var groups []struct {
		Name           string
		InstanceCounts map[string]int
		Instances      []struct{ HealthState string }
	}
	a[0].into(t, &groups)
	for _, g := range groups {
		if g.InstanceCounts["total"] != len(g.Instances) {
			t.Errorf("%s: %v of %d instances", g.Name, g.InstanceCounts, len(g.Instances))
		}
	}
	if strings.Contains(a[0].body, "null") {
		t.Error("null on the wire")
	}
}

func checkHealth(t *testing.T, a []response) {
	t.Helper()
	var groups []struct {
		Instances []struct{ DisplayName, HealthState string }
	}
	a[0].into(t, &groups)
	got := map[string]string{}
	for _, g := range groups {
		for _, i := range g.Instances {
			got[i.DisplayName] = i.HealthState
		}
	}
	for _, h := range healthCases {
		if got["health-"+h.name] != h.want {
			t.Errorf("%s: %q, want %s", h.name, got["health-"+h.name], h.want)
		}
	}
}

func TestReadLists_ClosingTable(t *testing.T) {
	clusters := pool.Shared(t, 2)
	alone(t, clusters...) // the list of applications shows what others have
	setUpShop(t, clusters)
	apply(t, clusters[0], `
apiVersion: apps/v1
kind: Deployment
metadata: {name: empty, namespace: shop, labels: {app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: empty, moniker.spinnaker.io/cluster: deployment empty}}
spec:
  paused: true
  replicas: 0
  selector: {matchLabels: {app: empty}}
  template: {metadata: {labels: {app: empty}}, spec: {containers: [{name: x, image: x}]}}
`)
	s := start(t, settings(), clusters...).ready(t)
	var newest struct{ Name string }
	s.get(t, web+"/kubernetes/shop/serverGroups/target/current").into(t, &newest)
	newestPath := url.PathEscape(newest.Name)

	for _, r := range rows {
		t.Run(fmt.Sprintf("%02d %s", r.number, r.name), func(t *testing.T) {
			var answers []response
			golden := ""
			for _, path := range r.paths {
				a := s.get(t, strings.ReplaceAll(strings.ReplaceAll(path, "{web}", newestPath), " ", "%20"))
				answers = append(answers, a)
				golden += fmt.Sprintf("GET %s\n%d\n%s\n\n", path, a.status, normal(a.body))
			}
			if r.check != nil {
				r.check(t, answers)
			}
			compareGolden(t, fmt.Sprintf("%02d", r.number), golden)
		})
	}
	t.Logf("%d rows of read-lists.md's closing table have a golden answer; the others are tests of their own or need Fiat", len(rows))
}

var (
	uuids    = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	times    = regexp.MustCompile(`("createdTime"|"timestamp"): ?(\d+|"[^"]*")`)
	suffixes = regexp.MustCompile(`(web-[0-9a-f]{6,10}|web-agent|web-migrate)-[a-z0-9]{5}"`)
	hashes   = regexp.MustCompile(`("controller-revision-hash"|"pod-template-generation"): ?"[^"]*"`)
)

// normal is an answer without what differs from run to run.
func normal(body string) string {
	var v any
	if json.Unmarshal([]byte(body), &v) != nil {
		return body
	}
	pretty, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return body
	}
	out := uuids.ReplaceAllString(string(pretty), "UID")
	out = times.ReplaceAllString(out, "$1: 0")
	out = hashes.ReplaceAllString(out, `$1: "HASH"`)
	return suffixes.ReplaceAllString(out, `$1-XXXXX"`)
}

func compareGolden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "read-lists", name+".txt")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("answer differs from %s (after a wanted change run the test with -update and read the diff):\n%s", path, firstDifference(string(want), got))
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d\nwant %s\ngot  %s", i+1, w[i], g[i])
		}
	}
	return fmt.Sprintf("%d lines wanted, %d got", len(w), len(g))
}

func TestReadLists_Row12_AccountThatIsNotSynced(t *testing.T) {
	clusters := pool.Shared(t, 1)
	hole, err := clusters[0].Proxy()
	if err != nil {
		t.Fatal(err)
	}
	hole.BlackHole(true)
	away := behind(clusters[0], "away", hole)
	c := settings()
	c.Server.NotSyncedDeadline = 500 * time.Millisecond
	s := start(t, c, clusters[0], away)
	if r := s.get(t, "/applications/x/clusters/away/y/kubernetes"); r.status != http.StatusServiceUnavailable {
		t.Errorf("unreachable: status %d, want 503: %s", r.status, r.body)
	}
	if r := s.get(t, "/applications/x/clusters/prod-1/y/kubernetes"); r.status != http.StatusNotFound {
		t.Errorf("reachable: status %d, want 404: %s", r.status, r.body)
	}
	// Row 28: the others' groups are there, and the missing account is named.
	if r := s.get(t, "/applications/x/serverGroups"); r.status != http.StatusOK || r.header.Get("X-Clouddriver-Stale-Accounts") != "away" {
		t.Errorf("list: %d %v", r.status, r.header)
	}
}

func TestReadLists_Row45_ChangesAreVisibleInAllViews(t *testing.T) {
	clusters := pool.Shared(t, 1)
	namespace(t, "row45", clusters...)
	s := start(t, settings(), clusters...).ready(t)
	apply(t, clusters[0], `
apiVersion: apps/v1
kind: Deployment
metadata: {name: row45, namespace: row45, `+marks("row45", "deployment row45")+`}
spec:
  replicas: 1
  selector: {matchLabels: {app: row45}}
  template: {metadata: {labels: {app: row45, app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: row45, moniker.spinnaker.io/cluster: deployment row45}}, spec: {containers: [{name: x, image: x}]}}
---
apiVersion: v1
kind: Service
metadata: {name: row45, namespace: row45, `+marks("row45", "service row45")+`}
spec: {selector: {app: row45}, ports: [{port: 80}]}
`)
	agree := func(want int) {
		t.Helper()
		eventually(t, 30*time.Second, func() error {
			var groups []struct{ Name string }
			var managers, balancers []struct{ ServerGroups []struct{ Name string } }
			s.get(t, "/applications/row45/serverGroups").into(t, &groups)
			s.get(t, "/applications/row45/serverGroupManagers").into(t, &managers)
			s.get(t, "/applications/row45/loadBalancers").into(t, &balancers)
			managed, balanced := 0, 0
			for _, m := range managers {
				managed += len(m.ServerGroups)
			}
			for _, b := range balancers {
				balanced += len(b.ServerGroups)
			}
			if len(groups) != want || managed != want || balanced != want {
				return fmt.Errorf("%d groups, %d managed, %d balanced; want %d", len(groups), managed, balanced, want)
			}
			return nil
		})
	}
	agree(1)
	call(t, clusters[0], http.MethodDelete, "/apis/apps/v1/namespaces/row45/deployments/row45?propagationPolicy=Foreground", "application/json", "")
	agree(0)
}

func TestReadLists_Row46_AccountThatWatchesEverything(t *testing.T) {
	clusters := pool.Shared(t, 1)
	namespace(t, "row46", clusters...)
	apply(t, clusters[0], `
apiVersion: apps/v1
kind: Deployment
metadata: {name: wide-x, namespace: row46}
spec:
  replicas: 0
  selector: {matchLabels: {app: x}}
  template: {metadata: {labels: {app: x}}, spec: {containers: [{name: x, image: x}]}}
`)
	no, yes := false, true
	c := settings()
	kubeconfig := string(clusters[0].Kubeconfig())
	c.Kubernetes.Accounts = []config.Account{
		{Name: "all", KubeconfigContents: kubeconfig, OnlySpinnakerManaged: &no},
		{Name: "managed", KubeconfigContents: kubeconfig, OnlySpinnakerManaged: &yes},
	}
	s := start(t, c).ready(t)
	eventually(t, 10*time.Second, func() error {
		if r := s.get(t, "/applications/wide/clusters"); r.body != `{"all":["wide-x"]}` && !strings.HasPrefix(r.body, `{"all":["wide-x",`) {
			return errors.New(r.body)
		}
		return nil
	})
}
