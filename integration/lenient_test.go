package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestLenient_ScalarsAsJacksonTakesThem has what used to be a 400.
func TestLenient_ScalarsAsJacksonTakesThem(t *testing.T) {
	o := startOps(t, "lenient")
	deploy := func(fields string, manifest string) done {
		return o.await(t, o.submit(t, `[{"deployManifest":{"account":"`+o.c.Name+`",`+fields+`"manifests":[`+manifest+`]}}]`, ""))
	}
	r := deploy(`"moniker":{"app":12345,"sequence":"3"},"enableArtifactBinding":"true","enableTraffic":"false","allowNothingSelected":"false","skipSpecTemplateLabels":"false","versioned":"false","namespaceOverride":"lenient","requiredArtifacts":[],`,
		`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":12345,"namespace":6,"labels":{"version":2},"annotations":{"time":1.7e9,"whole":1700000000,"half":1234567.5,"on":true}},"data":{"k":"v"}}`).only(t)
	if len(r.Manifests) != 1 {
		t.Fatal(r)
	}
	m := r.Manifests[0]
	if m.text("metadata", "name") != "12345" || m.at("metadata", "labels", "version") != "2" || m.annotation("moniker.spinnaker.io/application") != "12345" || m.annotation("moniker.spinnaker.io/sequence") != "3" {
		t.Errorf("%v", m["metadata"])
	}
	if m.annotation("time") != "1700000000" || m.annotation("whole") != "1700000000" || m.annotation("half") != "1234567.5" || m.annotation("on") != "true" {
		t.Errorf("%v", m["metadata"])
	}
	bound := deploy(`"moniker":{"app":"x"},"requiredArtifacts":[{"type":"docker/image","name":"reg/web","reference":"reg/web:12","version":12}],`,
		`{"apiVersion":"v1","kind":"Pod","metadata":{"generateName":"p-","namespace":"lenient"},"spec":{"containers":[{"name":"a","image":"reg/web"}]}}`).only(t)
	if len(bound.BoundArtifacts) != 1 || bound.BoundArtifacts[0]["version"] != "12" {
		t.Errorf("%v", bound.BoundArtifacts)
	}
	o.deploy(t, o.deployment("scaled", "x"), "").only(t)
	for _, replicas := range []string{`"3"`, "3.0", `"3.0"`, "3"} {
		if d := o.await(t, o.submit(t, `[{"scaleManifest":{"account":"`+o.c.Name+`","manifestName":"deployment scaled","location":"lenient","replicas":`+replicas+`}}]`, "")); d.Status.Failed {
			t.Error(replicas, d.raw)
		}
	}
	d := o.run(t, "deleteManifest", "location: lenient\nkinds: [configMap]\nlabelSelectors: {selectors: [{kind: EQUALS, key: version, values: [2]}]}")
	if d.Status.Failed || o.exists(t, o.core("configmaps", "12345")) {
		t.Error(d.raw)
	}
}

// TestLenient_ALiveManifestIsDeployedAgain takes manifests as /manifests shows
// them.
func TestLenient_ALiveManifestIsDeployedAgain(t *testing.T) {
	t.Parallel() // it keeps apart by namespace
	clusters := pool.Shared(t, 2)
	namespace(t, "moved", clusters...)
	cfg := settings()
	cfg.Kubernetes.Accounts = javaAccounts(clusters...)
	s := startWith(t, cfg, nil).ready(t)
	from, to := &ops{s, clusters[0], "moved"}, &ops{s, clusters[1], "moved"}
	shown := func(o *ops, full string) string {
		var m struct{ Manifest json.RawMessage }
		o.get(t, "/manifests/"+o.c.Name+"/moved/"+strings.ReplaceAll(full, " ", "%20")).into(t, &m)
		return string(m.Manifest)
	}
	deploy := func(o *ops, manifest string) result {
		return o.await(t, o.submit(t, `[{"deployManifest":{"account":"`+o.c.Name+`","moniker":{"app":"moved"},"manifests":[`+manifest+`]}}]`, "")).only(t)
	}
	from.deploy(t, from.deployment("web", "v:1")+"\n---\n"+from.configMap("settings", "{k: v}"), "").only(t)
	from.settled(t, "deployment web")
	deploy(to, shown(from, "deployment web"))
	if imageOf(to.live(t, to.apps("deployments", "web"))) != "v:1" {
		t.Error("not deployed to the other account")
	}
	recreated := strings.Replace(shown(from, "deployment web"), `"annotations":{`, `"annotations":{"strategy.spinnaker.io/recreate":"true",`, 1)
	before := from.live(t, from.apps("deployments", "web")).text("metadata", "uid")
	deploy(from, recreated)
	if now := from.live(t, from.apps("deployments", "web")).text("metadata", "uid"); now == before {
		t.Error("not recreated")
	}
	edited := strings.Replace(shown(from, "configMap settings-v000"), `"k":"v"`, `"k":"w"`, 1)
	if names := from.names(deploy(from, edited)); names[0] != "configMap settings-v001" {
		t.Errorf("an edited version is deployed as %v", names)
	}
	job := "apiVersion: batch/v1\nkind: Job\nmetadata: {name: once, namespace: moved}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: x}]}}}"
	from.deploy(t, job, "").only(t)
	again := shown(from, "job once")
	if d := from.await(t, from.submit(t, `[{"runJob":{"account":"`+from.c.Name+`","application":"moved","manifest":`+again+`}}]`, "")); d.Status.Failed {
		t.Error(d.raw)
	}
}

