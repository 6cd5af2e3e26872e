package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/datapunchorg/go-clouddriver/localkube"
)

// skeletons are valid objects of the kinds, to which the generator adds what
// the control plane's own OpenAPI lets them have.
var skeletons = []struct{ path, plural, schema, manifest string }{
	{"api/v1", "configmaps", "io.k8s.api.core.v1.ConfigMap", "{apiVersion: v1, kind: ConfigMap, data: {a: b, c: d}}"},
	{"api/v1", "secrets", "io.k8s.api.core.v1.Secret", "{apiVersion: v1, kind: Secret, data: {a: dg==}}"},
	{"api/v1", "services", "io.k8s.api.core.v1.Service", "{apiVersion: v1, kind: Service, spec: {selector: {a: b}, ports: [{name: http, port: 80}, {name: more, port: 81, protocol: UDP}]}}"},
	{"api/v1", "serviceaccounts", "io.k8s.api.core.v1.ServiceAccount", "{apiVersion: v1, kind: ServiceAccount, imagePullSecrets: [{name: a}]}"},
	{"api/v1", "limitranges", "io.k8s.api.core.v1.LimitRange", "{apiVersion: v1, kind: LimitRange, spec: {limits: [{type: PersistentVolumeClaim, max: {storage: 1Gi}}]}}"},
	{"api/v1", "podtemplates", "io.k8s.api.core.v1.PodTemplate", "{apiVersion: v1, kind: PodTemplate, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: x, env: [{name: A, value: b}]}]}}}"},
	{"apis/apps/v1", "deployments", "io.k8s.api.apps.v1.Deployment", "{apiVersion: apps/v1, kind: Deployment, spec: {replicas: 0, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: x, args: [x, y], env: [{name: A, value: b}], ports: [{containerPort: 80}]}, {name: b, image: y}], volumes: [{name: v, emptyDir: {}}]}}}}"},
	{"apis/apps/v1", "statefulsets", "io.k8s.api.apps.v1.StatefulSet", "{apiVersion: apps/v1, kind: StatefulSet, spec: {replicas: 0, serviceName: x, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: x}], tolerations: [{key: a, operator: Exists}]}}}}"},
	{"apis/apps/v1", "daemonsets", "io.k8s.api.apps.v1.DaemonSet", "{apiVersion: apps/v1, kind: DaemonSet, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {nodeSelector: {no: where}, containers: [{name: a, image: x, env: [{name: A, value: b}]}]}}}}"},
	{"apis/batch/v1", "cronjobs", "io.k8s.api.batch.v1.CronJob", "{apiVersion: batch/v1, kind: CronJob, spec: {schedule: '0 0 1 1 *', suspend: true, jobTemplate: {metadata: {labels: {a: b}}, spec: {template: {metadata: {labels: {a: b}}, spec: {restartPolicy: Never, containers: [{name: a, image: x}]}}}}}}"},
	{"apis/networking.k8s.io/v1", "ingresses", "io.k8s.api.networking.v1.Ingress", "{apiVersion: networking.k8s.io/v1, kind: Ingress, spec: {rules: [{host: a.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: x, port: {number: 80}}}}]}}]}}"},
	{"apis/networking.k8s.io/v1", "networkpolicies", "io.k8s.api.networking.v1.NetworkPolicy", "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, spec: {podSelector: {matchLabels: {a: b}}, ingress: [{ports: [{port: 80}]}]}}"},
	{"apis/policy/v1", "poddisruptionbudgets", "io.k8s.api.policy.v1.PodDisruptionBudget", "{apiVersion: policy/v1, kind: PodDisruptionBudget, spec: {minAvailable: 1, selector: {matchLabels: {a: b}}}}"},
	{"apis/autoscaling/v2", "horizontalpodautoscalers", "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler", "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, spec: {maxReplicas: 2, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: x}, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]}}"},
	{"apis/rbac.authorization.k8s.io/v1", "roles", "io.k8s.api.rbac.v1.Role", "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, rules: [{apiGroups: [''], resources: [pods], verbs: [get, list]}]}"},
	{"apis/coordination.k8s.io/v1", "leases", "io.k8s.api.coordination.v1.Lease", "{apiVersion: coordination.k8s.io/v1, kind: Lease, spec: {holderIdentity: a, leaseDurationSeconds: 5}}"},
}

// generator makes manifests by the schemas of a control plane.
type generator struct {
	*rand.Rand
	schemas map[string]map[string]any
}

