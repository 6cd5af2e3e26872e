package integration

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/localkube"
	"github.com/datapunchorg/go-clouddriver/pkg/task"

	"sigs.k8s.io/yaml"
)

// ops are operations on one namespace of one control plane.
type ops struct {
	*service
	c         *localkube.Cluster
	namespace string
}

// startOps serves a control plane with a namespace for the test.
func startOps(t testing.TB, name string) *ops {
	t.Helper()
	c := pool.Shared(t, 1)[0]
	namespace(t, name, c)
	return &ops{service: start(t, settings(), c).ready(t), c: c, namespace: name}
}

// result is the result object of an operation.
type result struct {
	ManifestNamesByNamespace map[string][]string
	Manifests                []object
	CreatedArtifacts         []map[string]any
	BoundArtifacts           []map[string]any
	DeployedNamesByLocation  map[string][]string
	Type, Message            string
}

// done is a task that has ended.
type done struct {
	task.Task
	results []result
	raw     string
}

func (d done) only(t testing.TB) result {
	t.Helper()
	if d.Status.Failed || len(d.results) != 1 {
		t.Fatalf("failed %v, %d results: %s", d.Status.Failed, len(d.results), d.raw)
	}
	return d.results[0]
}

// submit posts a request and returns the id of its task.
func (o *ops) submit(t testing.TB, body, requestID string) string {
	t.Helper()
	r := o.send(t, http.MethodPost, "/kubernetes/ops?clientRequestId="+requestID, body)
	var answer struct{ ID, ResourceURI string }
	r.into(t, &answer)
	if answer.ResourceURI != "/task/"+answer.ID {
		t.Fatal(r.body)
	}
	return answer.ID
}

// await polls a task until it has ended.
func (o *ops) await(t testing.TB, id string) done {
	t.Helper()
	var d done
	eventually(t, time.Minute, func() error {
		r := o.get(t, "/task/"+id)
		d = done{raw: r.body}
		if r.status != http.StatusOK {
			return errors.New(r.body)
		}
		if err := json.Unmarshal([]byte(r.body), &d.Task); err != nil {
			t.Fatal(err)
		}
		if !d.Status.Completed {
			return errors.New(r.body)
		}
		return nil
	})
	if err := d.decode(); err != nil {
		t.Fatal(err)
	}
	return d
}

// decode reads the results.
func (d *done) decode() error {
	for _, raw := range d.ResultObjects {
		var one result
		if err := json.Unmarshal(raw, &one); err != nil {
			return fmt.Errorf("%w: %s", err, raw)
		}
		d.results = append(d.results, one)
	}
	return nil
}

// run posts one operation on the account and waits for its end. fields is
// YAML.
func (o *ops) run(t testing.TB, name, fields string) done {
	t.Helper()
	return o.await(t, o.submit(t, o.body(t, name, fields), ""))
}

