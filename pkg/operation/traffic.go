package operation

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// trafficServices reads a list of load balancers; every one must be a service.
func trafficServices(list string) ([]string, error) {
	if list == "" {
		return nil, nil
	}
	var entries []string
	if err := json.Unmarshal([]byte(list), &entries); err != nil {
		return nil, fmt.Errorf("annotation %s: %s is not a list such as [\"service web\"]", spinnaker.AnnotationLoadBalancers, list)
	}
	return serviceNames(entries)
}

func serviceNames(entries []string) ([]string, error) {
	var out []string
	for _, entry := range entries {
		kind, name, ok := spinnaker.SplitFullName(entry)
		if !ok {
			return nil, fmt.Errorf("load balancer %q is not a kind, one space and a name, such as \"service web\"", entry)
		}
		if !spinnaker.SameKind(kind, "service") {
			return nil, fmt.Errorf("load balancer %q: no load balancing via the kind %s, only service", entry, kind)
		}
		out = append(out, name)
	}
	return out, nil
}

// liveSelector is a service's, read from the cluster.
func liveSelector(ctx context.Context, p *Planner, namespace, name string) (map[string]any, error) {
	r, err := p.kind(ctx, "service")
	if err != nil {
		return nil, err
	}
	o, err := p.Cluster.Get(ctx, r, namespace, name)
	if cluster.Is(err, cluster.NotFound) {
		return nil, fmt.Errorf("load balancer service %s in namespace %q: not found", name, namespace)
	}
	if err != nil {
		return nil, p.fail(err)
	}
	return mapAt(o.Object, "spec", "selector"), nil
}

// toggle is enableManifest and disableManifest (operations.md 5.7).
type toggle struct {
	target
	LoadBalancers []string `json:"loadBalancers"`
	enable        bool
}

// Plan implements Operation.
func (o *toggle) Plan(ctx context.Context, p *Planner) (*Plan, error) {
	r, live, err := p.target(ctx, o.target)
	if err != nil {
		return nil, err
	}
	services, err := serviceNames(o.LoadBalancers)
	if err == nil && len(services) == 0 {
		services, err = trafficServices(live.GetAnnotations()[spinnaker.AnnotationLoadBalancers])
	}
	if err != nil {
		return nil, err
	}
	plan := &Plan{}
	if len(services) == 0 {
		plan.Lines = append(plan.Lines, o.ManifestName+" names no load balancers: nothing to do")
		return plan, nil
	}
	// Of several load balancers, later ones see what earlier ones did.
	selectors := map[string]string{}
	var keys []string
	for _, service := range services {
		selector, err := liveSelector(ctx, p, live.GetNamespace(), service)
		if err != nil {
			return nil, err
		}
		for k, v := range selector {
			if v, ok := v.(string); ok {
				if _, there := selectors[k]; !there {
					keys = append(keys, k)
				}
				selectors[k] = v
			}
		}
	}
	slices.Sort(keys)
	add := func(r cluster.Resource, object *unstructured.Unstructured, mayBeGone bool) error {
		body := labelPatch(o.enable, object.Object, keys, selectors)
		if len(body) == 0 {
			return nil
		}
		one, err := p.patching(r, object, o.App, types.JSONPatchType, body)
		if err != nil {
			return err
		}
		one.Steps[0].MayBeGone, one.Steps[0].TaskType = mayBeGone, "noop"
		plan.Steps = append(plan.Steps, one.Steps...)
		return nil
	}
	if err := add(r, live, false); err != nil {
		return nil, err
	}
	if spinnaker.SameKind(r.KindText(), "replicaSet") {
		pods, err := p.kind(ctx, "pod")
		if err != nil {
			return nil, err
		}
		selector, err := podSelector(live)
		if err != nil {
			return nil, err
		}
		all, err := ownedPods(ctx, p.Cluster, pods, live.GetNamespace(), selector, live.GetUID())
		if err != nil {
			return nil, p.fail(err)
		}
		for _, pod := range all {
			if err := add(pods, pod, true); err != nil {
				return nil, err
			}
		}
		if len(plan.Steps) > 0 {
			// Until the template is patched, there may come more.
			s := p.step(LabelPods, pods, live, o.App)
			s.Pods = &PodLabels{Selector: selector, Keys: keys, Values: selectors, Enable: o.enable}
			s.Says = "Looked once more at the pods of " + o.ManifestName
			plan.Steps = append(plan.Steps, s)
		}
	}
	if len(plan.Steps) == 0 {
		plan.Lines = append(plan.Lines, o.ManifestName+" is already in that state")
	}
	return plan, nil
}

// podSelector is a workload's.
func podSelector(owner *unstructured.Unstructured) (string, error) {
	var selector metav1.LabelSelector
	raw, err := json.Marshal(mapAt(owner.Object, "spec", "selector"))
	if err == nil {
		err = json.Unmarshal(raw, &selector)
	}
	if err != nil {
		return "", err
	}
	labels, err := metav1.LabelSelectorAsSelector(&selector)
	if err != nil {
		return "", err
	}
	return labels.String(), nil
}

// ownedPods lists the pods of an owner.
func ownedPods(ctx context.Context, c Cluster, pods cluster.Resource, namespace, selector string, owner types.UID) ([]*unstructured.Unstructured, error) {
	all, err := c.List(ctx, pods, namespace, selector)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(pod *unstructured.Unstructured) bool {
		c := metav1.GetControllerOf(pod)
		return c == nil || c.UID != owner
	}), nil
}

// labelPods brings the labels of all pods that the object owns by now to what
// is wanted.
func (a *Actor) labelPods(ctx context.Context, s *Step, r cluster.Resource) (*Outcome, error) {
	pods, err := ownedPods(ctx, Patient{a.Client}, r, s.Namespace, s.Pods.Selector, types.UID(s.UID))
	if err != nil {
		return nil, err
	}
	out := &Outcome{Change: Unchanged}
	for _, pod := range pods {
		body := labelPatch(s.Pods.Enable, pod.Object, s.Pods.Keys, s.Pods.Values)
		if len(body) == 0 {
			continue
		}
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		one := &Step{Action: Patch, APIVersion: "v1", Kind: "Pod", Namespace: s.Namespace, Name: pod.GetName(), UID: string(pod.GetUID()), PatchType: types.JSONPatchType, Patch: raw, MayBeGone: true}
		if _, err := a.patch(ctx, one, r, false); err != nil {
			return nil, err
		}
		out.Change = Updated
	}
	return out, nil
}

// labelPatch is the JSON patch of an object's labels: those of the template,
// if that has metadata, else its own.
func labelPatch(enable bool, object map[string]any, keys []string, values map[string]string) []any {
	path, metadata := "/spec/template/metadata", mapAt(object, "spec", "template", "metadata")
	if metadata == nil {
		path, metadata = "/metadata", mapAt(object, "metadata")
	}
	labels, there := metadata["labels"].(map[string]any)
	var out []any
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	for _, key := range keys {
		now, present := labels[key]
		at := path + "/labels/" + escape.Replace(key)
		switch {
		case enable && (!present || now != values[key]):
			if !there {
				out, there = append(out, map[string]any{"op": "add", "path": path + "/labels", "value": map[string]any{}}), true
			}
			out = append(out, map[string]any{"op": "add", "path": at, "value": values[key]})
		case !enable && present:
			out = append(out, map[string]any{"op": "remove", "path": at})
		}
	}
	return out
}
