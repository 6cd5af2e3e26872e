package fleet

import (
	"fmt"
	"strconv"
	"strings"
)

// kind is one that clusters serve.
type kind struct {
	group, version   string
	plural, singular string
	name             string
	short            []string
	namespaced       bool
	// each is how many there are for an application; those of 0 are counted by
	// alone.
	each, alone int
	// managed objects have Spinnaker's label and annotations.
	managed bool
}

func (k *kind) apiVersion() string {
	if k.group == "" {
		return k.version
	}
	return k.group + "/" + k.version
}

func (k *kind) root() string {
	if k.group == "" {
		return "/api/" + k.version
	}
	return "/apis/" + k.group + "/" + k.version
}

// The numbers of kinds.
const (
	deployments = iota
	replicaSets
	pods
	services
	ingresses
	statefulSets
	daemonSets
	networkPolicies
	jobs
	cronJobs
	namespaces
	definitions
	apiServices
)

var kinds = []*kind{
	{group: "apps", version: "v1", plural: "deployments", singular: "deployment", name: "Deployment", short: []string{"deploy"}, namespaced: true, each: 1, managed: true},
	{group: "apps", version: "v1", plural: "replicasets", singular: "replicaset", name: "ReplicaSet", short: []string{"rs"}, namespaced: true, each: 2, managed: true},
	{version: "v1", plural: "pods", singular: "pod", name: "Pod", short: []string{"po"}, namespaced: true, each: 22, managed: true},
	{version: "v1", plural: "services", singular: "service", name: "Service", short: []string{"svc"}, namespaced: true, each: 2, managed: true},
	{group: "networking.k8s.io", version: "v1", plural: "ingresses", singular: "ingress", name: "Ingress", short: []string{"ing"}, namespaced: true, each: 1, managed: true},
	{group: "apps", version: "v1", plural: "statefulsets", singular: "statefulset", name: "StatefulSet", short: []string{"sts"}, namespaced: true, each: 1, managed: true},
	{group: "apps", version: "v1", plural: "daemonsets", singular: "daemonset", name: "DaemonSet", short: []string{"ds"}, namespaced: true, each: 1, managed: true},
	{group: "networking.k8s.io", version: "v1", plural: "networkpolicies", singular: "networkpolicy", name: "NetworkPolicy", short: []string{"netpol"}, namespaced: true, each: 1, managed: true},
	{group: "batch", version: "v1", plural: "jobs", singular: "job", name: "Job", namespaced: true, each: 1, managed: true},
	{group: "batch", version: "v1", plural: "cronjobs", singular: "cronjob", name: "CronJob", short: []string{"cj"}, namespaced: true, each: 1, managed: true},
	{version: "v1", plural: "namespaces", singular: "namespace", name: "Namespace", short: []string{"ns"}, alone: 10},
	{group: "apiextensions.k8s.io", version: "v1", plural: "customresourcedefinitions", singular: "customresourcedefinition", name: "CustomResourceDefinition", short: []string{"crd", "crds"}, alone: 5},
	{group: "apiregistration.k8s.io", version: "v1", plural: "apiservices", singular: "apiservice", name: "APIService", alone: 5},
}

// ownGroup is that of the kinds which custom resource definitions announce. There are
// no objects of them.
const ownGroup = "example.com"

// watched is how many kinds are of interest to a Clouddriver.
const watched = apiServices + 1

func init() {
	for n := range kinds[definitions].alone {
		name := strconv.Itoa(n)
		kinds = append(kinds, &kind{group: ownGroup, version: "v1", plural: "things" + name, singular: "thing" + name, name: "Thing" + name, namespaced: true})
	}
}

// object is one that can be made at any time.
type object struct {
	cluster *Cluster
	kind    int
	number  int
	// revision is how often it has changed, and resourceVersion the cluster's
	// after the last time.
	revision        int
	resourceVersion uint64
}

// application is the one that an object is of.
func (o object) application() int { return o.number / kinds[o.kind].each }

// ordinal is which of its kind it is within its application.
func (o object) ordinal() int { return o.number % kinds[o.kind].each }

func (o object) other(kind, number int) object {
	return object{cluster: o.cluster, kind: kind, number: number}
}

