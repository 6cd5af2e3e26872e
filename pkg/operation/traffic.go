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
		body := o.labelPatch(object.Object, keys, selectors)
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
		pods, resource, err := p.podsOf(ctx, live)
		if err != nil {
			return nil, err
		}
		for _, pod := range pods {
			if err := add(resource, pod, true); err != nil {
				return nil, err
			}
		}
	}
	if len(plan.Steps) == 0 {
		plan.Lines = append(plan.Lines, o.ManifestName+" is already in that state")
	}
	return plan, nil
}

// podsOf lists the pods that a replica set owns.
func (p *Planner) podsOf(ctx context.Context, owner *unstructured.Unstructured) ([]*unstructured.Unstructured, cluster.Resource, error) {
	r, err := p.kind(ctx, "pod")
	if err != nil {
		return nil, r, err
	}
	var selector metav1.LabelSelector
	raw, err := json.Marshal(mapAt(owner.Object, "spec", "selector"))
	if err == nil {
		err = json.Unmarshal(raw, &selector)
	}
	if err != nil {
		return nil, r, err
	}
	labels, err := metav1.LabelSelectorAsSelector(&selector)
	if err != nil {
		return nil, r, err
	}
	all, err := p.Cluster.List(ctx, r, owner.GetNamespace(), labels.String())
	if err != nil {
		return nil, r, p.fail(err)
	}
	return slices.DeleteFunc(all, func(pod *unstructured.Unstructured) bool {
		c := metav1.GetControllerOf(pod)
		return c == nil || c.UID != owner.GetUID()
	}), r, nil
}

// labelPatch is the JSON patch of an object's labels: those of the template,
// if that has metadata, else its own.
func (o *toggle) labelPatch(object map[string]any, keys []string, values map[string]string) []any {
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
		case o.enable && (!present || now != values[key]):
			if !there {
				out, there = append(out, map[string]any{"op": "add", "path": path + "/labels", "value": map[string]any{}}), true
			}
			out = append(out, map[string]any{"op": "add", "path": at, "value": values[key]})
		case !o.enable && present:
			out = append(out, map[string]any{"op": "remove", "path": at})
		}
	}
	return out
}
