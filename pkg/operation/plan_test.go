package operation

import (
	"context"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
)

var update = flag.Bool("update", false, "write the golden files anew")

// clusterOf is what a cluster holds, as a value: what planning reads.
type clusterOf []*unstructured.Unstructured

var catalog = cluster.NewCatalog(
	native("", "v1", "configmaps", "ConfigMap"), native("", "v1", "secrets", "Secret"), native("", "v1", "services", "Service"), native("", "v1", "pods", "Pod"),
	native("apps", "v1", "deployments", "Deployment"), native("apps", "v1", "replicasets", "ReplicaSet"), native("apps", "v1", "statefulsets", "StatefulSet"),
	native("apps", "v1", "daemonsets", "DaemonSet"), native("apps", "v1", "controllerrevisions", "ControllerRevision"), native("batch", "v1", "jobs", "Job"),
	native("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler"),
	cluster.Resource{Version: "v1", Plural: "namespaces", Kind: "Namespace", Watchable: true},
	cluster.Resource{Group: "rbac.authorization.k8s.io", Version: "v1", Plural: "clusterroles", Kind: "ClusterRole", Watchable: true},
	cluster.Resource{Group: "apiextensions.k8s.io", Version: "v1", Plural: "customresourcedefinitions", Kind: "CustomResourceDefinition", Watchable: true},
)

func native(group, version, plural, kind string) cluster.Resource {
	return cluster.Resource{Group: group, Version: version, Plural: plural, Kind: kind, Namespaced: true, Watchable: true}
}

func (h clusterOf) Catalog(context.Context) (*cluster.Catalog, error)  { return catalog, nil }
func (h clusterOf) Discover(context.Context) (*cluster.Catalog, error) { return catalog, nil }

func (h clusterOf) Get(_ context.Context, r cluster.Resource, namespace, name string) (*unstructured.Unstructured, error) {
	for _, o := range h {
		if o.GetAPIVersion() == r.APIVersion() && o.GetKind() == r.Kind && o.GetNamespace() == namespace && o.GetName() == name {
			return o, nil
		}
	}
	return nil, &cluster.Error{Reason: cluster.NotFound, Code: http.StatusNotFound, Err: os.ErrNotExist}
}

func (h clusterOf) List(_ context.Context, r cluster.Resource, namespace, selector string) ([]*unstructured.Unstructured, error) {
	parsed, err := labels.Parse(selector)
	if err != nil {
		return nil, err
	}
	var out []*unstructured.Unstructured
	for _, o := range h {
		if o.GetAPIVersion() == r.APIVersion() && o.GetKind() == r.Kind && o.GetNamespace() == namespace && parsed.Matches(labels.Set(o.GetLabels())) {
			out = append(out, o)
		}
	}
	return out, nil
}

func (h clusterOf) Metadata(ctx context.Context, r cluster.Resource, namespace string) ([]*metav1.PartialObjectMetadata, error) {
	all, err := h.List(ctx, r, namespace, "")
	var out []*metav1.PartialObjectMetadata
	for _, o := range all {
		out = append(out, meta.AsPartialObjectMetadata(o))
	}
	return out, err
}

// planCase is a file of testdata/plans.
type planCase struct {
	// About says what the case shows.
	About     string           `json:"about"`
	Live      []map[string]any `json:"live"`
	Operation string           `json:"operation"`
	Request   json.RawMessage  `json:"request"`
	Settings  Settings         `json:"settings"`
}

var generatedName = regexp.MustCompile(`(made-|TASK\.)[bcdfghjklmnpqrstvwxz2456789]{5}`)

// TestPlan_GoldenFiles plans each case of testdata/plans from what its file
// says that the cluster holds. Regenerate with -update and review the diff.
func TestPlan_GoldenFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/plans/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var c planCase
			if err := yaml.UnmarshalStrict(text, &c); err != nil {
				t.Fatal(err)
			}
			got := planText(t, c)
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// planText is the plan, or why there is none, as YAML.
func planText(t *testing.T, c planCase) string {
	t.Helper()
	var h clusterOf
	for _, m := range c.Live {
		raw, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		o := &unstructured.Unstructured{}
		if err := o.UnmarshalJSON(raw); err != nil {
			t.Fatal(err)
		}
		h = append(h, o)
	}
	op, err := Decode(Request{Name: c.Operation, Body: c.Request})
	if err != nil {
		return "refused: " + err.Error() + "\n"
	}
	plan, err := op.Plan(t.Context(), &Planner{
		Account: &account.Account{Name: "prod"}, Cluster: h, Settings: c.Settings, Task: "TASK", User: "me@example.com", Execution: "EXECUTION",
		Now: time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC),
	})
	if err != nil {
		return "fails: " + err.Error() + "\n"
	}
	for i := range plan.Steps {
		plan.Steps[i].Resource = nil // the catalog's
	}
	out, err := yaml.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	return generatedName.ReplaceAllString(string(out), "${1}XXXXX")
}