func (o *ops) body(t testing.TB, name, fields string) string {
	t.Helper()
	var description map[string]any
	if err := yaml.Unmarshal([]byte(fields), &description); err != nil {
		t.Fatal(err, fields)
	}
	if description == nil {
		description = map[string]any{}
	}
	if _, said := description["account"]; !said {
		description["account"] = cmp.Or(o.account, o.c.Name)
	}
	body, err := json.Marshal([]any{map[string]any{name: description}})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// deploy deploys manifests, YAML documents, with further fields.
func (o *ops) deploy(t testing.TB, manifests, fields string) done {
	t.Helper()
	return o.run(t, "deployManifest", o.deployFields(t, manifests, fields))
}

func (o *ops) deployFields(t testing.TB, manifests, fields string) string {
	t.Helper()
	list := []any{}
	for _, document := range strings.Split(manifests, "\n---\n") {
		var m any
		if err := yaml.Unmarshal([]byte(document), &m); err != nil {
			t.Fatal(err, document)
		}
		list = append(list, m)
	}
	raw, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(fields, "moniker:") {
		fields += "\nmoniker: {app: " + o.namespace + "}"
	}
	return fields + "\nmanifests: " + string(raw) + "\n"
}

// live reads an object as YAML paths read it.
func (o *ops) live(t testing.TB, path string) object {
	t.Helper()
	var out object
	body, err := o.c.Call(t.Context(), http.MethodGet, path, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func (o *ops) exists(t testing.TB, path string) bool {
	t.Helper()
	_, err := o.c.Call(t.Context(), http.MethodGet, path, "", nil)
	if err != nil && !strings.Contains(err.Error(), "404") && !strings.Contains(err.Error(), "not found") {
		t.Fatal(err)
	}
	return err == nil
}

func (o *ops) core(kind, name string) string {
	return "/api/v1/namespaces/" + o.namespace + "/" + kind + "/" + name
}

func (o *ops) apps(kind, name string) string {
	return "/apis/apps/v1/namespaces/" + o.namespace + "/" + kind + "/" + name
}

func (o *ops) configMap(name, data string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: %s}\ndata: %s", name, o.namespace, data)
}

func (o *ops) deployment(name, image string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, namespace: %[2]s}
spec:
  replicas: 2
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      containers: [{name: main, image: %[3]s}]`, name, o.namespace, image)
}

func TestDeploy_AppliesAndIsReadBackAtOnce(t *testing.T) {
	o := startOps(t, "ops-deploy")
	d := o.deploy(t, o.deployment("web", "registry/web")+"\n---\n"+o.configMap("settings", "{k: v}"),
		`requiredArtifacts: [{type: docker/image, name: registry/web, reference: "registry/web:1.2", version: "1.2", artifactAccount: docker}]`)
	r := d.only(t)
	if err := equal(r.ManifestNamesByNamespace, map[string][]string{"ops-deploy": {"configMap settings-v000", "deployment web"}}); err != nil {
		t.Error(err)
	}
	if len(r.Manifests) != 2 || r.Manifests[1].at("spec", "replicas") != 2.0 {
		t.Error(d.raw)
	}
	if len(r.BoundArtifacts) != 1 || r.BoundArtifacts[0]["reference"] != "registry/web:1.2" {
		t.Errorf("bound: %v", r.BoundArtifacts)
	}
	if got := r.CreatedArtifacts[0]; got["version"] != "v000" || got["reference"] != "settings-v000" || got["location"] != "ops-deploy" || got["type"] != "kubernetes/configMap" {
		t.Errorf("created: %v", got)
	}
	// The lists show the deployment at once, without waiting for the watch.
	if body := o.get(t, "/applications/ops-deploy/serverGroupManagers").body; !strings.Contains(body, `"deployment web"`) {
		t.Errorf("not in the list: %s", body)
	}
	var m struct {
		Manifest object
		Name     string
		Status   struct{ Stable struct{ State bool } }
	}
	o.get(t, "/manifests/"+o.c.Name+"/ops-deploy/deployment%20web").into(t, &m)
	if m.Name != "deployment web" || m.Manifest.at("metadata", "annotations", "moniker.spinnaker.io/cluster") != "deployment web" {
		t.Errorf("%+v", m)
	}
	eventually(t, time.Minute, func() error {
		o.get(t, "/manifests/"+o.c.Name+"/ops-deploy/deployment%20web").into(t, &m)
		if !m.Status.Stable.State {
			return fmt.Errorf("%+v", m.Status)
		}
		return nil
	})
	again := o.deploy(t, o.configMap("settings", "{k: v}"), "").only(t)
	if !slices.Equal(again.ManifestNamesByNamespace["ops-deploy"], []string{"configMap settings-v000"}) {
		t.Errorf("an unchanged config map is not reused: %v", again.ManifestNamesByNamespace)
	}
	if next := o.deploy(t, o.configMap("settings", "{k: w}"), "").only(t); !slices.Equal(next.ManifestNamesByNamespace["ops-deploy"], []string{"configMap settings-v001"}) {
		t.Errorf("a changed config map has no new version: %v", next.ManifestNamesByNamespace)
	}
}

func yamlToJSON(t testing.TB, text string) string {
	t.Helper()
	out, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