// app is the name of the application: clusters share them, and no two have the same
// ones.
func (o object) app() string {
	f := o.cluster.fleet.options
	number := (o.cluster.Number*f.Applications/3 + o.application()*7) % f.Names
	return "app" + strconv.Itoa(10_000 + number)[1:]
}

func (o object) namespace() string {
	if !kinds[o.kind].namespaced {
		return ""
	}
	return "team-" + strconv.Itoa(o.application()%(kinds[namespaces].alone-2))
}

func (o object) name() string {
	switch k := kinds[o.kind]; o.kind {
	case namespaces:
		return [...]string{"kube-system", "default", "team-0", "team-1", "team-2", "team-3", "team-4", "team-5", "team-6", "team-7"}[o.number]
	case definitions:
		return "things" + strconv.Itoa(o.number) + "." + ownGroup
	case apiServices:
		return [...]string{"v1.", "v1.apps", "v1.batch", "v1.networking.k8s.io", "v1." + ownGroup}[o.number]
	case replicaSets:
		return o.base() + "-v00" + strconv.Itoa(o.ordinal())
	case pods:
		return o.base() + "-v001-" + strconv.FormatInt(0x10000+int64(o.ordinal())*2741, 16)
	default:
		if k.each > 1 {
			return o.base() + "-" + strconv.Itoa(o.ordinal())
		}
		return o.base()
	}
}

// base is what the names of an application's objects begin with: two applications of
// one name in a cluster must not meet.
func (o object) base() string { return o.app() + "-" + strconv.Itoa(o.application()) }

func (o object) uid() string {
	hex := func(digits, n int) string { return strconv.FormatInt(1<<(4*digits)+int64(n), 16)[1:] }
	return hex(8, o.cluster.Number+1) + "-" + hex(4, o.kind+1) + "-4000-8000-" + hex(12, o.number+1)
}

// clusterText is Spinnaker's cluster of the object. StatefulSets and daemonSets are
// alone in theirs.
func (o object) clusterText() string {
	switch o.kind {
	case pods, replicaSets:
		return "replicaSet " + o.base()
	}
	return strings.ToLower(kinds[o.kind].name[:1]) + kinds[o.kind].name[1:] + " " + o.name()
}

// owner is what has made it.
func (o object) owner() (owner object, ok bool) {
	switch o.kind {
	case replicaSets:
		return o.other(deployments, o.application()), true
	case pods:
		return o.other(replicaSets, 2*o.application()+1), true
	}
	return object{}, false
}

// managedBy is the label that Spinnaker's objects have.
const managedBy = "app.kubernetes.io/managed-by"

// labels are the object's, sorted by name.
func (o object) labels() []label {
	if !kinds[o.kind].managed {
		return []label{{"kubernetes.io/metadata.name", o.name()}}
	}
	out := []label{{"app", o.base()}, {managedBy, "spinnaker"}, {"app.kubernetes.io/name", o.app()}}
	if o.kind == pods || o.kind == replicaSets {
		out = append(out, label{"pod-template-hash", strconv.Itoa(7_654_321_000 + o.application())})
	}
	return out
}

type label struct{ name, value string }

// label is the value of one of the labels; ok is false for one that it has not.
func (o object) label(name string) (value string, ok bool) {
	if name == managedBy { // nearly all watches ask for it
		return "spinnaker", kinds[o.kind].managed
	}
	for _, l := range o.labels() {
		if l.name == name {
			return l.value, true
		}
	}
	return "", false
}

// json is the object as an API server writes it. Items of lists come without kind and
// apiVersion.
func (o object) json(item bool) []byte {
	k := kinds[o.kind]
	var b strings.Builder
	b.Grow(3 << 10)
	b.WriteByte('{')
	if !item {
		put(&b, `"kind":"`, k.name, `","apiVersion":"`, k.apiVersion(), `",`)
	}
	o.metadata(&b)
	if o.kind == pods { // of which there are most
		pod(&b, o)
	} else {
		b.WriteString(o.body())
	}
	b.WriteString("}")
	return []byte(b.String())
}

