package operation

import "github.com/datapunchorg/go-clouddriver/pkg/spinnaker"

// priorities order a deploy (operations.md 4.2).
var priorities = []struct {
	level int
	kinds []string
}{
	{0, []string{"namespace"}},
	{20, []string{"role", "clusterRole"}},
	{30, []string{"roleBinding", "clusterRoleBinding", "customResourceDefinition"}},
	{40, []string{"serviceAccount", "storageClass", "persistentVolume", "mutatingWebhookConfiguration", "validatingWebhookConfiguration"}},
	{50, []string{"configMap", "secret", "persistentVolumeClaim"}},
	{70, []string{"service", "ingress", "networkPolicy"}},
	{80, []string{"apiService"}},
	{90, []string{"limitRange", "podDisruptionBudget", "podPreset", "podSecurityPolicy"}},
	{100, []string{"deployment", "replicaSet", "statefulSet", "daemonSet", "job", "cronJob", "pod"}},
	{110, []string{"horizontalpodautoscaler"}},
}

const lastPriority = 1000

func priority(kindText string, configured map[string]int) int {
	for kind, level := range configured {
		if spinnaker.SameKind(kind, kindText) {
			return level
		}
	}
	for _, p := range priorities {
		if oneOf(kindText, p.kinds...) {
			return p.level
		}
	}
	return lastPriority
}
