package integration

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// check is a test of the closing checklist of operations.md, by its numbers.
type check struct {
	number int
	name   string
	test   func(t *testing.T, o *ops)
}

// runRows runs them on one control plane and says how many there were.
func runRows(t *testing.T, namespace string, rows []check) {
	t.Helper()
	o := startOps(t, namespace)
	numbers := map[int]bool{}
	for _, r := range rows {
		numbers[r.number] = true
		t.Run(fmt.Sprintf("row %d %s", r.number, r.name), func(t *testing.T) { r.test(t, o) })
	}
	t.Logf("%d tests of %d rows of the checklist", len(rows), len(numbers))
}

// failed expects a task that failed with all of the texts in its exception and
// in its last line.
func (d done) failed(t testing.TB, texts ...string) {
	t.Helper()
	if !d.Status.Failed || !d.Status.Completed || d.Status.Retryable || len(d.results) == 0 {
		t.Fatalf("not failed: %s", d.raw)
	}
	last := d.results[len(d.results)-1]
	if last.Type != "EXCEPTION" {
		t.Errorf("no exception: %s", d.raw)
	}
	for _, text := range texts {
		if !strings.Contains(last.Message, text) || !strings.Contains(d.Status.Status, text) {
			t.Errorf("no %q in %q and %q", text, last.Message, d.Status.Status)
		}
	}
}

const mergePatch = "application/merge-patch+json"

const lastAppliedKey = "kubectl.kubernetes.io/last-applied-configuration"

func (o *ops) names(r result) []string { return r.ManifestNamesByNamespace[o.namespace] }