func newGenerator(t *testing.T, c *localkube.Cluster, seed uint64) *generator {
	t.Helper()
	g := &generator{rand.New(rand.NewPCG(seed, 0)), map[string]map[string]any{}}
	read := map[string]bool{}
	for _, s := range skeletons {
		if read[s.path] {
			continue
		}
		read[s.path] = true
		var doc struct {
			Components struct{ Schemas map[string]map[string]any }
		}
		if err := json.Unmarshal(call(t, c, http.MethodGet, "/openapi/v3/"+s.path, "", ""), &doc); err != nil {
			t.Fatal(err)
		}
		maps.Copy(g.schemas, doc.Components.Schemas)
	}
	return g
}

// resolved follows references.
func (g *generator) resolved(schema map[string]any) (map[string]any, string) {
	name := ""
	for {
		ref, _ := schema["$ref"].(string)
		if all, ok := schema["allOf"].([]any); ok && ref == "" && len(all) > 0 {
			ref, _ = all[0].(map[string]any)["$ref"].(string)
		}
		if ref == "" {
			return schema, name
		}
		name = strings.TrimPrefix(ref, "#/components/schemas/")
		schema = g.schemas[name]
	}
}

func (g *generator) value(schema map[string]any, depth int) any {
	schema, name := g.resolved(schema)
	switch {
	case strings.HasSuffix(name, ".Quantity"):
		return pick(g, "1Gi", "100m", "2")
	case strings.HasSuffix(name, ".IntOrString"):
		return pick[any](g, int64(80), "25%", int64(1))
	case strings.HasSuffix(name, "Time"):
		return "2026-01-01T00:00:00Z"
	}
	if enum, ok := schema["enum"].([]any); ok {
		return enum[g.IntN(len(enum))]
	}
	switch schema["type"] {
	case "string":
		if schema["format"] == "byte" {
			return pick(g, "dg==", "dw==")
		}
		return pick(g, "a", "b", "x-1")
	case "integer", "number":
		return int64(g.IntN(4))
	case "boolean":
		return g.IntN(2) == 0
	case "array":
		items, _ := schema["items"].(map[string]any)
		out := []any{}
		for range 1 + g.IntN(2) {
			out = append(out, g.value(items, depth-1))
		}
		return out
	}
	out := map[string]any{}
	if more, ok := schema["additionalProperties"].(map[string]any); ok {
		out[pick(g, "a", "k", "m")] = g.value(more, depth-1)
		return out
	}
	properties, _ := schema["properties"].(map[string]any)
	required, _ := schema["required"].([]any)
	for _, key := range required {
		out[key.(string)] = g.value(properties[key.(string)].(map[string]any), depth-1)
	}
	if depth > 0 && len(properties) > 0 {
		keys := slices.Sorted(maps.Keys(properties))
		key := keys[g.IntN(len(keys))]
		out[key] = g.value(properties[key].(map[string]any), depth-1)
	}
	return out
}

func pick[T any](g *generator, from ...T) T { return from[g.IntN(len(from))] }

// mutate changes something somewhere in an object: it adds a member that the
// schema has, removes one, sets one to null, changes its type, or adds to a list
// or takes from it.
func (g *generator) mutate(object map[string]any, schema map[string]any) {
	schema, _ = g.resolved(schema)
	properties, _ := schema["properties"].(map[string]any)
	keys := slices.DeleteFunc(slices.Sorted(maps.Keys(object)), func(k string) bool { return k == "apiVersion" || k == "kind" || k == "metadata" })
	if len(keys) > 0 && g.IntN(3) > 0 { // go down
		key := keys[g.IntN(len(keys))]
		sub, _ := properties[key].(map[string]any)
		if more, ok := schema["additionalProperties"].(map[string]any); ok && sub == nil {
			sub = more
		}
		if sub != nil && g.descend(object, key, sub) {
			return
		}
	}
	switch g.IntN(9) {
	case 0, 1, 2, 3, 4:
		if len(properties) > 0 {
			all := slices.DeleteFunc(slices.Sorted(maps.Keys(properties)), func(k string) bool {
				return k == "apiVersion" || k == "kind" || k == "metadata" || k == "status"
			})
			key := all[g.IntN(len(all))]
			object[key] = g.value(properties[key].(map[string]any), 1)
			return
		}
		object[pick(g, "a", "n", "z")] = pick(g, "changed", "b")
	case 5, 6:
		if len(keys) > 0 {
			delete(object, keys[g.IntN(len(keys))])
		}
	case 7:
		if len(keys) > 0 {
			object[keys[g.IntN(len(keys))]] = nil
		}
	default:
		if len(keys) > 0 {
			object[keys[g.IntN(len(keys))]] = pick[any](g, "text", int64(7), true, []any{"x"}, map[string]any{"k": "v"})
		}
	}
}

