package view

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/resource"
)

// PodMetrics renders a PodMetrics object of metrics.k8s.io with the cells of
// kubectl top pod --containers (read-rest.md 1.5).
func PodMetrics(object map[string]any) []any {
	out := []any{}
	containers, _ := object["containers"].([]any)
	for _, c := range containers {
		c, _ := c.(map[string]any)
		usage, _ := c["usage"].(map[string]any)
		cells := map[string]string{}
		if q, ok := quantity(usage["cpu"]); ok {
			cells["CPU(cores)"] = fmt.Sprintf("%dm", q.MilliValue())
		}
		if q, ok := quantity(usage["memory"]); ok {
			cells["MEMORY(bytes)"] = fmt.Sprintf("%dMi", q.Value()>>20)
		}
		out = append(out, map[string]any{"containerName": c["name"], "metrics": cells})
	}
	return out
}

func quantity(v any) (resource.Quantity, bool) {
	text, ok := v.(string)
	if !ok {
		return resource.Quantity{}, false
	}
	q, err := resource.ParseQuantity(text)
	return q, err == nil
}