func TestLenient_ListsOfOneKindAreTakenApart(t *testing.T) {
	o := startOps(t, "lists")
	r := o.deploy(t, "apiVersion: v1\nkind: ConfigMapList\nitems:\n- {metadata: {name: a, namespace: lists}, data: {k: v}}\n- null\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: b, namespace: lists}, data: {k: v}}", "").only(t)
	if err := equal(o.names(r), []string{"configMap a-v000", "configMap b-v000"}); err != nil {
		t.Error(err)
	}
}

// TestKinds_AreNamedAsKubectlNamesThem, for operations and for reads.
func TestKinds_AreNamedAsKubectlNamesThem(t *testing.T) {
	o := startOps(t, "named")
	o.deploy(t, o.deployment("web", "x")+"\n---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web, namespace: named}\nspec: {defaultBackend: {service: {name: web, port: {number: 80}}}}", "").only(t)
	for text, want := range map[string]string{
		"deployments": "deployment web", "deploy": "deployment web", "Deployments": "deployment web", "deployments.apps": "deployment web", "deployment": "deployment web",
		"ing": "ingress web", "ingresses": "ingress web", "ingresses.networking.k8s.io": "ingress web",
	} {
		o.get(t, "/manifests/"+o.c.Name+"/named/"+text+"%20web").says(t, 200, `"name":"`+want+`"`)
	}
	if d := o.run(t, "scaleManifest", o.target("deployments web")+"replicas: 3"); d.Status.Failed || o.live(t, o.apps("deployments", "web")).at("spec", "replicas") != 3.0 {
		t.Error(d.raw)
	}
	o.run(t, "scaleManifest", o.target("ing web")+"replicas: 3").failed(t, "the kind ingress does not support scale")
	r := o.run(t, "deleteManifest", o.target("ing web")).only(t)
	if err := equal(o.names(r), []string{"ingress web"}); err != nil {
		t.Error(err)
	}
}

// TestDiscovery_IsTheTruth deploys a definition beside its object, when the
// cluster has both already.
func TestDiscovery_IsTheTruth(t *testing.T) {
	o := startOps(t, "truth")
	t.Cleanup(func() {
		call(t, o.c, http.MethodDelete, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/parts.truth.example.com", "application/json", "")
	})
	definition := `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: parts.truth.example.com}
spec:
  group: truth.example.com
  scope: Namespaced
  names: {plural: parts, singular: part, kind: Part}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
---
`
	part := "apiVersion: truth.example.com/v1\nkind: Part\nmetadata: {name: p, namespace: truth, annotations: {strategy.spinnaker.io/%s: 'true'}}\nspec: {n: %d}"
	uid := ""
	for i := range 2 {
		r := o.deploy(t, definition+fmt.Sprintf(part, "recreate", 1), "").only(t)
		now := r.Manifests[1].text("metadata", "uid")
		if now == uid {
			t.Errorf("deploy %d did not recreate", i)
		}
		uid = now
	}
	for i := range 12 {
		r := o.deploy(t, definition+fmt.Sprintf(part, "versioned", i), "").only(t)
		if want := fmt.Sprintf("Part.truth.example.com p-v%03d", i); o.names(r)[0] != want {
			t.Fatalf("%v, want %s", o.names(r), want)
		}
	}
}

// TestOneNamespace_OperationsAndReadsAreMovedToIt, for an account of the
// provider API that has one.
func TestOneNamespace_OperationsAndReadsAreMovedToIt(t *testing.T) {
	o := startSingle(t, "moved-to")
	s := o.service
	r := o.deploy(t, strings.Replace(o.configMap("here", "{k: v}"), "namespace: moved-to", "namespace: elsewhere", 1), "versioned: false").only(t)
	if err := equal(r.ManifestNamesByNamespace, map[string][]string{"moved-to": {"configMap here"}}); err != nil {
		t.Error(err)
	}
	s.get(t, "/manifests/single/elsewhere/configMap%20here").says(t, 200, `"location":"moved-to"`)
	patched := o.run(t, "patchManifest", "manifestName: configMap here\nlocation: elsewhere\noptions: {mergeStrategy: merge}\npatchBody: {data: {k: w}}").only(t)
	if err := equal(patched.ManifestNamesByNamespace, map[string][]string{"moved-to": {"configMap here"}}); err != nil {
		t.Error(err)
	}
	deleted := o.run(t, "deleteManifest", "manifestName: configMap here\nlocation: elsewhere").only(t)
	if err := equal(deleted.ManifestNamesByNamespace, map[string][]string{"moved-to": {"configMap here"}}); err != nil {
		t.Error(err)
	}
}

// startSingle serves a control plane as an account of the provider API that has
// one namespace.
func startSingle(t *testing.T, name string) *ops {
	t.Helper()
	c := pool.Shared(t, 1)[0]
	namespace(t, name, c)
	cfg := settings()
	cfg.Services.Arcade, _ = fakeArcade(t, c.Token)
	s := startWith(t, cfg, nil)
	s.account = "single"
	o := &ops{s, c, name}
	body := strings.Replace(providerFor(t, "single", c), "{", `{"namespaces":["`+name+`"],`, 1)
	if r := o.send(t, "POST", providersPath, body); r.status != http.StatusCreated {
		t.Fatal(r.status, r.body)
	}
	eventually(t, 20*time.Second, func() error {
		if r := s.get(t, "/credentials/single"); r.status != http.StatusOK {
			return fmt.Errorf("%d %s", r.status, r.body)
		}
		return nil
	})
	return o
}