// body is the spec and the status of what is no pod, with a comma before.
func (o object) body() string {
	switch o.kind {
	case deployments:
		return deployment(o)
	case replicaSets:
		return replicaSet(o)
	case services:
		return service(o)
	case ingresses:
		return ingress(o)
	case statefulSets:
		return statefulSet(o)
	case daemonSets:
		return daemonSet(o)
	case networkPolicies:
		return networkPolicy(o)
	case jobs:
		return job(o)
	case cronJobs:
		return cronJob(o)
	case namespaces:
		return `,"spec":{"finalizers":["kubernetes"]},"status":{"phase":"Active"}`
	}
	return `,"spec":{},"status":{}`
}

// put writes texts one after the other. A million objects are written by it, so it
// formats nothing.
func put(b *strings.Builder, texts ...string) {
	for _, text := range texts {
		b.WriteString(text)
	}
}

func (o object) metadata(b *strings.Builder) {
	put(b, `"metadata":{"name":"`, o.name(), `",`)
	if n := o.namespace(); n != "" {
		put(b, `"namespace":"`, n, `",`)
	}
	put(b, `"uid":"`, o.uid(), `","resourceVersion":"`, strconv.FormatUint(o.resourceVersion, 10), `","generation":1,"creationTimestamp":"2026-11-01T08:00:`, strconv.Itoa(10+o.number%50), `Z","labels":{`)
	for i, l := range o.labels() {
		if i > 0 {
			b.WriteByte(',')
		}
		put(b, `"`, l.name, `":"`, l.value, `"`)
	}
	b.WriteByte('}')
	if kinds[o.kind].managed {
		put(b, `,"annotations":{"artifact.spinnaker.io/location":"`, o.namespace(), `","artifact.spinnaker.io/name":"`, o.base(), `","artifact.spinnaker.io/type":"kubernetes/`, kinds[o.kind].singular,
			`","moniker.spinnaker.io/application":"`, o.app(), `","moniker.spinnaker.io/cluster":"`, o.clusterText(), `"}`)
	}
	if owner, ok := o.owner(); ok {
		put(b, `,"ownerReferences":[{"apiVersion":"apps/v1","kind":"`, kinds[owner.kind].name, `","name":"`, owner.name(), `","uid":"`, owner.uid(), `","controller":true,"blockOwnerDeletion":true}]`)
	}
	if kinds[o.kind].managed {
		b.WriteString(`,"managedFields":[{"manager":"go-clouddriver","operation":"Update","apiVersion":"apps/v1","time":"2026-11-01T08:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:annotations":{".":{},"f:artifact.spinnaker.io/location":{},"f:artifact.spinnaker.io/name":{},"f:moniker.spinnaker.io/application":{},"f:moniker.spinnaker.io/cluster":{}},"f:labels":{".":{},"f:app":{},"f:app.kubernetes.io/managed-by":{},"f:app.kubernetes.io/name":{}}},"f:spec":{"f:replicas":{},"f:selector":{},"f:template":{"f:metadata":{"f:labels":{"f:app":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"main\"}":{".":{},"f:image":{},"f:imagePullPolicy":{},"f:name":{},"f:ports":{},"f:resources":{}}},"f:dnsPolicy":{},"f:restartPolicy":{}}}}}}]`)
	}
	b.WriteByte('}')
}

func (o object) image() string {
	return "registry.example.com/team/" + o.app() + ":1." + strconv.Itoa(o.application()) + ".0"
}

func (o object) containers() string {
	return `"containers":[{"name":"main","image":"` + o.image() + `","ports":[{"name":"http","containerPort":8080,"protocol":"TCP"}],"env":[{"name":"ENVIRONMENT","value":"production"},{"name":"JAVA_OPTS","value":"-XX:MaxRAMPercentage=75"}],"resources":{"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"100m","memory":"512Mi"}},"livenessProbe":{"httpGet":{"path":"/health","port":8080,"scheme":"HTTP"},"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent"}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","securityContext":{},"schedulerName":"default-scheduler"`
}

func (o object) template() string {
	return fmt.Sprintf(`"template":{"metadata":{"labels":{"app":%q,"app.kubernetes.io/managed-by":"spinnaker","app.kubernetes.io/name":%q}},"spec":{%s}}`, o.base(), o.app(), o.containers())
}

func deployment(o object) string {
	return fmt.Sprintf(`,"spec":{"replicas":22,"selector":{"matchLabels":{"app":%q}},%s,"strategy":{"type":"RollingUpdate"},"revisionHistoryLimit":10},"status":{"observedGeneration":%d,"replicas":22,"updatedReplicas":22,"readyReplicas":%d,"availableReplicas":22}`, o.base(), o.template(), o.revision+1, 22-o.revision%2)
}