func TestChecklist_Deploy(t *testing.T) {
	runRows(t, "rows-deploy", []check{
		{14, "new, unchanged, changed, removed and foreign fields", func(t *testing.T, o *ops) {
			path := o.apps("deployments", "fields")
			m := o.deployment("fields", "registry/web:1")
			o.deploy(t, m+"\n  minReadySeconds: 5", "").only(t)
			first := o.live(t, path)
			if !strings.HasSuffix(first.annotation(lastAppliedKey), "}\n") || first.at("spec", "minReadySeconds") != 5.0 {
				t.Errorf("%v", first)
			}
			eventually(t, time.Minute, func() error {
				if o.live(t, path).at("status", "observedGeneration") != 1.0 {
					return fmt.Errorf("not observed")
				}
				return nil
			})
			generation := o.live(t, path).at("metadata", "generation")
			d := o.deploy(t, m+"\n  minReadySeconds: 5", "")
			d.only(t)
			if !strings.Contains(d.raw, "Unchanged: deployment fields") || o.live(t, path).at("metadata", "generation") != generation {
				t.Errorf("an unchanged manifest is written: %s", d.raw)
			}
			call(t, o.c, http.MethodPatch, path, mergePatch, `{"metadata":{"annotations":{"by":"others"}},"spec":{"paused":true}}`)
			o.deploy(t, strings.Replace(m, "registry/web:1", "registry/web:2", 1), "").only(t)
			now := o.live(t, path)
			if now.annotation("by") != "others" || now.at("spec", "paused") != true {
				t.Errorf("what others set is gone: %v", now["spec"])
			}
			if n, _ := now.at("spec", "minReadySeconds").(float64); n != 0 {
				t.Errorf("a removed field stays: %v", n)
			}
			if !strings.Contains(fmt.Sprint(now["spec"]), "registry/web:2") {
				t.Errorf("not changed: %v", now["spec"])
			}
		}},
		{15, "an object that apply did not make", func(t *testing.T, o *ops) {
			apply(t, o.c, fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: foreign, namespace: %s, annotations: {kept: x}}\nspec: {ports: [{port: 80}], selector: {a: b}}", o.namespace))
			call(t, o.c, http.MethodPatch, o.core("services", "foreign"), mergePatch, `{"metadata":{"annotations":{"`+lastAppliedKey+`":null}}}`)
			o.deploy(t, fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: foreign, namespace: %s}\nspec: {ports: [{port: 80}], sessionAffinity: ClientIP}", o.namespace), "").only(t)
			now := o.live(t, o.core("services", "foreign"))
			if now.at("spec", "sessionAffinity") != "ClientIP" || now.annotation("kept") != "x" || now.at("spec", "selector", "a") != "b" {
				t.Errorf("%v", now)
			}
		}},
		{17, "a definition and its objects in one request", func(t *testing.T, o *ops) {
			t.Cleanup(func() {
				call(t, o.c, http.MethodDelete, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.rows.example.com", "application/json", "")
				call(t, o.c, http.MethodDelete, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/globes.rows.example.com", "application/json", "")
			})
			definition := func(plural, kind, scope string) string {
				return fmt.Sprintf(`apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %s.rows.example.com}
spec:
  group: rows.example.com
  scope: %s
  names: {plural: %s, singular: %s, kind: %s}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]`, plural, scope, plural, strings.ToLower(kind), kind)
			}
			r := o.deploy(t, "apiVersion: rows.example.com/v1\nkind: Widget\nmetadata: {name: w, namespace: "+o.namespace+"}\nspec: {list: [1, 2], keep: x}\n---\n"+
				"apiVersion: rows.example.com/v1\nkind: Globe\nmetadata: {name: g}\nspec: [a, b]\n---\n"+
				definition("widgets", "Widget", "Namespaced")+"\n---\n"+definition("globes", "Globe", "Cluster"), "").only(t)
			want := map[string][]string{
				"":          {"customResourceDefinition widgets.rows.example.com", "customResourceDefinition globes.rows.example.com", "Globe.rows.example.com g"},
				o.namespace: {"Widget.rows.example.com w"},
			}
			if err := equal(r.ManifestNamesByNamespace, want); err != nil {
				t.Error(err)
			}
		}},
		{16, "custom resources: change and lists", func(t *testing.T, o *ops) {
			t.Cleanup(func() {
				call(t, o.c, http.MethodDelete, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gears.rows.example.com", "application/json", "")
			})
			gear := "apiVersion: rows.example.com/v1\nkind: Gear\nmetadata: {name: g, namespace: " + o.namespace + "}\nspec: "
			fields := o.deployFields(t, `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gears.rows.example.com}
spec:
  group: rows.example.com
  scope: Namespaced
  names: {plural: gears, singular: gear, kind: Gear}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
---
`+gear+"{list: [1, 2, 3], gone: x, big: BIG}", "")
			// YAML here loses digits; callers send JSON.
			o.await(t, o.submit(t, strings.Replace(o.body(t, "deployManifest", fields), `"BIG"`, "9007199254740993", 1), "")).only(t)
			path := "/apis/rows.example.com/v1/namespaces/" + o.namespace + "/gears/g"
			if raw := string(call(t, o.c, http.MethodGet, path, "", "")); !strings.Contains(raw, "9007199254740993") {
				t.Errorf("digits are lost: %s", raw)
			}
			call(t, o.c, http.MethodPatch, path, mergePatch, `{"spec":{"foreign":"y"}}`)
			o.deploy(t, gear+"{list: [4]}", "").only(t)
			if err := equal(o.live(t, path).at("spec"), map[string]any{"list": []any{4.0}, "foreign": "y"}); err != nil {
				t.Error(err)
			}
			o.run(t, "patchManifest", fmt.Sprintf("manifestName: Gear.rows.example.com g\nlocation: %s\noptions: {mergeStrategy: strategic}\npatchBody: {spec: {a: b}}", o.namespace)).failed(t, "Gear.rows.example.com g")
		}},
		{18, "order of all levels", func(t *testing.T, o *ops) {
			meta := "metadata: {name: order, namespace: " + o.namespace + "}"
			manifests := []string{
				"apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\n" + meta + "\nspec: {maxReplicas: 2, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: order}, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]}",
				o.deployment("order", "x"),
				"apiVersion: policy/v1\nkind: PodDisruptionBudget\n" + meta + "\nspec: {minAvailable: 1, selector: {matchLabels: {app: order}}}",
				"apiVersion: v1\nkind: Service\n" + meta + "\nspec: {ports: [{port: 80}]}",
				"apiVersion: v1\nkind: Secret\n" + meta + "\ndata: {k: dg==}",
				o.configMap("order", "{k: v}"),
				"apiVersion: v1\nkind: ServiceAccount\n" + meta,
				"apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n" + meta + "\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: order}\nsubjects: [{kind: ServiceAccount, name: order, namespace: " + o.namespace + "}]",
				"apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\n" + meta + "\nrules: [{apiGroups: [''], resources: [pods], verbs: [get]}]",
				"apiVersion: v1\nkind: Endpoints\n" + meta,
			}
			r := o.deploy(t, strings.Join(manifests, "\n---\n"), "").only(t)
			want := []string{
				"role order", "roleBinding order", "serviceAccount order", "secret order-v000", "configMap order-v000", "service order",
				"podDisruptionBudget order", "deployment order", "horizontalpodautoscaler order", "Endpoints order",
			}
			if err := equal(o.names(r), want); err != nil {
				t.Error(err)
			}
		}},
		{19, "lists, nulls, one manifest, nothing", func(t *testing.T, o *ops) {
			r := o.run(t, "deployManifest", `
moniker: {app: x}
manifests:
- null
- apiVersion: v1
  kind: list
  items:
  - {apiVersion: v1, kind: Service, metadata: {name: l1, namespace: `+o.namespace+`}, spec: {ports: [{port: 80}]}}
  - {apiVersion: v1, kind: Service, metadata: {name: l2, namespace: `+o.namespace+`}, spec: {ports: [{port: 80}]}}
`).only(t)
			if err := equal(o.names(r), []string{"service l1", "service l2"}); err != nil {
				t.Error(err)
			}
			one := o.run(t, "deployManifest", "moniker: {app: x}\nmanifest: {apiVersion: v1, kind: Service, metadata: {name: l3, namespace: "+o.namespace+"}, spec: {ports: [{port: 80}]}}").only(t)
			if err := equal(o.names(one), []string{"service l3"}); err != nil {
				t.Error(err)
			}
			none := o.run(t, "deployManifest", "moniker: {app: x}\nmanifests: []")
			if !strings.Contains(none.raw, `"manifests":[]`) || none.Status.Failed {
				t.Error(none.raw)
			}
		}},
		{20, "namespaces", func(t *testing.T, o *ops) {
			namespace(t, "rows-override", o.c)
			r := o.deploy(t, "apiVersion: v1\nkind: Service\nmetadata: {name: moved, namespace: elsewhere}\nspec: {ports: [{port: 80}]}\n---\napiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {name: rows-override}\nvalue: 5", "namespaceOverride: rows-override").only(t)
			t.Cleanup(func() {
				call(t, o.c, http.MethodDelete, "/apis/scheduling.k8s.io/v1/priorityclasses/rows-override", "application/json", "")
			})
			if err := equal(r.ManifestNamesByNamespace, map[string][]string{"rows-override": {"service moved"}, "": {"PriorityClass rows-override"}}); err != nil {
				t.Error(err)
			}
			r = o.deploy(t, "apiVersion: v1\nkind: Service\nmetadata: {name: rows-default}\nspec: {ports: [{port: 80}]}", "").only(t)
			t.Cleanup(func() {
				call(t, o.c, http.MethodDelete, "/api/v1/namespaces/default/services/rows-default", "application/json", "")
			})
			if err := equal(r.ManifestNamesByNamespace, map[string][]string{"default": {"service rows-default"}}); err != nil {
				t.Error(err)
			}
		}},
		{21, "annotations and labels", func(t *testing.T, o *ops) {
			o.deploy(t, o.deployment("marked", "x"), "moniker: {app: shop, stack: main, detail: canary}").only(t)
			d := o.live(t, o.apps("deployments", "marked"))
			for _, metadata := range []any{d.at("metadata"), d.at("spec", "template", "metadata")} {
				m, _ := metadata.(map[string]any)
				annotations, _ := m["annotations"].(map[string]any)
				labels, _ := m["labels"].(map[string]any)
				want := map[string]any{
					"artifact.spinnaker.io/type": "kubernetes/deployment", "artifact.spinnaker.io/name": "marked", "artifact.spinnaker.io/location": o.namespace,
					"artifact.spinnaker.io/version": "", "moniker.spinnaker.io/application": "shop", "moniker.spinnaker.io/cluster": "deployment marked",
					"moniker.spinnaker.io/stack": "main", "moniker.spinnaker.io/detail": "canary",
				}
				for key, value := range want {
					if annotations[key] != value {
						t.Errorf("%s is %v, want %v", key, annotations[key], value)
					}
				}
				if labels["app.kubernetes.io/name"] != "shop" || labels["app.kubernetes.io/managed-by"] != "spinnaker" || labels["moniker.spinnaker.io/sequence"] != nil {
					t.Errorf("labels %v", labels)
				}
			}
			kept := strings.Replace(o.deployment("kept", "x"), "metadata: {name: kept,", "metadata: {annotations: {moniker.spinnaker.io/cluster: mine, artifact.spinnaker.io/name: own, num: 5, flag: true}, labels: {app.kubernetes.io/name: theirs, app.kubernetes.io/managed-by: me}, name: kept,", 1)
			o.deploy(t, kept, "moniker: {app: shop}\nskipSpecTemplateLabels: true").only(t)
			k := o.live(t, o.apps("deployments", "kept"))
			if k.annotation("moniker.spinnaker.io/cluster") != "mine" || k.annotation("artifact.spinnaker.io/name") != "own" || k.annotation("num") != "5" || k.annotation("flag") != "true" {
				t.Errorf("%v", k.at("metadata", "annotations"))
			}
			if k.text("metadata", "labels", "app.kubernetes.io/name") != "theirs" || k.text("metadata", "labels", "app.kubernetes.io/managed-by") != "spinnaker" {
				t.Errorf("%v", k.at("metadata", "labels"))
			}
			if err := equal(k.at("spec", "template", "metadata", "labels"), map[string]any{"app": "kept"}); err != nil {
				t.Error(err)
			}
			// What the UI's edit dialog sends back agrees with the new name.
			edited := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: edited-v003, namespace: " + o.namespace + ", annotations: {artifact.spinnaker.io/name: edited, artifact.spinnaker.io/version: v003, moniker.spinnaker.io/sequence: '3'}}\ndata: {k: v}"
			r := o.deploy(t, edited, "moniker: {app: shop, sequence: 3}").only(t)
			cm := o.live(t, o.core("configmaps", "edited-v003-v000"))
			if r.CreatedArtifacts[0]["reference"] != "edited-v003-v000" || cm.annotation("artifact.spinnaker.io/name") != "edited-v003" || cm.annotation("artifact.spinnaker.io/version") != "v000" || cm.annotation("moniker.spinnaker.io/sequence") != "0" {
				t.Errorf("%v", cm.at("metadata", "annotations"))
			}
		}},
		{22, "moniker", func(t *testing.T, o *ops) {
			o.deploy(t, "apiVersion: v1\nkind: Service\nmetadata: {name: moniker, namespace: "+o.namespace+"}\nspec: {ports: [{port: 80}]}", "moniker: {app: shop, cluster: own}").only(t)
			if got := o.live(t, o.core("services", "moniker")).annotation("moniker.spinnaker.io/cluster"); got != "own" {
				t.Error(got)
			}
			r := o.send(t, http.MethodPost, "/kubernetes/ops", o.body(t, "deployManifest", "manifests: []"))
			if r.status != http.StatusBadRequest || !strings.Contains(r.body, "moniker") {
				t.Error(r.status, r.body)
			}
		}},
		{23, "the next version", func(t *testing.T, o *ops) {
			for _, c := range []struct {
				name     string
				existing []string
				want     string
			}{
				{"none", nil, "v000"}, {"three", []string{"v000", "v001", "v002"}, "v003"}, {"gap", []string{"v000", "v005"}, "v006"},
				{"thousand", []string{"v999"}, "v1000"}, {"beyond", []string{"v999", "v1000"}, "v1001"}, {"odd", []string{"vabc", "v-20", "v001"}, "v002"},
			} {
				name := "next-" + c.name
				for i, v := range c.existing {
					apply(t, o.c, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s-%d, namespace: %s, annotations: {artifact.spinnaker.io/type: kubernetes/configMap, artifact.spinnaker.io/name: %s, artifact.spinnaker.io/version: %q}}\ndata: {i: '%d'}", name, i, o.namespace, name, v, i))
				}
				r := o.deploy(t, o.configMap(name, "{new: x}"), "").only(t)
				if got := r.CreatedArtifacts[0]["version"]; got != c.want {
					t.Errorf("%s: %v, want %s", c.name, got, c.want)
				}
			}
			apply(t, o.c, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: manual-v000, namespace: "+o.namespace+"}\ndata: {by: hand}")
			r := o.deploy(t, o.configMap("manual", "{new: x}"), "").only(t)
			if err := equal(o.names(r), []string{"configMap manual-v001"}); err != nil {
				t.Error(err)
			}
			if r.CreatedArtifacts[0]["version"] != "v001" || r.CreatedArtifacts[0]["reference"] != "manual-v001" {
				t.Error(r.CreatedArtifacts)
			}
			if o.live(t, o.core("configmaps", "manual-v000")).at("data", "by") != "hand" || o.live(t, o.core("configmaps", "manual-v001")).annotation("artifact.spinnaker.io/version") != "v001" {
				t.Error("the object that was there was changed, or the version does not agree")
			}
		}},
		{24, "reuse of versions", func(t *testing.T, o *ops) {
			deployed := func(m string) string { return fmt.Sprint(o.names(o.deploy(t, m, "").only(t))) }
			expect := func(what, got, want string) {
				t.Helper()
				if got != want {
					t.Errorf("%s: %s, want %s", what, got, want)
				}
			}
			secret := "apiVersion: v1\nkind: Secret\nmetadata: {name: reuse, namespace: " + o.namespace + "}\ndata: {k: %s}"
			expect("secret", deployed(fmt.Sprintf(secret, "YQ==")), "[secret reuse-v000]")
			expect("changed secret", deployed(fmt.Sprintf(secret, "Yg==")), "[secret reuse-v001]")
			expect("older secret again", deployed(fmt.Sprintf(secret, "YQ==")), "[secret reuse-v000]")
			pod := "apiVersion: v1\nkind: Pod\nmetadata: {name: reuse, namespace: " + o.namespace + "}\nspec: {containers: [{name: a, image: x}]}"
			expect("pod", deployed(pod), "[pod reuse-v000]")
			expect("same pod", deployed(pod), "[pod reuse-v000]")
			set := "apiVersion: apps/v1\nkind: ReplicaSet\nmetadata: {name: reuse, namespace: " + o.namespace + "}\nspec: {replicas: 0, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: x}]}}}"
			expect("replica set", deployed(set), "[replicaSet reuse-v000]")
			expect("same replica set", deployed(set), "[replicaSet reuse-v001]")
			ssa := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ssa, namespace: " + o.namespace + ", annotations: {strategy.spinnaker.io/server-side-apply: 'true'}}\ndata: {k: v}"
			expect("server-side", deployed(ssa), "[configMap ssa-v000]")
			expect("same server-side", deployed(ssa), "[configMap ssa-v001]")
		}},
		{25, "who decides on versions", func(t *testing.T, o *ops) {
			for i, c := range []struct {
				annotation, request, kind string
				versioned                 bool
			}{
				{"'true'", "false", "Service", true}, {"'false'", "true", "ConfigMap", false}, {"TRUE", "null", "Service", true}, {"nonsense", "true", "ConfigMap", false},
				{"", "true", "Service", true}, {"", "false", "ConfigMap", false}, {"", "null", "Service", false}, {"", "null", "ConfigMap", true},
			} {
				annotations := ""
				if c.annotation != "" {
					annotations = ", annotations: {strategy.spinnaker.io/versioned: " + c.annotation + "}"
				}
				body := "data: {k: v}"
				if c.kind == "Service" {
					body = "spec: {ports: [{port: 80}]}"
				}
				r := o.deploy(t, fmt.Sprintf("apiVersion: v1\nkind: %s\nmetadata: {name: decide-%d, namespace: %s%s}\n%s", c.kind, i, o.namespace, annotations, body), "versioned: "+c.request).only(t)
				if got := strings.HasSuffix(o.names(r)[0], "-v000"); got != c.versioned {
					t.Errorf("%+v: %v", c, o.names(r))
				}
			}
		}},
		{26, "two deploys at once", func(t *testing.T, o *ops) {
			const n = 6
			var mu sync.Mutex
			var got []string
			var wg sync.WaitGroup
			for i := range n {
				wg.Go(func() {
					r := o.deploy(t, o.configMap("race", fmt.Sprintf("{by: '%d'}", i)), "").only(t)
					mu.Lock()
					defer mu.Unlock()
					got = append(got, o.names(r)[0])
					if r.Manifests[0].at("data", "by") != fmt.Sprint(i) {
						t.Errorf("%v was overwritten", r.Manifests[0])
					}
				})
			}
			wg.Wait()
			slices.Sort(got)
			if len(slices.Compact(got)) != n {
				t.Errorf("%v", got)
			}
		}},
		{27, "generated names", func(t *testing.T, o *ops) {
			for _, kind := range []string{"apiVersion: batch/v1\nkind: Job\nmetadata: {generateName: made-, namespace: %s}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: x}]}}}", "apiVersion: v1\nkind: Pod\nmetadata: {generateName: made-, namespace: %s}\nspec: {containers: [{name: a, image: x}]}"} {
				r := o.deploy(t, fmt.Sprintf(kind, o.namespace), "").only(t)
				name := r.Manifests[0].text("metadata", "name")
				if !strings.HasPrefix(name, "made-") || len(name) != 10 || r.CreatedArtifacts[0]["reference"] != name || r.CreatedArtifacts[0]["version"] != "" {
					t.Errorf("%s, %v", name, r.CreatedArtifacts)
				}
			}
		}},
		{28, "recreate and replace", func(t *testing.T, o *ops) {
			m := func(strategy, data string) string {
				return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: %s, annotations: {strategy.spinnaker.io/%s: 'true', strategy.spinnaker.io/versioned: 'false'}}\ndata: %s", strategy, o.namespace, strategy, data)
			}
			for _, strategy := range []string{"recreate", "replace"} {
				o.deploy(t, m(strategy, "{k: v}"), "").only(t)
				first := o.live(t, o.core("configmaps", strategy))
				call(t, o.c, http.MethodPatch, o.core("configmaps", strategy), mergePatch, `{"data":{"foreign":"x"}}`)
				o.deploy(t, m(strategy, "{k: w}"), "").only(t)
				now := o.live(t, o.core("configmaps", strategy))
				if err := equal(now.at("data"), map[string]any{"k": "w"}); err != nil {
					t.Error(strategy, err)
				}
				if renewed := now.at("metadata", "uid") != first.at("metadata", "uid"); renewed != (strategy == "recreate") {
					t.Errorf("%s: new object %v", strategy, renewed)
				}
				if (now.annotation(lastAppliedKey) != "") != (strategy == "recreate") {
					t.Errorf("%s: last applied %q", strategy, now.annotation(lastAppliedKey))
				}
			}
			// Not the text true is not a strategy.
			o.deploy(t, strings.ReplaceAll(m("recreate", "{k: v}"), "recreate: 'true'", "recreate: 'True'"), "").only(t)
			call(t, o.c, http.MethodPatch, o.core("configmaps", "recreate"), mergePatch, `{"metadata":{"finalizers":["rows.example.com/stuck"]}}`)
			uid := o.live(t, o.core("configmaps", "recreate")).at("metadata", "uid")
			id := o.submit(t, o.body(t, "deployManifest", o.deployFields(t, m("recreate", "{k: stuck}"), "")), "")
			eventually(t, 10*time.Second, func() error {
				if o.live(t, o.core("configmaps", "recreate")).at("metadata", "deletionTimestamp") == nil {
					return fmt.Errorf("not being deleted")
				}
				return nil
			})
			o.await(t, id).failed(t, "rows.example.com/stuck", "finalizers")
			if o.live(t, o.core("configmaps", "recreate")).at("metadata", "uid") != uid {
				t.Error("applied onto the old object")
			}
			call(t, o.c, http.MethodPatch, o.core("configmaps", "recreate"), mergePatch, `{"metadata":{"finalizers":null}}`)
		}},
		{28, "server-side apply", func(t *testing.T, o *ops) {
			m := func(value, data string) string {
				return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: server, namespace: %s, annotations: {strategy.spinnaker.io/server-side-apply: %q, strategy.spinnaker.io/versioned: 'false'}}\ndata: %s", o.namespace, value, data)
			}
			o.deploy(t, m("true", "{k: v, old: x}"), "").only(t)
			o.deploy(t, m("true", "{k: v}"), "").only(t)
			now := o.live(t, o.core("configmaps", "server"))
			if now.at("data", "old") != nil || now.annotation(lastAppliedKey) != "" {
				t.Errorf("%v", now)
			}
			call(t, o.c, http.MethodPatch, o.core("configmaps", "server")+"?fieldManager=other&force=true", "application/apply-patch+yaml", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"server"},"data":{"k":"theirs"}}`)
			o.deploy(t, m("true", "{k: ours}"), "").failed(t, `"other"`, "conflict")
			o.deploy(t, m("force-conflicts", "{k: ours}"), "").only(t)
			if o.live(t, o.core("configmaps", "server")).at("data", "k") != "ours" {
				t.Error("not forced")
			}
		}},
		{29, "field managers", func(t *testing.T, o *ops) {
			for _, manager := range []string{"spinnaker", "kubectl"} {
				name := "managed-" + manager
				call(t, o.c, http.MethodPatch, o.core("configmaps", name)+"?fieldManager="+manager, "application/apply-patch+yaml", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"`+name+`"},"data":{"k":"before","old":"x"}}`)
				o.deploy(t, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: %s, annotations: {strategy.spinnaker.io/server-side-apply: 'true', strategy.spinnaker.io/versioned: 'false'}}\ndata: {k: after}", name, o.namespace), "").only(t)
				now := o.live(t, o.core("configmaps", name))
				if now.at("data", "k") != "after" || now.at("data", "old") != nil {
					t.Errorf("%s: %v", manager, now["data"])
				}
			}
			// Fields of client-side apply go over to server-side apply.
			plain := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: upgraded, namespace: " + o.namespace + ", annotations: {strategy.spinnaker.io/versioned: 'false'%s}}\ndata: %s"
			o.deploy(t, fmt.Sprintf(plain, "", "{k: v, old: x}"), "").only(t)
			o.deploy(t, fmt.Sprintf(plain, ", strategy.spinnaker.io/server-side-apply: 'true'", "{k: v}"), "").only(t)
			if old := o.live(t, o.core("configmaps", "upgraded")).at("data", "old"); old != nil {
				t.Errorf("a field of client-side apply stays: %v", old)
			}
		}},
		{30, "source capacity", func(t *testing.T, o *ops) {
			m := strings.Replace(o.deployment("capacity", "x"), "metadata: {name", "metadata: {annotations: {strategy.spinnaker.io/use-source-capacity: 'true'}, name", 1)
			o.deploy(t, m, "").only(t)
			o.run(t, "scaleManifest", "manifestName: deployment capacity\nlocation: "+o.namespace+"\nreplicas: 5")
			o.deploy(t, m, "").only(t)
			if got := o.live(t, o.apps("deployments", "capacity")).at("spec", "replicas"); got != 5.0 {
				t.Errorf("replicas %v", got)
			}
			set := "apiVersion: apps/v1\nkind: ReplicaSet\nmetadata: {name: capacity, namespace: " + o.namespace + ", annotations: {strategy.spinnaker.io/use-source-capacity: 'true'}}\nspec: {replicas: 1, selector: {matchLabels: {c: d}}, template: {metadata: {labels: {c: d}}, spec: {containers: [{name: a, image: x}]}}}"
			o.deploy(t, set, "").only(t)
			o.run(t, "scaleManifest", "manifestName: replicaSet capacity-v000\nlocation: "+o.namespace+"\nreplicas: 3")
			r := o.deploy(t, set, "").only(t)
			if got := r.Manifests[0].at("spec", "replicas"); got != 3.0 || o.names(r)[0] != "replicaSet capacity-v001" {
				t.Errorf("replicas %v of %v", got, o.names(r))
			}
		}},
		{31, "version history and strategies", func(t *testing.T, o *ops) {
			m := func(n string) string {
				return "apiVersion: apps/v1\nkind: ReplicaSet\nmetadata: {name: history" + n + ", namespace: " + o.namespace + ", annotations: {strategy.spinnaker.io/max-version-history: '" + n + "'}}\nspec: {replicas: 0, selector: {matchLabels: {c: d}}, template: {metadata: {labels: {c: d}}, spec: {containers: [{name: a, image: x}]}}}"
			}
			for _, strategy := range []string{"RED_BLACK", "BLUE_GREEN"} {
				o.deploy(t, o.configMap("before-history", "{k: v}")+"\n---\n"+m("1"), "strategy: "+strategy).failed(t, "max-version-history", strategy)
			}
			if o.exists(t, o.core("configmaps", "before-history-v000")) {
				t.Error("acted before the check")
			}
			o.deploy(t, m("2"), "strategy: RED_BLACK").only(t)
			o.deploy(t, m("x"), "strategy: RED_BLACK").only(t)
			o.deploy(t, m("1"), "strategy: HIGHLANDER").only(t)
		}},
		{32, "too long annotation and immutable field", func(t *testing.T, o *ops) {
			o.deploy(t, o.configMap("long", "{k: '"+strings.Repeat("x", 300_000)+"'}"), "").failed(t, "Too long", "server-side-apply")
			o.deploy(t, o.deployment("immutable", "x"), "").only(t)
			o.deploy(t, strings.Replace(o.deployment("immutable", "x"), "matchLabels: {app: immutable}", "matchLabels: {app: immutable, other: x}", 1), "").failed(t, "deployment immutable", "selector")
		}},
		{39, "label selectors", func(t *testing.T, o *ops) {
			meta := "metadata: {name: %s, namespace: " + o.namespace + ", labels: {tier: %s}}"
			two := fmt.Sprintf("apiVersion: v1\nkind: Service\n"+meta+"\nspec: {ports: [{port: 80}]}\n---\napiVersion: v1\nkind: Service\n"+meta+"\nspec: {ports: [{port: 80}]}", "sel-a", "front", "sel-b", "back")
			for selector, want := range map[string]string{
				"{kind: EQUALS, key: tier, values: [front]}": "[service sel-a]", "{kind: not_equals, key: tier, values: [front]}": "[service sel-b]",
				"{kind: CONTAINS, key: tier, values: [front, back]}": "[service sel-a service sel-b]", "{kind: NOT_CONTAINS, key: tier, values: [back]}": "[service sel-a]",
				"{kind: EXISTS, key: tier}": "[service sel-a service sel-b]", "{kind: ANY}": "[service sel-a service sel-b]", "{kind: EQUALS, key: app.kubernetes.io/managed-by, values: [spinnaker]}": "[service sel-a service sel-b]",
			} {
				r := o.deploy(t, two, "labelSelectors: {selectors: ["+selector+"]}").only(t)
				if got := fmt.Sprint(o.names(r)); got != want || len(r.CreatedArtifacts) != len(o.names(r)) {
					t.Errorf("%s: %s, want %s", selector, got, want)
				}
			}
			o.deploy(t, two, "labelSelectors: {selectors: [{kind: NOT_EXISTS, key: tier}]}").failed(t, "label selectors", "tier")
			o.deploy(t, two, "allowNothingSelected: true\nlabelSelectors: {selectors: [{kind: NOT_EXISTS, key: tier}]}").only(t)
			o.deploy(t, strings.Replace(two, "labels:", "annotations: {strategy.spinnaker.io/replace: 'true'}, labels:", 1), "labelSelectors: {selectors: [{kind: EXISTS, key: tier}]}").failed(t, "replace")
		}},
	})
}
