package spinnaker

import "strings"

// Class is what Spinnaker makes of a Kubernetes kind.
type Class string

// The classes of kinds (spinnaker/clouddriver, SpinnakerKind).
const (
	ServerGroups        Class = "serverGroups"
	ServerGroupManagers Class = "serverGroupManagers"
	LoadBalancers       Class = "loadBalancers"
	SecurityGroups      Class = "securityGroups"
	Instances           Class = "instances"
	Configs             Class = "configs"
	Unclassified        Class = "unclassified"
)

// Valid says whether c is one of the classes.
func (c Class) Valid() bool {
	switch c {
	case ServerGroups, ServerGroupManagers, LoadBalancers, SecurityGroups, Instances, Configs, Unclassified:
		return true
	}
	return false
}

// FormsClusters says whether objects of the class make applications and
// clusters (read-lists.md 1.4).
func (c Class) FormsClusters() bool { return c == ServerGroups || c == ServerGroupManagers }

// Kind is one row of Spinnaker's table of native kinds.
type Kind struct {
	// Name is Spinnaker's spelling: replicaSet.
	Name string
	// Alias is the short name that callers may use: rs.
	Alias string
	Class Class
	// ClusterScoped kinds have no namespace.
	ClusterScoped bool
}

// Kinds is the table of native kinds in the order of Spinnaker's own
// (accounts.md 7.3). It must not be changed.
var kinds = []Kind{
	{Name: "apiService", Class: Unclassified, ClusterScoped: true},
	{Name: "clusterRole", Class: Unclassified, ClusterScoped: true},
	{Name: "clusterRoleBinding", Class: Unclassified, ClusterScoped: true},
	{Name: "configMap", Alias: "cm", Class: Configs},
	{Name: "controllerRevision", Class: Unclassified},
	{Name: "cronJob", Class: ServerGroups},
	{Name: "customResourceDefinition", Alias: "crd", Class: Unclassified, ClusterScoped: true},
	{Name: "daemonSet", Alias: "ds", Class: ServerGroups},
	{Name: "deployment", Alias: "deploy", Class: ServerGroupManagers},
	{Name: "event", Class: Unclassified},
	{Name: "horizontalpodautoscaler", Alias: "hpa", Class: Unclassified},
	{Name: "ingress", Class: LoadBalancers},
	{Name: "job", Class: ServerGroups},
	{Name: "limitRange", Class: Unclassified},
	{Name: "mutatingWebhookConfiguration", Class: Unclassified, ClusterScoped: true},
	{Name: "namespace", Alias: "ns", Class: Unclassified, ClusterScoped: true},
	{Name: "networkPolicy", Alias: "netpol", Class: SecurityGroups},
	{Name: "persistentVolume", Alias: "pv", Class: Configs, ClusterScoped: true},
	{Name: "persistentVolumeClaim", Alias: "pvc", Class: Configs},
	{Name: "pod", Alias: "po", Class: Instances},
	{Name: "podDisruptionBudget", Class: Unclassified},
	{Name: "podPreset", Class: Unclassified},
	{Name: "podSecurityPolicy", Class: Unclassified, ClusterScoped: true},
	{Name: "replicaSet", Alias: "rs", Class: ServerGroups},
	{Name: "role", Class: Unclassified},
	{Name: "roleBinding", Class: Unclassified},
	{Name: "secret", Class: Configs},
	{Name: "service", Alias: "svc", Class: LoadBalancers},
	{Name: "serviceAccount", Alias: "sa", Class: Unclassified},
	{Name: "statefulSet", Class: ServerGroups},
	{Name: "storageClass", Alias: "sc", Class: Unclassified, ClusterScoped: true},
	{Name: "validatingWebhookConfiguration", Class: Unclassified, ClusterScoped: true},
}

var byLowerName = func() map[string]Kind {
	m := make(map[string]Kind, 2*len(kinds))
	for _, k := range kinds {
		m[strings.ToLower(k.Name)] = k
		if k.Alias != "" {
			m[k.Alias] = k
		}
	}
	return m
}()

// Kinds returns the table of native kinds, in Spinnaker's order.
func Kinds() []Kind { return append([]Kind(nil), kinds...) }

// KindMap is the spinnakerKindMap of an account: kind to class
// (accounts.md 7.3). The caller owns the map.
func KindMap() map[string]Class {
	m := make(map[string]Class, len(kinds))
	for _, k := range kinds {
		m[k.Name] = k.Class
	}
	return m
}

var nativeGroups = map[string]bool{
	"": true, "core": true, "batch": true, "apps": true, "extensions": true, "storage.k8s.io": true,
	"apiextensions.k8s.io": true, "apiregistration.k8s.io": true, "autoscaling": true,
	"admissionregistration.k8s.io": true, "policy": true, "scheduling.k8s.io": true, "settings.k8s.io": true,
	"authorization.k8s.io": true, "authentication.k8s.io": true, "rbac.authorization.k8s.io": true,
	"certificates.k8s.io": true, "networking.k8s.io": true,
}

// NativeGroup says whether kinds of the API group are spelled without it.
func NativeGroup(group string) bool { return nativeGroups[strings.ToLower(group)] }

// LookupKind finds a native kind by any spelling of its name or alias.
func LookupKind(name string) (Kind, bool) {
	k, ok := byLowerName[strings.ToLower(name)]
	return k, ok
}

// KindText is Spinnaker's spelling of a Kubernetes kind: the table's for a
// native group (replicaSet), Kind.group for any other (CronTab.example.com).
// A native group's kind that is not in the table keeps its own spelling
// (operations.md 3.1).
func KindText(group, kind string) string {
	if !NativeGroup(group) {
		return kind + "." + group
	}
	if k, ok := LookupKind(kind); ok {
		return k.Name
	}
	return kind
}

// NormalKind spells a kind that a caller or an annotation wrote: aliases
// resolved, native kinds as in the table, a native group dropped. A custom
// kind keeps its spelling; compare with SameKind.
func NormalKind(text string) string {
	name, group, _ := strings.Cut(text, ".")
	if NativeGroup(group) {
		return KindText("", name)
	}
	return text
}

// SameKind compares two kind texts as Spinnaker does: case and native groups
// do not matter.
func SameKind(a, b string) bool { return strings.EqualFold(NormalKind(a), NormalKind(b)) }

// FullName is kind text, one space, name: replicaSet web-5d9c7b.
func FullName(kind, name string) string { return kind + " " + name }

// SplitFullName takes a full name apart, with the kind in its normal
// spelling. ok is false unless it is exactly a kind and a name.
func SplitFullName(full string) (kind, name string, ok bool) {
	kind, name, ok = strings.Cut(full, " ")
	if !ok || kind == "" || name == "" || strings.Contains(name, " ") {
		return "", "", false
	}
	return NormalKind(kind), name, true
}