func replicaSet(o object) string {
	replicas := 22 * o.ordinal()
	return fmt.Sprintf(`,"spec":{"replicas":%d,"selector":{"matchLabels":{"app":%q}},%s},"status":{"replicas":%d,"fullyLabeledReplicas":%d,"readyReplicas":%d,"observedGeneration":1}`, replicas, o.base(), o.template(), replicas, replicas, max(replicas-o.revision%2, 0))
}

func pod(b *strings.Builder, o object) {
	put(b, `,"spec":{`, o.containers(),
		`,"nodeName":"node-`, strconv.Itoa(o.number%50),
		`","serviceAccountName":"default"},"status":{"phase":"Running","conditions":[{"type":"Initialized","status":"True","lastProbeTime":null,"lastTransitionTime":"2026-11-01T08:00:00Z"},{"type":"Ready","status":"True","lastProbeTime":null,"lastTransitionTime":"2026-11-01T08:00:00Z"},{"type":"ContainersReady","status":"True","lastProbeTime":null,"lastTransitionTime":"2026-11-01T08:00:00Z"},{"type":"PodScheduled","status":"True","lastProbeTime":null,"lastTransitionTime":"2026-11-01T08:00:00Z"}],"hostIP":"10.0.0.1","podIP":"10.1.`, strconv.Itoa(o.number/250),
		`.`, strconv.Itoa(o.number%250),
		`","startTime":"2026-11-01T08:00:00Z","containerStatuses":[{"name":"main","state":{"running":{"startedAt":"2026-11-01T08:00:10Z"}},"lastState":{},"ready":`, strconv.FormatBool(o.revision%2 == 0),
		`,"restartCount":`, strconv.Itoa(o.revision),
		`,"image":"`, o.image(),
		`","imageID":"","containerID":"containerd://0","started":true}],"qosClass":"Burstable"}`)
}

func service(o object) string {
	return fmt.Sprintf(`,"spec":{"ports":[{"name":"http","protocol":"TCP","port":80,"targetPort":8080}],"selector":{"app":%q},"clusterIP":"10.2.%d.%d","type":"ClusterIP","sessionAffinity":"None"},"status":{"loadBalancer":{}}`, o.base(), o.number/250, o.number%250)
}

func ingress(o object) string {
	return fmt.Sprintf(`,"spec":{"rules":[{"host":"%s.example.com","http":{"paths":[{"path":"/","pathType":"Prefix","backend":{"service":{"name":%q,"port":{"number":80}}}}]}}]},"status":{"loadBalancer":{}}`, o.base(), o.base()+"-0")
}

func statefulSet(o object) string {
	return fmt.Sprintf(`,"spec":{"replicas":3,"selector":{"matchLabels":{"app":%q}},%s,"serviceName":%q,"podManagementPolicy":"OrderedReady"},"status":{"observedGeneration":1,"replicas":3,"readyReplicas":%d,"collisionCount":0}`, o.base(), o.template(), o.base(), 3-o.revision%2)
}

func daemonSet(o object) string {
	return fmt.Sprintf(`,"spec":{"selector":{"matchLabels":{"app":%q}},%s,"updateStrategy":{"type":"RollingUpdate"}},"status":{"currentNumberScheduled":50,"numberMisscheduled":0,"desiredNumberScheduled":50,"numberReady":%d,"observedGeneration":1}`, o.base(), o.template(), 50-o.revision%2)
}

func networkPolicy(o object) string {
	return fmt.Sprintf(`,"spec":{"podSelector":{"matchLabels":{"app":%q}},"policyTypes":["Ingress"]}`, o.base())
}

func job(o object) string {
	return fmt.Sprintf(`,"spec":{"parallelism":1,"completions":1,"backoffLimit":6,%s},"status":{"startTime":"2026-11-01T08:00:00Z","active":%d}`, o.template(), o.revision%2)
}

func cronJob(o object) string {
	return fmt.Sprintf(`,"spec":{"schedule":"*/5 * * * *","concurrencyPolicy":"Allow","suspend":false,"jobTemplate":{"spec":{%s}}},"status":{}`, o.template())
}