// descend goes into a member, if there is something in it.
func (g *generator) descend(object map[string]any, key string, schema map[string]any) bool {
	schema, _ = g.resolved(schema)
	switch v := object[key].(type) {
	case map[string]any:
		g.mutate(v, schema)
		return true
	case []any:
		items, _ := schema["items"].(map[string]any)
		if items == nil || len(v) == 0 {
			return false
		}
		at := g.IntN(len(v))
		if one, ok := v[at].(map[string]any); ok && g.IntN(2) == 0 {
			g.mutate(one, items)
			return true
		}
		if g.IntN(2) == 0 {
			object[key] = append(slices.Clone(v), g.value(items, 1))
		} else {
			object[key] = slices.Delete(slices.Clone(v), at, at+1)
		}
		return true
	}
	return false
}

// pair is a manifest and what became of it.
type pair struct {
	plural, path, name string
	first, second      map[string]any
}

func (g *generator) pair(i int) pair {
	s := skeletons[i%len(skeletons)]
	p := pair{plural: s.plural, path: s.path, name: fmt.Sprintf("g%d", i)}
	p.first = parsed(s.manifest)
	p.first["metadata"] = map[string]any{"name": p.name, "labels": map[string]any{"a": "b"}, "annotations": map[string]any{"c": "d"}}
	schema := g.schemas[s.schema]
	if g.IntN(2) == 0 {
		g.mutate(p.first, schema)
	}
	p.second = parsed(string(marshalled(p.first)))
	for range 1 + g.IntN(2) {
		g.mutate(p.second, schema)
	}
	metadata := p.second["metadata"].(map[string]any)
	switch g.IntN(4) {
	case 0:
		delete(metadata, "labels")
	case 1:
		metadata["annotations"] = nil
	case 2:
		metadata["labels"] = map[string]any{"a": "c", "n": "m"}
	}
	return p
}

func parsed(text string) map[string]any {
	var out map[string]any
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		panic(err) // made here
	}
	return out
}

func marshalled(v any) []byte {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err) // made of plain values
	}
	return out
}

// TestBesideKubectl_TheSameManifestsMakeTheSameObjects applies five hundred pairs
// of manifests by kubectl in one namespace and by us in another.
func TestBesideKubectl_TheSameManifestsMakeTheSameObjects(t *testing.T) {
	t.Parallel() // it keeps apart by namespace
	o := startOps(t, "ours")
	namespace(t, "theirs", o.c)
	const pairs, seed = 500, 12
	g := newGenerator(t, o.c, seed)
	var all []pair
	for i := range pairs {
		all = append(all, g.pair(i))
	}
	applied, refused, differences := 0, 0, 0
	for _, step := range []struct {
		name string
		of   func(pair) map[string]any
	}{{"first", func(p pair) map[string]any { return p.first }}, {"second", func(p pair) map[string]any { return p.second }}} {
		var failures []string
		var ours sync.WaitGroup
		ours.Go(func() { failures = deployAll(t, o, all, step.of) })
		theirs := kubectlApply(t, o.c, "theirs", all, step.of)
		ours.Wait()
		for i, p := range all {
			_, ok := theirs[p.plural+" "+p.name]
			if ok {
				applied++
			} else {
				refused++
			}
			if ok != (failures[i] == "") {
				differences++
				t.Errorf("%s of %s: kubectl takes it: %v, we say %q\n%s", step.name, p.name, ok, failures[i], marshalled(step.of(p)))
			}
		}
		for _, p := range all {
			path := "/" + p.path + "/namespaces/%s/" + p.plural + "/" + p.name
			a, b := readObject(o.c, fmt.Sprintf(path, "theirs")), readObject(o.c, fmt.Sprintf(path, "ours"))
			if !reflect.DeepEqual(a, b) {
				differences++
				t.Errorf("%s of %s:\nkubectl %s\nwe      %s", step.name, p.name, marshalled(a), marshalled(b))
			}
		}
	}
	t.Logf("seed %d: %d manifests, %d applied, %d refused by both, %d differences", seed, 2*pairs, applied, refused, differences)
	if applied < pairs {
		t.Errorf("the generator makes too few that are valid: %d of %d", applied, 2*pairs)
	}
}

