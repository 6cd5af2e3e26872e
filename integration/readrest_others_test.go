package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/localkube"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// otherReadRows are those of all other reads.
func otherReadRows() []check {
	return []check{
		{25, "security groups", func(t *testing.T, o *ops) {
			o.get(t, "/securityGroups/nobody").is(t, 200, `{}`)
			policy := "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: %s, namespace: " + o.namespace + "}\nspec: {podSelector: {}, ingress: [{ports: [{port: 8080, endPort: 8090}, {port: http, protocol: UDP}, {port: 8080, endPort: 8090}, {}]}], egress: []}"
			o.deploy(t, fmt.Sprintf(policy, "web-in")+"\n---\n"+fmt.Sprintf(policy, "alpha"), "").only(t)
			one := func(name string) string {
				return `{"name":"networkPolicy ` + name + `","id":"networkPolicy ` + name + `"}`
			}
			all := "[" + one("alpha") + "," + one("web-in") + "]"
			byNamespace := `{"` + o.namespace + `":` + all + `}`
			base := "/securityGroups"
			o.get(t, base).is(t, 200, `{"`+o.c.Name+`":{"kubernetes":`+byNamespace+`}}`)
			base += "/" + o.c.Name
			o.get(t, base).is(t, 200, `{"kubernetes":`+byNamespace+`}`)
			o.get(t, base+"?region="+o.namespace).is(t, 200, `{"kubernetes":`+all+`}`)
			o.get(t, base+"/aws").is(t, 200, "{}")
			o.get(t, base+"/kubernetes").is(t, 200, byNamespace)
			o.get(t, base+"/kubernetes?region="+o.namespace).is(t, 200, all)
			o.get(t, base+"/kubernetes?region=nowhere").is(t, 200, "[]")
			o.get(t, base+"/kubernetes/networkPolicy%20web-in").is(t, 200, `{"`+o.namespace+`":[`+one("web-in")+`]}`)
			o.get(t, base+"/kubernetes/nonsense").is(t, 200, "{}")
		}},
		{26, "one security group", func(t *testing.T, o *ops) {
			policy := "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: ruled, namespace: " + o.namespace + "}\nspec: {podSelector: {}, ingress: [{ports: [{port: 8080, endPort: 8090}, {port: http, protocol: UDP}, {port: 8080, endPort: 8090}, {}]}], egress: []}"
			o.deploy(t, policy, "").only(t)
			base := "/securityGroups/" + o.c.Name
			o.get(t, base+escaped("kubernetes", o.namespace, "networkPolicy ruled")+"?vpcId=x").says(t, 200,
				`"inboundRules":[{"protocol":"TCP","portRanges":[{"startPort":8080,"endPort":8090}]},{"protocol":"UDP","portRanges":[{"startPortName":"http","endPortName":"http"}]},{"protocol":"TCP"}]`,
				`"outboundRules":[]`, `"summary":{"name":"networkPolicy ruled","id":"networkPolicy ruled"}`, `"application":"`+o.namespace+`"`)
			for _, path := range []string{escaped("kubernetes", o.namespace, "networkPolicy nobody"), escaped("aws", o.namespace, "networkPolicy ruled"), escaped("kubernetes", o.namespace, "nonsense")} {
				o.get(t, base+path).says(t, 404, "Security group '", "' does not exist")
			}
		}},
		{27, "search", func(t *testing.T, o *ops) {
			o.deploy(t, o.replicaSetManifest("findme", 1)+"\n---\n"+o.serviceManifest("findme", "{a: b}")+"\n---\n"+o.deployment("findme", "x"), "moniker: {app: findme-app, stack: blue}").only(t)
			find := func(query string) (set struct {
				PageNumber, PageSize, TotalMatches int
				Platform, Query                    string
				Results                            []map[string]any
			}) {
				t.Helper()
				var sets []json.RawMessage
				o.get(t, "/search?"+query).into(t, &sets)
				if len(sets) != 1 {
					t.Fatalf("%d sets", len(sets))
				}
				if err := json.Unmarshal(sets[0], &set); err != nil {
					t.Fatal(err)
				}
				return set
			}
			var found []map[string]any
			eventually(t, 10*time.Second, func() error {
				if found = find("q=findme&type=instances&pageSize=500").Results; len(found) != 3 {
					return fmt.Errorf("%v", found)
				}
				return nil
			})
			for _, c := range []struct {
				query string
				want  map[string]any
			}{
				{"q=findme-v&type=serverGroups", map[string]any{"name": "replicaSet findme-v000", "serverGroup": "replicaSet findme-v000", "application": "findme-app", "cluster": "replicaSet findme", "stack": "blue", "sequence": 0.0, "kubernetesKind": "replicaSet", "group": "replicaSet"}},
				{"q=FINDME&type=loadbalancers", map[string]any{"name": "service findme", "loadBalancer": "service findme", "type": "loadBalancers"}},
				{"q=findme&type=serverGroupManagers", map[string]any{"name": "deployment findme", "type": "serverGroupManagers"}},
				{"q=" + o.namespace + "&type=service&region=" + o.namespace, map[string]any{"kubernetesKind": "service", "namespace": o.namespace}},
				{"q=findme-app&type=applications", map[string]any{"application": "findme-app", "logicalKind": "APPLICATIONS", "name": "findme-app"}},
				{"q=findme-app&type=clusters", map[string]any{"cluster": "deployment findme", "application": "findme-app", "logicalKind": "CLUSTERS"}},
			} {
				got := find(c.query)
				if len(got.Results) == 0 {
					t.Errorf("%s: nothing", c.query)
					continue
				}
				for key, want := range c.want {
					if got.Results[0][key] != want {
						t.Errorf("%s: %s is %v, want %v", c.query, key, got.Results[0][key], want)
					}
				}
			}
			if got := find("q=findme&type=instances,service&type=replicaSet&pageSize=2&page=2"); got.PageNumber != 2 || got.PageSize != 2 || got.TotalMatches < 5 || len(got.Results) != 2 {
				t.Errorf("%+v", got)
			}
			for _, nothing := range []string{"q=findme&type=projects", "q=findme&type=Nonsense", "q=findme&type=service&platform=aws", "q=findme&type=service&cloudProvider=aws", "q=no-such-thing&type=service", "q=findme&type=service&account=nobody", "q=kubernetes.v2&type=service"} {
				if got := find(nothing); len(got.Results) != 0 || got.Results == nil {
					t.Errorf("%s: %+v", nothing, got)
				}
			}
			// The best come first, each once, and only of the account.
			o.deploy(t, o.replicaSetManifest("ranks", 0), "moniker: {app: findme}").only(t)
			eventually(t, 10*time.Second, func() error {
				got := find("q=findme&type=applications,Applications&type=applications")
				if len(got.Results) != 2 || got.TotalMatches != 2 || got.Results[0]["name"] != "findme" || got.Results[1]["name"] != "findme-app" {
					return fmt.Errorf("%+v", got)
				}
				return nil
			})
			for _, nothing := range []string{"q=findme&type=applications&account=nobody", "q=findme&type=replicaSet&platform=front50", "q=findme&type=applications&platform=front50", "q=findme%00&type=replicaSet"} {
				if got := find(nothing); len(got.Results) != 0 {
					t.Errorf("%s: %+v", nothing, got)
				}
			}
			o.get(t, "/search?q=x").says(t, 400, "type")
			o.get(t, "/search?q=x&type=pod&page=x").says(t, 400, "page")
		}},
		{28, "search with Front50", func(t *testing.T, o *ops) {
			base, down := fakeFront50(t, o.c.Name)
			s := &ops{serveWith(t, o, func(c *config.Config) { c.Services.Front50 = config.Front50{URL: base, Timeout: 2 * time.Second} }), o.c, o.namespace}
			o.deploy(t, o.replicaSetManifest("shown", 2), "moniker: {app: rest-projects, stack: blue}").only(t)
			o.settled(t, "replicaSet shown-v000")
			s.get(t, "/search?q=onlyinfront50&type=applications").says(t, 200, `"application":"onlyinfront50"`, `"email":"a@example.com"`)
			s.get(t, "/search?q=rest-proj&type=projects").says(t, 200, `"name":"demo"`, `"url":"/projects/p1"`)
			s.get(t, "/search?q=rest-proj&type=projects&platform=front50").says(t, 200, `"name":"demo"`)
			s.get(t, "/search?q=rest-proj&type=projects&platform=kubernetes").says(t, 200, `"results":[]`)
			s.get(t, "/search?q=onlyinfront50&type=applications&platform=kubernetes").says(t, 200, `"results":[]`)
			down(true)
			s.get(t, "/search?q=rest-projects&type=applications").says(t, 200, `"application":"rest-projects"`)
			s.get(t, "/search?q=x&type=projects").says(t, 200, `"results":[]`)
		}},
		{29, "clusters of projects", func(t *testing.T, o *ops) {
			base, down := fakeFront50(t, o.c.Name)
			s := &ops{serveWith(t, o, func(c *config.Config) { c.Services.Front50 = config.Front50{URL: base, Timeout: 2 * time.Second} }), o.c, o.namespace}
			eventually(t, 10*time.Second, func() error {
				r := s.get(t, "/projects/demo/clusters")
				for _, text := range []string{
					`{"account":"` + o.c.Name + `","stack":"*","detail":"*","instanceCounts":{"total":2,"up":2,"down":0,"unknown":0,"outOfService":0,"starting":0},"applications":[{"application":"rest-projects"`,
					`"builds":[{"buildNumber":"0","deployed":`, `"images":["registry/web"]}]`, `{"application":"other","lastPush":0,"clusters":[]}`,
					`{"account":"` + o.c.Name + `","stack":"blue","instanceCounts":{"total":2,`, `{"account":"nobody","stack":"*"`,
				} {
					if !strings.Contains(r.body, text) {
						return fmt.Errorf("no %s in %s", text, r.body)
					}
				}
				return nil
			})
			s.get(t, "/projects/empty/clusters").is(t, 200, "[]")
			s.get(t, "/projects/nobody/clusters").says(t, 404, "Project not found: (name: nobody)")
			s.get(t, "/projects/garbage/clusters").says(t, 503)
			s.get(t, "/projects/null/clusters").says(t, 503, "is no project")
			s.get(t, "/projects/slow/clusters").says(t, 503, "Client.Timeout exceeded")
			down(true)
			s.get(t, "/projects/demo/clusters").says(t, 503)
			o.get(t, "/projects/demo/clusters").says(t, 404) // without a Front50
		}},
		{30, "features", func(t *testing.T, o *ops) {
			var stages []struct {
				Name    string
				Enabled bool
			}
			o.get(t, "/features/stages").into(t, &stages)
			if len(stages) != 13 {
				t.Errorf("%d stages", len(stages))
			}
			for _, s := range stages {
				if !s.Enabled || s.Name == "upsertEntityTags" {
					t.Errorf("%+v", s)
				}
			}
		}},
		{31, "caches", func(t *testing.T, o *ops) {
			for _, path := range []string{"/cache/kubernetes/manifest", "/cache/aws/ServerGroup"} {
				o.post(t, path, `{"account":"x"}`).is(t, 200, `{"cachedIdentifiersByType":{}}`)
				o.post(t, path, `[`).says(t, 400)
				o.get(t, path+"?id=x").is(t, 200, "[]")
			}
			o.get(t, "/cache/introspection").says(t, 200, `"provider":"kubernetes"`, `"id":"`+o.c.Name+`/pod/"`)
			o.send(t, http.MethodPut, "/admin/db/drop/x", "").says(t, 404)
		}},
		{32, "what the other controllers answer", func(t *testing.T, o *ops) {
			for path, want := range map[string]string{
				"/subnets": "[]", "/subnets/aws": "[]", "/networks": "{}", "/networks/aws": "[]", "/vpcs": "[]", "/elasticIps/x?region=y": "[]", "/keyPairs": "[]", "/instanceTypes": "[]",
				"/certificates": "[]", "/certificates/aws": "[]", "/functions?region=x": "[]", "/applications/x/functions": "[]", "/tags?x=y": "[]", "/storage": "[]",
				"/dockerRegistry/images/find?q=x": "[]", "/dockerRegistry/images/tags?account=x": "[]", "/reports/reservation": "[]", "/reports/reservation/v2": "[]",
				"/servicebroker/x/services?cloudProvider=x&region=y": "[]", "/servicebroker/x/serviceInstance?cloudProvider=x": "", "/installedPlugins": "[]",
			} {
				r := o.get(t, path)
				r.is(t, 200, want)
				if want != "" && !strings.HasPrefix(r.header.Get("Content-Type"), "application/json") {
					t.Errorf("%s: %s", path, r.header.Get("Content-Type"))
				}
			}
			for path, text := range map[string]string{
				"/tags/a%2Fb": "No EntityTags found w/ id = 'a/b'", "/images/aws/x": "ImageProvider for provider aws not found.", "/kubernetes/images/find?q=x": "", "/kubernetes/images/tags": "",
				"/v1/data/static/x": "No data available (id: x)", "/v1/data/adhoc/g/b/o/p": "No data available (groupId: g)", "/roles/aws": "", "/launchTemplates": "", "/dataSources": "", "/bakes": "", "/firewalls": "",
				"/saga/x/y": "", "/ecs/x": "", "/applications/a/serverGroups/x/y/events": "", "/version": "", "/env": "", "/resolvedEnv": "", "/unheard/of": "",
			} {
				r := o.get(t, path)
				r.says(t, 404, text, `"message":`, `"timestamp":`)
				if !strings.HasPrefix(r.header.Get("Content-Type"), "application/json") {
					t.Errorf("%s: %s", path, r.header.Get("Content-Type"))
				}
			}
			o.get(t, "/cloudMetrics/kubernetes/a/b").says(t, 400, "No provider found named 'kubernetes' that supports cloud metrics")
		}},
		{33, "unknown paths", func(t *testing.T, o *ops) {
			for _, path := range []string{"/unheard/of", "/a%2Fb/c", "/applications/a/b/c/d/e/f/g/h/i/j"} {
				r := o.get(t, path)
				r.says(t, 404, `"message":"No handler found for GET `, `"error":"Not Found"`)
				if !strings.HasPrefix(r.header.Get("Content-Type"), "application/json") {
					t.Errorf("%s: %s", path, r.header.Get("Content-Type"))
				}
			}
			o.send(t, http.MethodPut, "/applications", "").says(t, 405, `"message":`)
		}},
		{34, "probes", func(t *testing.T, o *ops) {
			for _, path := range []string{"/health", "/health/liveness", "/health/readiness"} {
				o.get(t, path).is(t, 200, `{"status":"UP"}`)
			}
			o.get(t, "/info").says(t, 200, `"build"`)
			m := newDatabase(t, "utf8mb4")
			p, err := localkube.NewProxy(m.Host)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.Close)
			m.Host = p.Addr()
			options := storeOptions(t, m)
			options.Timeout = time.Second
			s := serveWith(t, o, func(c *config.Config) { *c = onDatabase(*c, options) })
			s.get(t, "/health").is(t, 200, `{"status":"UP"}`)
			p.BlackHole(true)
			s.get(t, "/health").says(t, 503, `"status":"DOWN"`)
			s.get(t, "/health/readiness").says(t, 503, `"status":"OUT_OF_SERVICE"`)
			s.get(t, "/health/liveness").is(t, 200, `{"status":"UP"}`)
			p.BlackHole(false)
			eventually(t, 10*time.Second, func() error {
				if r := s.get(t, "/health"); r.status != 200 {
					return errors.New(r.body)
				}
				return nil
			})
		}},
		{35, "raw resources", func(t *testing.T, o *ops) {
			o.get(t, "/applications/nobody-at-all/rawResources").is(t, 200, "[]")
			o.deploy(t, o.configMap("raw", "{a: b}")+"\n---\n"+o.serviceManifest("raw", "{a: b}")+"\n---\n"+o.replicaSetManifest("raw", 0), "moniker: {app: raw-app}").only(t)
			names := func(s *service) string {
				t.Helper()
				var list []struct{ Name, Region, Account string }
				s.get(t, "/applications/raw-app/rawResources").into(t, &list)
				var out []string
				for _, r := range list {
					out = append(out, r.Name)
				}
				return strings.Join(out, ", ")
			}
			if got := names(o.service); got != "replicaSet raw-v000, service raw" {
				t.Error(got)
			}
			cfg := settings()
			cfg.Kubernetes.Accounts = javaAccounts(o.c)
			cfg.Kubernetes.Accounts[0].CacheAllApplicationRelationships = true
			cfg.Kubernetes.Accounts[0].RawResources.OmitKindExpressions = []string{"replica.*", "serv"}
			all := startShared(t, storeOptions(t, nil), cfg, nil).ready(t)
			if got := names(all); got != "configMap raw-v000, service raw" {
				t.Error(got)
			}
			all.get(t, "/search?q=raw-v000&type=configMap").says(t, 200, `"name":"configMap raw-v000"`)
			o.deploy(t, "apiVersion: v1\nkind: Pod\nmetadata: {name: raw-pod, namespace: "+o.namespace+"}\nspec: {containers: [{name: main, image: x}]}", "moniker: {app: raw-app}").only(t)
			eventually(t, 20*time.Second, func() error {
				if got := names(all); got != "configMap raw-v000, pod raw-pod-v000, service raw" {
					return errors.New(got)
				}
				return nil
			})
			if got := names(o.service); strings.Contains(got, "pod") {
				t.Error(got)
			}
		}},
	}
}
