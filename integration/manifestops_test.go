package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func (o *ops) target(full string) string {
	return fmt.Sprintf("manifestName: %s\nlocation: %s\n", full, o.namespace)
}

// replicaSetManifest is one that may be attached to services.
func (o *ops) replicaSetManifest(name string, replicas int) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: %[1]s, namespace: %[2]s}
spec:
  replicas: %[3]d
  selector: {matchLabels: {set: %[1]s}}
  template:
    metadata: {labels: {set: %[1]s}}
    spec: {containers: [{name: main, image: registry/web}]}`, name, o.namespace, replicas)
}

func (o *ops) serviceManifest(name, selector string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: %s, namespace: %s}\nspec: {ports: [{port: 80}], selector: %s}", name, o.namespace, selector)
}

// settled waits until a workload's controller has done its work.
func (o *ops) settled(t testing.TB, full string) {
	t.Helper()
	eventually(t, time.Minute, func() error {
		var m struct {
			Status struct{ Stable struct{ State bool } }
		}
		r := o.get(t, "/manifests/"+o.c.Name+"/"+o.namespace+"/"+strings.ReplaceAll(full, " ", "%20"))
		r.into(t, &m)
		if !m.Status.Stable.State {
			return fmt.Errorf("%s", r.body)
		}
		return nil
	})
}

func TestChecklist_Operations(t *testing.T) {
	runRows(t, "rows-operations", []check{
		{41, "delete: named, missing, cluster-scoped, alias", func(t *testing.T, o *ops) {
			o.deploy(t, o.replicaSetManifest("gone", 1)+"\n---\napiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {name: rows-gone}\nvalue: 5", "").only(t)
			d := o.run(t, "deleteManifest", o.target("rs gone-v000")+"app: web\nmode: static\noptions: {cascading: true, gracePeriodSeconds: null}")
			if err := equal(o.names(d.only(t)), []string{"replicaSet gone-v000"}); err != nil {
				t.Error(err)
			}
			if o.exists(t, o.apps("replicasets", "gone-v000")) || !strings.Contains(d.raw, `"manifests":[]`) {
				t.Error("still there", d.raw)
			}
			if body := o.get(t, "/applications/"+o.namespace+"/serverGroups").body; strings.Contains(body, "gone-v000") {
				t.Error("still in the list", body)
			}
			again := o.run(t, "deleteManifest", o.target("replicaSet gone-v000")).only(t)
			if names, there := again.ManifestNamesByNamespace[o.namespace]; !there || len(names) != 0 {
				t.Errorf("%v", again.ManifestNamesByNamespace)
			}
			scoped := o.run(t, "deleteManifest", o.target("priorityClass.scheduling.k8s.io rows-gone")).only(t)
			if err := equal(o.names(scoped), []string{"PriorityClass rows-gone"}); err != nil {
				t.Error(err) // the key is the location of the request
			}
		}},
		{42, "delete: options", func(t *testing.T, o *ops) {
			for i, c := range []struct {
				options string
				orphan  bool
			}{
				{"{orphanDependants: true}", true}, {"{orphanDependents: 'true', cascading: true}", true}, {"{cascading: false}", true}, {"{cascading: orphan}", true},
				{"{orphanDependents: false, cascading: false}", false}, {"{cascading: 'true', gracePeriodSeconds: 0}", false}, {"{cascading: background, gracePeriodSeconds: '1'}", false},
				{"{cascading: foreground}", false}, {"{cascading: null}", false}, {"{gracePeriodSeconds: x}", false},
			} {
				name := fmt.Sprintf("options-%d", i)
				o.deploy(t, o.replicaSetManifest(name, 1), "").only(t)
				pods := func() int {
					var list struct{ Items []object }
					_ = json.Unmarshal(call(t, o.c, http.MethodGet, "/api/v1/namespaces/"+o.namespace+"/pods?labelSelector=set%3D"+name, "", ""), &list)
					return len(list.Items)
				}
				eventually(t, 20*time.Second, func() error {
					if pods() != 1 {
						return fmt.Errorf("%d pods", pods())
					}
					return nil
				})
				o.run(t, "deleteManifest", o.target("replicaSet "+name+"-v000")+"options: "+c.options).only(t)
				if c.orphan {
					if pods() != 1 {
						t.Errorf("%s: the pod went with it", c.options)
					}
					continue
				}
				eventually(t, 20*time.Second, func() error {
					if pods() != 0 {
						return fmt.Errorf("%s: the pod stays", c.options)
					}
					return nil
				})
			}
			o.deploy(t, o.replicaSetManifest("options-bad", 0), "").only(t)
			o.run(t, "deleteManifest", o.target("replicaSet options-bad-v000")+"options: {cascading: bogus}").failed(t, "invalid cascade value (bogus)")
			if !o.exists(t, o.apps("replicasets", "options-bad-v000")) {
				t.Error("deleted all the same")
			}
		}},
		{43, "delete: by label", func(t *testing.T, o *ops) {
			for _, name := range []string{"l1", "l2"} {
				apply(t, o.c, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: %s, labels: {sweep: this}}", name, o.namespace))
			}
			apply(t, o.c, fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: l3, namespace: %s, labels: {sweep: this}}\nspec: {ports: [{port: 80}]}", o.namespace))
			fields := "mode: label\nlocation: " + o.namespace + "\nkinds: [configMap, svc]\nlabelSelectors: {selectors: [{kind: EQUALS, key: sweep, values: [this]}]}"
			r := o.run(t, "deleteManifest", fields).only(t)
			if err := equal(o.names(r), []string{"configMap l1", "configMap l2", "service l3"}); err != nil {
				t.Error(err)
			}
			if none := o.run(t, "deleteManifest", fields).only(t); len(o.names(none)) != 0 {
				t.Errorf("%v", none)
			}
			for _, bad := range []string{"kinds: [configMap]\nlocation: x", "kinds: [configMap]\nlabelSelectors: {selectors: [{kind: ANY}]}", "labelSelectors: {selectors: [{kind: EXISTS, key: a}]}", "kinds: [configMap]\nlabelSelectors: oops"} {
				if r := o.send(t, http.MethodPost, "/kubernetes/ops", o.body(t, "deleteManifest", bad)); r.status != http.StatusBadRequest {
					t.Error(bad, r.status, r.body)
				}
			}
		}},
		{44, "delete: finalizer", func(t *testing.T, o *ops) {
			apply(t, o.c, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: stuck, namespace: %s, finalizers: [rows.example.com/stuck]}", o.namespace))
			id := o.submit(t, o.body(t, "deleteManifest", o.target("configMap stuck")), "")
			eventually(t, 10*time.Second, func() error {
				if o.live(t, o.core("configmaps", "stuck")).at("metadata", "deletionTimestamp") == nil {
					return fmt.Errorf("not being deleted")
				}
				return nil
			})
			if r := o.get(t, "/task/"+id); !strings.Contains(r.body, `"completed":false`) {
				t.Error("the task does not wait", r.body)
			}
			call(t, o.c, http.MethodPatch, o.core("configmaps", "stuck"), mergePatch, `{"metadata":{"finalizers":null}}`)
			if err := equal(o.names(o.await(t, id).only(t)), []string{"configMap stuck"}); err != nil {
				t.Error(err)
			}
		}},
		{45, "scale", func(t *testing.T, o *ops) {
			m := o.deployment("scaled", "x")
			o.deploy(t, m+"\n---\n"+o.replicaSetManifest("scaled", 1), "").only(t)
			before := o.live(t, o.apps("deployments", "scaled")).annotation(lastAppliedKey)
			for _, c := range []struct {
				target, replicas string
				want             float64
			}{{"deployment scaled", "3", 3}, {"deployment scaled", "'4'", 4}, {"deployment scaled", "4", 4}, {"replicaSet scaled-v000", "2", 2}, {"replicaSet scaled-v000", "0", 0}} {
				d := o.run(t, "scaleManifest", o.target(c.target)+"replicas: "+c.replicas)
				kind, name, _ := strings.Cut(c.target, " ")
				if d.Status.Failed || len(d.ResultObjects) != 0 || o.live(t, o.apps(strings.ToLower(kind)+"s", name)).at("spec", "replicas") != c.want {
					t.Errorf("%+v: %s", c, d.raw)
				}
			}
			if o.live(t, o.apps("deployments", "scaled")).annotation(lastAppliedKey) != before {
				t.Error("last applied has changed")
			}
			for _, bad := range []string{"", "replicas: ''", "replicas: null", "replicas: -1", "replicas: many", "replicas: 1.5", "replicas: [1]"} {
				if r := o.send(t, http.MethodPost, "/kubernetes/ops", o.body(t, "scaleManifest", o.target("deployment scaled")+bad)); r.status != http.StatusBadRequest || !strings.Contains(r.body, "replicas") && !strings.Contains(r.body, "number") {
					t.Error(bad, r.status, r.body)
				}
			}
			o.run(t, "scaleManifest", o.target("daemonSet x")+"replicas: 1").failed(t, "daemonSet", "does not support scale")
			o.run(t, "scaleManifest", o.target("deployment nobody")+"replicas: 1").failed(t, "deployment nobody", o.namespace, "not found")
			o.deploy(t, m, "").only(t)
			if got := o.live(t, o.apps("deployments", "scaled")).at("spec", "replicas"); got != 2.0 {
				t.Errorf("a deploy sets its own count again: %v", got)
			}
		}},
		{46, "resize", func(t *testing.T, o *ops) {
			o.deploy(t, o.replicaSetManifest("resized", 0), "").only(t)
			d := o.run(t, "resizeServerGroup", "serverGroupName: replicaSet resized-v000\nregion: "+o.namespace+"\ncapacity: {min: 3, max: 3, desired: 3}")
			if d.Status.Failed || o.live(t, o.apps("replicasets", "resized-v000")).at("spec", "replicas") != 3.0 {
				t.Error(d.raw)
			}
			for _, bad := range []string{"", "capacity: {min: 3}", "capacity: null"} {
				if r := o.send(t, http.MethodPost, "/kubernetes/ops", o.body(t, "resizeServerGroup", "serverGroupName: replicaSet resized-v000\nregion: "+o.namespace+"\n"+bad)); r.status != http.StatusBadRequest || !strings.Contains(r.body, "capacity") {
					t.Error(bad, r.status, r.body)
				}
			}
		}},
		{47, "undo: deployment", func(t *testing.T, o *ops) {
			image := func() string {
				containers, _ := o.live(t, o.apps("deployments", "undone")).at("spec", "template", "spec", "containers").([]any)
				return fmt.Sprint(containers[0].(map[string]any)["image"])
			}
			for _, v := range []string{"v:1", "v:2", "v:3"} {
				o.deploy(t, o.deployment("undone", v), "").only(t)
				o.settled(t, "deployment undone")
			}
			last := o.live(t, o.apps("deployments", "undone")).annotation(lastAppliedKey)
			undo := func(fields string) done { return o.run(t, "undoRolloutManifest", o.target("deployment undone")+fields) }
			for _, c := range []struct{ fields, want string }{
				{"numRevisionsBack: 0", "v:3"}, {"numRevisionsBack: '1'", "v:2"}, {"revision: 1", "v:1"}, {"revision: '0'", "v:2"}, {"numRevisionsBack: 2, revision: 1", ""},
			} {
				if c.want == "" {
					continue
				}
				d := undo(c.fields)
				o.settled(t, "deployment undone")
				if d.Status.Failed || len(d.ResultObjects) != 0 || image() != c.want {
					t.Errorf("%s: %s, want %s: %s", c.fields, image(), c.want, d.raw)
				}
			}
			if o.live(t, o.apps("deployments", "undone")).annotation(lastAppliedKey) != last {
				t.Error("last applied has changed")
			}
			undo("numRevisionsBack: 9").failed(t, "9", "3")
			undo("revision: 99").failed(t, "99")
			o.run(t, "pauseRolloutManifest", o.target("deployment undone"))
			undo("numRevisionsBack: 1").failed(t, "paused")
			o.run(t, "resumeRolloutManifest", o.target("deployment undone"))
			o.deploy(t, o.deployment("undone", "v:3"), "").only(t)
			if image() != "v:3" {
				t.Errorf("the next deploy does not go forward: %s", image())
			}
			if r := o.send(t, http.MethodPost, "/kubernetes/ops", o.body(t, "undoRolloutManifest", o.target("deployment undone"))); r.status != http.StatusBadRequest || !strings.Contains(r.body, `undoRolloutKubernetesManifest.undoRolloutKubernetesManifest.numRevisionsBack \u0026 revision.empty`) {
				t.Error(r.status, r.body)
			}
			o.run(t, "undoRolloutManifest", o.target("replicaSet x")+"revision: 1").failed(t, "does not support")
		}},
		{47, "undo: stateful set and daemon set", func(t *testing.T, o *ops) {
			for _, kind := range []string{"StatefulSet", "DaemonSet"} {
				m := func(image string) string {
					more := ""
					if kind == "StatefulSet" {
						more = "serviceName: x, replicas: 1, "
					}
					return fmt.Sprintf("apiVersion: apps/v1\nkind: %s\nmetadata: {name: back, namespace: %s}\nspec: {%sselector: {matchLabels: {b: %s}}, template: {metadata: {labels: {b: %s}}, spec: {containers: [{name: a, image: %s}]}}}", kind, o.namespace, more, kind, kind, image)
				}
				path := o.apps(strings.ToLower(kind)+"s", "back")
				full := strings.ToLower(kind[:1]) + kind[1:] + " back"
				for _, v := range []string{"v:1", "v:2"} {
					o.deploy(t, m(v), "").only(t)
					eventually(t, time.Minute, func() error {
						live := o.live(t, path)
						if live.at("status", "observedGeneration") != live.at("metadata", "generation") {
							return fmt.Errorf("not observed")
						}
						return nil
					})
				}
				d := o.run(t, "undoRolloutManifest", o.target(full)+"numRevisionsBack: 1")
				if d.Status.Failed || !strings.Contains(fmt.Sprint(o.live(t, path).at("spec", "template")), "v:1") {
					t.Errorf("%s: %s", kind, d.raw)
				}
			}
		}},
		{49, "restart", func(t *testing.T, o *ops) {
			o.deploy(t, o.deployment("restarted", "x"), "").only(t)
			at := func() string {
				return o.live(t, o.apps("deployments", "restarted")).text("spec", "template", "metadata", "annotations", "kubectl.kubernetes.io/restartedAt")
			}
			for range 2 {
				if d := o.run(t, "rollingRestartManifest", o.target("deployment restarted")); d.Status.Failed || len(d.ResultObjects) != 0 {
					t.Error(d.raw)
				}
			}
			if _, err := time.Parse(time.RFC3339, at()); err != nil {
				t.Error(err)
			}
			o.run(t, "pauseRolloutManifest", o.target("deployment restarted"))
			o.run(t, "rollingRestartManifest", o.target("deployment restarted")).failed(t, "paused")
			o.run(t, "rollingRestartManifest", o.target("job x")).failed(t, "does not support")
		}},
		{50, "pause and resume", func(t *testing.T, o *ops) {
			o.deploy(t, o.deployment("paused", "x"), "").only(t)
			for _, c := range []struct {
				operation string
				want      any
			}{{"pauseRolloutManifest", true}, {"pauseRolloutManifest", true}, {"resumeRolloutManifest", nil}, {"resumeRolloutManifest", nil}} {
				d := o.run(t, c.operation, o.target("deployment paused"))
				if d.Status.Failed || o.live(t, o.apps("deployments", "paused")).at("spec", "paused") != c.want {
					t.Errorf("%+v: %s", c, d.raw)
				}
			}
			o.run(t, "pauseRolloutManifest", o.target("statefulSet x")).failed(t, "does not support")
			o.run(t, "pauseRolloutManifest", o.target("deployment nobody")).failed(t, "not found")
		}},
		{38, "traffic at deploy", func(t *testing.T, o *ops) {
			o.deploy(t, o.serviceManifest("live", "{lb: live}")+"\n---\n"+o.serviceManifest("bare", "{}"), "").only(t)
			labels := func(r result) map[string]any {
				m, _ := r.Manifests[len(r.Manifests)-1].at("spec", "template", "metadata", "labels").(map[string]any)
				return m
			}
			r := o.deploy(t, o.replicaSetManifest("traffic", 0), "services: [service live]\nenableTraffic: true").only(t)
			if labels(r)["lb"] != "live" || r.Manifests[0].annotation("traffic.spinnaker.io/load-balancers") != `["service live"]` {
				t.Errorf("%v", r.Manifests)
			}
			r = o.deploy(t, o.replicaSetManifest("traffic", 0), "services: [service live]\nenableTraffic: false").only(t)
			if labels(r)["lb"] != nil || r.Manifests[0].annotation("traffic.spinnaker.io/load-balancers") != `["service live"]` {
				t.Errorf("%v", r.Manifests)
			}
			r = o.deploy(t, o.serviceManifest("fresh", "{lb: fresh}")+"\n---\n"+o.replicaSetManifest("traffic", 0), "services: [service fresh]").only(t)
			if labels(r)["lb"] != "fresh" {
				t.Errorf("%v", r.Manifests)
			}
			annotated := strings.Replace(o.replicaSetManifest("traffic", 0), "metadata: {name", `metadata: {annotations: {traffic.spinnaker.io/load-balancers: '["service live"]'}, name`, 1)
			o.deploy(t, annotated, "services: [service live]").only(t)
			o.deploy(t, annotated, "services: [service live, service fresh]").failed(t, "service live", "service fresh")
			o.deploy(t, o.replicaSetManifest("traffic", 0), "services: [service nobody]").failed(t, "nobody", "not found")
			o.deploy(t, o.replicaSetManifest("traffic", 0), "services: [service bare]").failed(t, "bare", "no selector")
			o.deploy(t, o.replicaSetManifest("traffic", 0), "services: [service shared]\n").failed(t, "shared")
			o.deploy(t, o.serviceManifest("shared", "{set: traffic}")+"\n---\n"+o.replicaSetManifest("traffic", 0), "services: [service shared]").failed(t, "set")
			o.deploy(t, o.replicaSetManifest("traffic", 0), "services: [ingress live]").failed(t, "ingress")
			o.deploy(t, o.configMap("traffic", "{a: b}"), "services: [service nobody]").only(t)
		}},
		{51, "enable and disable", func(t *testing.T, o *ops) {
			o.deploy(t, o.serviceManifest("front", "{lb: front, example.com/side: left}"), "").only(t)
			o.deploy(t, o.replicaSetManifest("toggled", 2), "services: [service front]").only(t)
			apply(t, o.c, fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: foreign, namespace: %s, labels: {lb: front}}\nspec: {containers: [{name: a, image: x}]}", o.namespace))
			pods := func() []string {
				var list struct{ Items []object }
				_ = json.Unmarshal(call(t, o.c, http.MethodGet, "/api/v1/namespaces/"+o.namespace+"/pods?labelSelector=set%3Dtoggled", "", ""), &list)
				var out []string
				for _, p := range list.Items {
					out = append(out, p.text("metadata", "labels", "lb")+"/"+p.text("metadata", "labels", "example.com/side"))
				}
				return out
			}
			eventually(t, 20*time.Second, func() error {
				if len(pods()) != 2 {
					return fmt.Errorf("%v", pods())
				}
				return nil
			})
			for _, c := range []struct{ operation, fields, want string }{
				{"disableManifest", "", "[/ /]"}, {"disableManifest", "", "[/ /]"}, {"enableManifest", "loadBalancers: [service front]", "[front/left front/left]"},
				{"enableManifest", "targetPercentage: 100", "[front/left front/left]"}, {"disableManifest", "loadBalancers: []", "[/ /]"},
			} {
				d := o.run(t, c.operation, o.target("replicaSet toggled-v000")+c.fields)
				if d.Status.Failed || len(d.ResultObjects) != 0 || fmt.Sprint(pods()) != c.want {
					t.Errorf("%+v: %v: %s", c, pods(), d.raw)
				}
				template := fmt.Sprint(o.live(t, o.apps("replicasets", "toggled-v000")).at("spec", "template", "metadata", "labels", "lb"))
				if (template == "front") != (c.operation == "enableManifest") {
					t.Errorf("%+v: template %s", c, template)
				}
			}
			if o.live(t, o.core("pods", "foreign")).text("metadata", "labels", "lb") != "front" {
				t.Error("a foreign pod was disabled")
			}
			apply(t, o.c, fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: unlabelled, namespace: %s}\nspec: {containers: [{name: a, image: x}]}", o.namespace))
			if d := o.run(t, "enableManifest", o.target("pod unlabelled")+"loadBalancers: [service front]"); d.Status.Failed || o.live(t, o.core("pods", "unlabelled")).text("metadata", "labels", "lb") != "front" {
				t.Error(d.raw)
			}
			o.deploy(t, o.replicaSetManifest("without", 0), "").only(t)
			if d := o.run(t, "disableManifest", o.target("replicaSet without-v000")); d.Status.Failed {
				t.Error(d.raw)
			}
			o.run(t, "enableManifest", o.target("replicaSet nobody")).failed(t, "not found")
			o.run(t, "enableManifest", o.target("replicaSet without-v000")+"loadBalancers: [service nobody]").failed(t, "nobody", "not found")
			o.run(t, "enableManifest", o.target("replicaSet without-v000")+"loadBalancers: [deployment x]").failed(t, "no load balancing")
			o.run(t, "enableManifest", o.target("replicaSet without-v000")+"loadBalancers: [oneword]").failed(t, "oneword")
		}},
		{40, "red/black as Orca does it", func(t *testing.T, o *ops) {
			o.deploy(t, o.serviceManifest("rb", "{lb: rb}"), "").only(t)
			for _, want := range []string{"rb-v000", "rb-v001"} {
				r := o.deploy(t, o.replicaSetManifest("rb", 1), "services: [service rb]\nstrategy: RED_BLACK").only(t)
				if r.Manifests[0].text("kind") != "ReplicaSet" || r.Manifests[0].text("metadata", "name") != want {
					t.Errorf("%v", r.Manifests)
				}
				o.settled(t, "replicaSet "+want)
			}
			if d := o.run(t, "disableManifest", o.target("replicaSet rb-v000")+"app: web"); d.Status.Failed {
				t.Error(d.raw)
			}
			if !strings.Contains(o.get(t, "/manifests/"+o.c.Name+"/"+o.namespace+"/replicaSet%20rb-v000").body, `"readyReplicas":1.0`) {
				t.Error("readyReplicas has no fraction")
			}
			var groups []struct {
				Name     string
				Disabled bool
			}
			o.get(t, "/applications/"+o.namespace+"/serverGroups").into(t, &groups)
			for _, g := range groups {
				if strings.HasPrefix(g.Name, "replicaSet rb-") && g.Disabled != (g.Name == "replicaSet rb-v000") {
					t.Errorf("%+v", g)
				}
			}
			o.run(t, "deleteManifest", o.target("replicaSet rb-v000")).only(t)
		}},
		{52, "patch", func(t *testing.T, o *ops) {
			o.deploy(t, o.deployment("patched", "registry/web:1"), "").only(t)
			path := o.apps("deployments", "patched")
			patch := func(fields string) done { return o.run(t, "patchManifest", o.target("deployment patched")+fields) }
			r := patch("options: {mergeStrategy: strategic, record: true}\npatchBody: {spec: {template: {spec: {containers: [{name: side, image: s}]}}}}").only(t)
			if err := equal(o.names(r), []string{"deployment patched"}); err != nil {
				t.Error(err)
			}
			live := o.live(t, path)
			if containers, _ := live.at("spec", "template", "spec", "containers").([]any); len(containers) != 2 || !strings.Contains(live.annotation("kubernetes.io/change-cause"), "patchManifest deployment patched by anonymous") {
				t.Errorf("%v", live)
			}
			patch("options: {mergeStrategy: merge}\npatchBody: {metadata: {annotations: {a: b}}}").only(t)
			for body, want := range map[string]string{
				`[{op: add, path: /metadata/annotations/j1, value: one}]`: "one", `[{op: test, path: /metadata/annotations/a, value: b}, {op: copy, from: /metadata/annotations/a, path: /metadata/annotations/j1}]`: "b",
				`[{op: add, path: /metadata/annotations/j1, value: two}, {op: replace, path: /metadata/annotations/j1, value: three}]`: "three",
			} {
				patch("options: {mergeStrategy: json}\npatchBody: " + body).only(t)
				if got := o.live(t, path).annotation("j1"); got != want {
					t.Errorf("%s: %s", body, got)
				}
			}
			patch("options: {mergeStrategy: json, record: true}\npatchBody: [{op: remove, path: /metadata/annotations/j1}]").only(t)
			patch("options: {mergeStrategy: json}\npatchBody: [{op: test, path: /metadata/annotations/a, value: c}]").failed(t, "deployment patched")
			o.run(t, "patchManifest", o.target("deployment nobody")+"options: {mergeStrategy: merge}\npatchBody: {}").failed(t, "not found")
			for bad, field := range map[string]string{
				"options: {mergeStrategy: merge}": "patchBody.empty", "patchBody: {}": "options.mergeStrategy.empty", "options: {mergeStrategy: other}\npatchBody: {}": "mergeStrategy",
				"options: {mergeStrategy: json}\npatchBody: {}": "patchBody", "options: {mergeStrategy: merge}\npatchBody: []": "patchBody", "options: null\npatchBody: {}": "options.mergeStrategy.empty",
			} {
				if r := o.send(t, http.MethodPost, "/kubernetes/ops", o.body(t, "patchManifest", o.target("deployment patched")+bad)); r.status != http.StatusBadRequest || !strings.Contains(r.body, field) {
					t.Error(bad, r.status, r.body)
				}
			}
		}},
		{53, "patch: binding", func(t *testing.T, o *ops) {
			o.deploy(t, o.deployment("bound", "registry/web:1"), "").only(t)
			fields := o.target("deployment bound") + "options: {mergeStrategy: strategic}\npatchBody: {spec: {template: {spec: {containers: [{name: main, image: registry/web}]}}}}\n"
			r := o.run(t, "patchManifest", fields+"allArtifacts: [{type: docker/image, name: registry/web, reference: 'registry/web:7'}]").only(t)
			if len(r.BoundArtifacts) != 1 || !strings.Contains(fmt.Sprint(r.Manifests), "registry/web:7") {
				t.Errorf("%v", r)
			}
			o.run(t, "patchManifest", fields+"requiredArtifacts: [{type: docker/image, name: registry/other, reference: x}]").failed(t, "registry/other")
		}},
		{54, "run job", func(t *testing.T, o *ops) {
			job := "manifest: {apiVersion: batch/v1, kind: Job, metadata: {%s}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: registry/job}]}}}}\napplication: jobs\nnamespace: " + o.namespace
			uids := map[any]bool{}
			for range 2 {
				r := o.run(t, "runJob", fmt.Sprintf(job, "name: named")).only(t)
				if err := equal(r.DeployedNamesByLocation, map[string][]string{o.namespace: {"job named"}}); err != nil {
					t.Error(err)
				}
				uids[r.Manifests[0].at("metadata", "uid")] = true
			}
			if len(uids) != 2 {
				t.Error("the job was not run again")
			}
			names := map[string]bool{}
			for range 2 {
				r := o.run(t, "runJob", fmt.Sprintf(job, "generateName: many-")+"\nrequiredArtifacts: [{type: docker/image, name: registry/job, reference: 'registry/job:3'}]").only(t)
				got := r.DeployedNamesByLocation[o.namespace]
				if len(r.DeployedNamesByLocation) != 1 || len(got) != 1 || !strings.HasPrefix(got[0], "job many-") || len(r.BoundArtifacts) != 1 {
					t.Errorf("%v", r)
				}
				names[got[0]] = true
			}
			if len(names) != 2 {
				t.Errorf("%v", names)
			}
			o.run(t, "runJob", "application: a\nmanifest: {apiVersion: v1, kind: Pod, metadata: {name: x, namespace: "+o.namespace+"}}").failed(t, "only a Job")
		}},
		{55, "cleanup of artifacts", func(t *testing.T, o *ops) {
			m := func(keep, data string) string {
				return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept, namespace: %s, annotations: {strategy.spinnaker.io/max-version-history: '%s'}}\ndata: {k: %s}", o.namespace, keep, data)
			}
			versions := func() string {
				var list struct{ Items []object }
				_ = json.Unmarshal(call(t, o.c, http.MethodGet, "/api/v1/namespaces/"+o.namespace+"/configmaps", "", ""), &list)
				var out []string
				for _, i := range list.Items {
					if n := i.text("metadata", "name"); strings.HasPrefix(n, "kept-") {
						out = append(out, n)
					}
				}
				slices.Sort(out)
				return fmt.Sprint(out)
			}
			var d done
			for i := range 5 {
				d = o.deploy(t, m("2", fmt.Sprintf("v%d", i)), "")
				d.only(t)
			}
			clean := func(d done) done {
				t.Helper()
				var first struct{ Manifests json.RawMessage }
				if err := json.Unmarshal(d.ResultObjects[0], &first); err != nil {
					t.Fatal(err)
				}
				return o.run(t, "cleanupArtifacts", "manifests: "+strings.Replace(string(first.Manifests), "[", "[null, ", 1))
			}
			cleaned := clean(d)
			if err := equal(o.names(cleaned.only(t)), []string{"configMap kept-v000", "configMap kept-v001", "configMap kept-v002"}); err != nil {
				t.Error(err)
			}
			if versions() != "[kept-v003 kept-v004]" || strings.Contains(cleaned.raw, `"manifests"`) {
				t.Error(versions(), cleaned.raw)
			}
			// A version that was reused is not removed for being the oldest.
			for _, data := range []string{"v5", "v3"} {
				d = o.deploy(t, m("2", data), "")
			}
			clean(d).only(t)
			if !strings.Contains(versions(), "kept-v003") {
				t.Error(versions())
			}
			for _, keep := range []string{"0", "x", "-1"} {
				before := versions()
				d := o.deploy(t, m(keep, "other"+keep), "")
				clean(d)
				if after := versions(); len(after) <= len(before) {
					t.Errorf("%s: %s, was %s", keep, after, before)
				}
			}
			if d := o.run(t, "cleanupArtifacts", "manifests: null"); d.Status.Failed {
				t.Error(d.raw)
			}
		}},
	})
}
