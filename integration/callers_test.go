package integration

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestCallers_FindEveryRouteTheyCall sends the requests of Gate and Orca, with
// the paths and query strings of their clients (spinnaker/gate,
// ClouddriverService; spinnaker/orca, OortService, MortService, KatoRestService,
// CloudDriverCacheService, FeaturesRestService). That answers are shaped as
// described is checked with every request.
func TestCallers_FindEveryRouteTheyCall(t *testing.T) {
	o := startOps(t, "callers")
	policy := "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: called, namespace: " + o.namespace + "}\nspec: {podSelector: {}}"
	o.deploy(t, o.replicaSetManifest("called", 1)+"\n---\n"+o.serviceManifest("called", "{set: called}")+"\n---\n"+policy+"\n---\n"+o.deployment("called", "x"), "").only(t)
	o.settled(t, "replicaSet called-v000")
	pod := o.onePod(t, "set=called")
	job := o.run(t, "runJob", "application: x\nmanifest: {apiVersion: batch/v1, kind: Job, metadata: {generateName: called-, namespace: "+o.namespace+"}, spec: {suspend: true, template: {spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}}}").only(t).DeployedNamesByLocation[o.namespace][0]
	eventually(t, 10*time.Second, func() error {
		if r := o.get(t, "/applications/callers/serverGroups"); !strings.Contains(r.body, "called-v000") {
			return errors.New(r.body)
		}
		return nil
	})
	task := o.submit(t, o.body(t, "scaleManifest", o.target("deployment called")+"\nreplicas: 1"), "")
	const gate, orca, body = "Gate", "Orca", `{"account":"x"}`
	fill := strings.NewReplacer("{app}", o.namespace, "{ns}", o.namespace, "{account}", o.c.Name, "{pod}", pod, "{job}", strings.ReplaceAll(job, " ", "%20"), "{task}", task)
	requests := []struct {
		caller, method, path, body string
		status                     int
	}{
		{gate, "GET", "/applications?restricted=false&expand=true", "", 200},
		{gate, "GET", "/applications?restricted=false&expand=false", "", 200},
		{gate, "GET", "/applications/{app}?expand=true", "", 200},
		{gate, "GET", "/applications/nobody?expand=true", "", 404},
		{gate, "GET", "/applications/{app}/clusters", "", 200},
		{gate, "GET", "/applications/{app}/clusters/{account}", "", 200},
		{gate, "GET", "/applications/{app}/clusters/{account}/replicaSet%20called?expand=false", "", 200},
		{gate, "GET", "/applications/{app}/clusters/{account}/replicaSet%20called/kubernetes/serverGroups/replicaSet%20called-v000", "", 200},
		{gate, "GET", "/applications/{app}/clusters/{account}/replicaSet%20called/kubernetes/{ns}/serverGroups/target/newest?onlyEnabled=true&validateOldest=false", "", 200},
		{gate, "GET", "/applications/{app}/serverGroups", "", 200},
		{gate, "GET", "/applications/{app}/serverGroups?cloudProvider=kubernetes&clusters={account}%3AreplicaSet%20called", "", 200},
		{gate, "GET", "/applications/{app}/serverGroups/{account}/{ns}/replicaSet%20called-v000?includeDetails=false", "", 200},
		{gate, "GET", "/serverGroups?applications={app}&applications=other&cloudProvider=kubernetes", "", 200},
		{gate, "GET", "/serverGroups?ids={account}%3A{ns}%3AreplicaSet%20called-v000&cloudProvider=kubernetes", "", 200},
		{gate, "GET", "/applications/{app}/serverGroupManagers", "", 200},
		{gate, "GET", "/applications/{app}/loadBalancers", "", 200},
		{gate, "GET", "/applications/{app}/rawResources", "", 200},
		{gate, "GET", "/applications/{app}/functions", "", 200},
		{gate, "GET", "/functions?functionName=f&region={ns}&account={account}", "", 200},
		{gate, "GET", "/kubernetes/loadBalancers", "", 200},
		{gate, "GET", "/kubernetes/loadBalancers/{account}/{ns}/service%20called", "", 200},
		{gate, "GET", "/kubernetes/loadBalancers/service%20called", "", 404},
		{gate, "GET", "/aws/loadBalancers", "", 400},
		{gate, "GET", "/instances/{account}/{ns}/pod%20{pod}", "", 200},
		{gate, "GET", "/instances/{account}/{ns}/pod%20{pod}/console?provider=kubernetes", "", 200},
		{gate, "GET", "/securityGroups", "", 200},
		{gate, "GET", "/securityGroups/{account}/kubernetes", "", 200},
		{gate, "GET", "/securityGroups/{account}/aws?region={ns}", "", 200},
		{gate, "GET", "/securityGroups/{account}/kubernetes/{ns}/networkPolicy%20called?vpcId=", "", 200},
		{gate, "GET", "/search?q={app}&type=applications&platform=aws&pageSize=500&page=1", "", 200},
		{gate, "GET", "/search?q=called&type=serverGroups&platform=kubernetes&pageSize=500&page=1&cloudProvider=kubernetes", "", 200},
		{gate, "GET", "/search?q=called&type=projects,applications,clusters,serverGroups,instances,loadBalancers,securityGroups&pageSize=500&page=1", "", 200},
		{gate, "GET", "/search?q={ns}&type=replicaSet&pageSize=500&page=1", "", 200},
		{gate, "GET", "/credentials", "", 200},
		{gate, "GET", "/credentials?expand=true", "", 200},
		{gate, "GET", "/credentials/{account}", "", 200},
		{gate, "GET", "/manifests/{account}/{ns}/deployment%20called", "", 200},
		{gate, "GET", "/manifests/{account}/_/namespace%20{ns}", "", 200},
		{gate, "POST", "/applications/{app}/jobs/{account}/{ns}/{job}", `""`, 200},
		{gate, "GET", "/task/{task}", "", 200},
		{gate, "GET", "/projects/demo/clusters", "", 404},
		{gate, "GET", "/artifacts/credentials", "", 200},
		{gate, "PUT", "/artifacts/fetch", `{"type":"http/file","artifactAccount":"nobody","reference":"http://x"}`, 404},
		{gate, "GET", "/artifacts/account/helm/names?type=helm%2Fchart", "", 404},
		{gate, "GET", "/artifacts/account/helm/versions?type=helm%2Fchart&artifactName=x", "", 404},
		{gate, "GET", "/artifacts/content-address/{app}/abc", "", 404},
		{gate, "GET", "/subnets/aws", "", 200},
		{gate, "GET", "/networks", "", 200},
		{gate, "GET", "/networks/aws", "", 200},
		{gate, "GET", "/keyPairs", "", 200},
		{gate, "GET", "/instanceTypes", "", 200},
		{gate, "GET", "/certificates", "", 200},
		{gate, "GET", "/certificates/aws", "", 200},
		{gate, "GET", "/elasticIps/{account}?region=eu", "", 200},
		{gate, "GET", "/tags?entityType=servergroup&entityId=x&maxResults=200", "", 200},
		{gate, "GET", "/dockerRegistry/images/find?q=nginx", "", 200},
		{gate, "GET", "/dockerRegistry/images/tags?account=x&repository=y", "", 200},
		{gate, "GET", "/cloudMetrics/kubernetes/{account}/{ns}", "", 400},
		{gate, "GET", "/reports/reservation", "", 200},
		{gate, "GET", "/servicebroker/{account}/services?cloudProvider=cloudfoundry&region=x", "", 200},
		{gate, "GET", "/v1/data/static/x", "", 404},
		{gate, "GET", "/installedPlugins", "", 200},
		{gate, "GET", "/health", "", 200},
		{orca, "GET", "/applications/{app}", "", 200},
		{orca, "GET", "/applications/{app}/clusters/{account}/replicaSet%20called/kubernetes", "", 200},
		{orca, "GET", "/applications/{app}/clusters/{account}/replicaSet%20called/kubernetes/serverGroups/replicaSet%20called-v000", "", 200},
		{orca, "GET", "/applications/{app}/clusters/{account}/replicaSet%20called/kubernetes/{ns}/serverGroups/target/current_asg_dynamic", "", 200},
		{orca, "GET", "/applications/{app}/clusters/{account}/replicaSet%20called/kubernetes/{ns}/serverGroups/target/ancestor_asg_dynamic", "", 404},
		{orca, "GET", "/applications/{app}/clusters/{account}/replicaSet%20called/kubernetes/{ns}/serverGroups/target/NEWEST/Images?onlyEnabled=true", "", 200},
		{orca, "GET", "/serverGroups/{account}/{ns}/replicaSet%20called-v000", "", 200},
		{orca, "GET", "/manifests/{account}/{ns}/deployment%20called?includeEvents=true", "", 200},
		{orca, "GET", "/manifests/{account}/_/namespace%20{ns}?includeEvents=false", "", 200},
		{orca, "GET", "/manifests/{account}/{ns}/replicaSet/cluster/{app}/replicaSet%20called/dynamic/newest", "", 200},
		{orca, "GET", "/manifests/{account}/{ns}/replicaSet/cluster/{app}/replicaSet%20called", "", 200},
		{orca, "GET", "/applications/null/jobs/{account}/{ns}/{job}", "", 200},
		{orca, "GET", "/applications/{app}/jobs/{account}/{ns}/{job}/main", "", 200},
		{orca, "GET", "/applications/{app}/kubernetes/pods/{account}/{ns}/{pod}/main", "", 200},
		{orca, "DELETE", "/applications/{app}/jobs/{account}/{ns}/{job}", "", 200},
		{orca, "GET", "/search?q={app}&type=securityGroups&platform=kubernetes", "", 200},
		{orca, "GET", "/features/stages", "", 200},
		{orca, "POST", "/cache/kubernetes/ServerGroup", body, 200},
		{orca, "POST", "/cache/kubernetes/manifest", body, 200},
		{orca, "GET", "/cache/kubernetes/manifest?id=x", "", 200},
		{orca, "GET", "/credentials?expand=true", "", 200},
		{orca, "PUT", "/artifacts/fetch/", `{"type":"embedded/base64","artifactAccount":"embedded-artifact","reference":"YQ=="}`, 200},
		{orca, "GET", "/task/{task}", "", 200},
		{orca, "POST", "/kubernetes/ops?clientRequestId=callers-1", "[" + `{"cleanupArtifacts":{"account":"{account}","manifests":[]}}` + "]", 200},
		{orca, "POST", "/kubernetes/ops/cleanupArtifacts?clientRequestId=callers-2", `{"account":"{account}","manifests":[]}`, 200},
		{orca, "PATCH", "/kubernetes/task/{task}", `{"retry":false}`, 409}, // it has not failed
	}
	count := map[string]int{}
	for _, q := range requests {
		count[q.caller]++
		t.Run(q.caller+" "+q.method+" "+q.path, func(t *testing.T) {
			r := o.send(t, q.method, fill.Replace(q.path), fill.Replace(q.body))
			if r.status != q.status || strings.Contains(r.body, "No handler found") {
				t.Errorf("%d, want %d: %.500s", r.status, q.status, r.body)
			}
			content := strings.HasPrefix(q.path, "/artifacts/fetch") && r.status == http.StatusOK
			if kind := r.header.Get("Content-Type"); r.body != "" && !content && !strings.HasPrefix(kind, "application/json") {
				t.Errorf("content type %q", kind)
			}
			if q.method == http.MethodGet && r.status == http.StatusOK && r.body == "" {
				t.Error("an empty body")
			}
		})
	}
	t.Logf("%d requests of Gate, %d of Orca", count[gate], count[orca])
}