// kubectlApply applies all manifests at once and returns those that it says are
// applied, as plural and name.
func kubectlApply(t *testing.T, c *localkube.Cluster, namespace string, all []pair, of func(pair) map[string]any) map[string]bool {
	t.Helper()
	dir := t.TempDir()
	for i, p := range all {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%04d.json", i)), marshalled(of(p)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(t.TempDir(), "kubeconfig")
	if err := localkube.WriteKubeconfig(config, c); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(kubectl.Path(t), "--kubeconfig", config, "--context", c.Name, "-n", namespace, "--cache-dir", t.TempDir(), "apply", "-f", dir, "-o", "name")
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	_ = cmd.Run() // it fails when it refuses one, and says of each that it was applied
	said := map[string]bool{}
	for line := range strings.Lines(out.String()) {
		kind, name, ok := strings.Cut(strings.TrimSpace(line), "/")
		if !ok {
			continue
		}
		kind, _, _ = strings.Cut(kind, ".")
		for _, s := range skeletons {
			if strings.EqualFold(parsed(s.manifest)["kind"].(string), kind) {
				said[s.plural+" "+name] = true
			}
		}
	}
	if len(said) == 0 {
		t.Fatal("kubectl applied nothing:", errOut.String())
	}
	return said
}

// deployAll deploys each manifest by a task of its own and returns why each
// failed, "" for success.
func deployAll(t *testing.T, o *ops, all []pair, of func(pair) map[string]any) []string {
	t.Helper()
	out := make([]string, len(all))
	var wg sync.WaitGroup
	slots := make(chan struct{}, 8)
	for i, p := range all {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			body := marshalled([]any{map[string]any{"deployManifest": map[string]any{
				"account": o.c.Name, "moniker": map[string]any{"app": "beside"}, "versioned": false, "namespaceOverride": o.namespace, "manifests": []any{of(p)},
			}}})
			r := o.post(t, "/kubernetes/ops", string(body))
			if r.status != http.StatusOK {
				out[i] = r.body
				return
			}
			var answer struct{ ID string }
			if err := json.Unmarshal([]byte(r.body), &answer); err != nil {
				t.Error(err)
				return
			}
			if d := o.await(t, answer.ID); d.Status.Failed {
				out[i] = d.Status.Status
			}
		})
	}
	wg.Wait()
	return out
}

// readObject reads an object without what differs from one to the next, and
// without what Spinnaker adds; nil when it is not there.
func readObject(c *localkube.Cluster, path string) any {
	body, err := c.Call(context.Background(), http.MethodGet, path, "", nil)
	if err != nil {
		return nil
	}
	var m map[string]any
	if json.Unmarshal(body, &m) != nil {
		return nil
	}
	delete(m, "status")
	metadata := m["metadata"].(map[string]any)
	for _, key := range []string{"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "namespace"} {
		delete(metadata, key)
	}
	annotations, _ := metadata["annotations"].(map[string]any)
	delete(annotations, "deployment.kubernetes.io/revision")
	delete(annotations, "deprecated.daemonset.template.generation")
	if record, ok := annotations[lastAppliedKey].(string); ok {
		var last map[string]any
		if json.Unmarshal([]byte(record), &last) == nil {
			if m, ok := last["metadata"].(map[string]any); ok {
				delete(m, "namespace")
			}
			withoutOurs(last)
			annotations[lastAppliedKey] = last
		}
	}
	withoutOurs(m)
	if spec, ok := m["spec"].(map[string]any); ok {
		for _, key := range []string{"clusterIP", "clusterIPs", "healthCheckNodePort"} {
			delete(spec, key)
		}
		ports, _ := spec["ports"].([]any)
		for _, port := range ports {
			if port, ok := port.(map[string]any); ok {
				delete(port, "nodePort")
			}
		}
	}
	return m
}

// withoutOurs takes out what Spinnaker adds, everywhere.
func withoutOurs(v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range []string{"annotations", "labels"} {
			texts, ok := v[key].(map[string]any)
			if !ok {
				if v[key] == nil {
					delete(v, key)
				}
				continue
			}
			maps.DeleteFunc(texts, func(k string, _ any) bool {
				return strings.Contains(k, "spinnaker.io/") || k == "app.kubernetes.io/name" || k == "app.kubernetes.io/managed-by"
			})
			if len(texts) == 0 {
				delete(v, key)
			}
		}
		for key, child := range v {
			withoutOurs(child)
			if m, ok := child.(map[string]any); ok && key == "metadata" && len(m) == 0 {
				delete(v, key)
			}
		}
	case []any:
		for _, child := range v {
			withoutOurs(child)
		}
	}
}
