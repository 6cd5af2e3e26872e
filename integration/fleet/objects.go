package fleet

import (
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
	// lower is the first letter of the name as Spinnaker's kinds have it.
	lower string
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
	for _, k := range kinds {
		k.lower = strings.ToLower(k.name[:1])
	}
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

// app is the name of the application.
func (o object) app() string { return o.cluster.names[o.application()].app }

func (o object) namespace() string {
	if !kinds[o.kind].namespaced {
		return ""
	}
	return "team-" + strconv.Itoa(o.application()%(kinds[namespaces].alone-2))
}

func (o object) name() string {
	var t text
	t.name(o)
	return string(t)
}

// base is what the names of an application's objects begin with: two applications of
// one name in a cluster must not meet.
func (o object) base() string { return o.cluster.names[o.application()].base }

// naming is what the objects of an application are called by.
type naming struct{ app, base string }

// namesOf are those of a cluster's applications: clusters share them, and no two have
// the same ones.
func namesOf(number int, o Options) []naming {
	out := make([]naming, o.Applications)
	for n := range out {
		app := "app" + strconv.Itoa(10_000 + (number*o.Applications/3+n*7)%o.Names)[1:]
		out[n] = naming{app: app, base: app + "-" + strconv.Itoa(n)}
	}
	return out
}

func (o object) uid() string {
	var t text
	t.uid(o)
	return string(t)
}

// templated says that the object, one of those that a template makes, bears the hash of
// it and is of the replica set's cluster.
func (o object) templated() bool { return o.kind == pods || o.kind == replicaSets }

// firstHash is that of the template of a cluster's first application.
const firstHash = 7_654_321_000

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

// label is the value of one of the labels; ok is false for one that it has not.
func (o object) label(name string) (value string, ok bool) {
	managed := kinds[o.kind].managed
	switch name {
	case managedBy: // nearly all watches ask for it
		return "spinnaker", managed
	case "app.kubernetes.io/name":
		if managed {
			return o.app(), true
		}
	case "app":
		if managed {
			return o.base(), true
		}
	case "pod-template-hash":
		if o.templated() {
			return strconv.Itoa(firstHash + o.application()), true
		}
	case "kubernetes.io/metadata.name":
		if !managed {
			return o.name(), true
		}
	}
	return "", false
}

// text is JSON that is being written. A million objects are written by it, so it
// formats nothing and makes no texts on the way.
type text []byte

func (t *text) put(parts ...string) {
	for _, part := range parts {
		*t = append(*t, part...)
	}
}

func (t *text) number(n int) { *t = strconv.AppendInt(*t, int64(n), 10) }

// hex writes so many digits of a number.
func (t *text) hex(digits, n int) {
	const base = 16
	from := len(*t)
	*t = strconv.AppendInt(*t, 1<<(4*digits)+int64(n), base)
	*t = append((*t)[:from], (*t)[from+1:]...)
}

// json writes the object as an API server does. Items of lists come without kind and
// apiVersion.
func (t *text) json(o object, item bool) {
	k := kinds[o.kind]
	t.put("{")
	if !item {
		t.put(`"kind":"`, k.name, `","apiVersion":"`, k.apiVersion(), `",`)
	}
	t.metadata(o)
	t.body(o)
	t.put("}")
}

// partial writes an object without all but its metadata.
func (t *text) partial(o object, item bool) {
	t.put("{")
	if !item {
		t.put(`"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1",`)
	}
	t.metadata(o)
	t.put("}")
}

func (t *text) metadata(o object) {
	k := kinds[o.kind]
	t.put(`"metadata":{"name":"`)
	t.name(o)
	t.put(`",`)
	if k.namespaced {
		t.put(`"namespace":"`, o.namespace(), `",`)
	}
	t.put(`"uid":"`)
	t.uid(o)
	t.put(`","resourceVersion":"`)
	*t = strconv.AppendUint(*t, o.resourceVersion, 10)
	t.put(`","generation":1,"creationTimestamp":"2026-11-01T08:00:`)
	t.number(10 + o.number%50)
	t.put(`Z","labels":{`)
	if k.managed {
		t.put(`"app":"`, o.base(), `","`, managedBy, `":"spinnaker","app.kubernetes.io/name":"`, o.app(), `"`)
		if o.templated() {
			t.put(`,"pod-template-hash":"`)
			t.number(firstHash + o.application())
			t.put(`"`)
		}
	} else {
		t.put(`"kubernetes.io/metadata.name":"`)
		t.name(o)
		t.put(`"`)
	}
	t.put("}")
	if k.managed {
		t.put(`,"annotations":{"artifact.spinnaker.io/location":"`, o.namespace(), `","artifact.spinnaker.io/name":"`, o.base(), `","artifact.spinnaker.io/type":"kubernetes/`, k.singular,
			`","moniker.spinnaker.io/application":"`, o.app(), `","moniker.spinnaker.io/cluster":"`)
		t.cluster(o)
		t.put(`"}`)
	}
	if owner, ok := o.owner(); ok {
		t.put(`,"ownerReferences":[{"apiVersion":"apps/v1","kind":"`, kinds[owner.kind].name, `","name":"`)
		t.name(owner)
		t.put(`","uid":"`)
		t.uid(owner)
		t.put(`","controller":true,"blockOwnerDeletion":true}]`)
	}
	if k.managed {
		t.put(`,"managedFields":[{"manager":"go-clouddriver","operation":"Update","apiVersion":"apps/v1","time":"2026-11-01T08:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:annotations":{".":{},"f:artifact.spinnaker.io/location":{},"f:artifact.spinnaker.io/name":{},"f:moniker.spinnaker.io/application":{},"f:moniker.spinnaker.io/cluster":{}},"f:labels":{".":{},"f:app":{},"f:app.kubernetes.io/managed-by":{},"f:app.kubernetes.io/name":{}}},"f:spec":{"f:replicas":{},"f:selector":{},"f:template":{"f:metadata":{"f:labels":{"f:app":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"main\"}":{".":{},"f:image":{},"f:imagePullPolicy":{},"f:name":{},"f:ports":{},"f:resources":{}}},"f:dnsPolicy":{},"f:restartPolicy":{}}}}}}]`)
	}
	t.put("}")
}

func (t *text) name(o object) {
	switch o.kind {
	case namespaces:
		t.put([...]string{"kube-system", "default", "team-0", "team-1", "team-2", "team-3", "team-4", "team-5", "team-6", "team-7"}[o.number])
	case definitions:
		t.put("things")
		t.number(o.number)
		t.put(".", ownGroup)
	case apiServices:
		t.put([...]string{"v1.", "v1.apps", "v1.batch", "v1.networking.k8s.io", "v1." + ownGroup}[o.number])
	case replicaSets:
		t.put(o.base(), "-v00")
		t.number(o.ordinal())
	case pods:
		t.put(o.base(), "-v001-")
		*t = strconv.AppendInt(*t, 0x10000+int64(o.ordinal())*2741, 16)
	default:
		t.put(o.base())
		if kinds[o.kind].each > 1 {
			t.put("-")
			t.number(o.ordinal())
		}
	}
}

func (t *text) uid(o object) {
	t.hex(8, o.cluster.Number+1)
	t.put("-")
	t.hex(4, o.kind+1)
	t.put("-4000-8000-")
	t.hex(12, o.number+1)
}

// cluster writes Spinnaker's cluster of the object. StatefulSets and daemonSets are
// alone in theirs.
func (t *text) cluster(o object) {
	if o.templated() {
		t.put("replicaSet ", o.base())
		return
	}
	k := kinds[o.kind]
	t.put(k.lower, k.name[1:], " ")
	t.name(o)
}

func (t *text) image(o object) {
	t.put("registry.example.com/team/", o.app(), ":1.")
	t.number(o.application())
	t.put(".0")
}

func (t *text) containers(o object) {
	t.put(`"containers":[{"name":"main","image":"`)
	t.image(o)
	t.put(`","ports":[{"name":"http","containerPort":8080,"protocol":"TCP"}],"env":[{"name":"ENVIRONMENT","value":"production"},{"name":"JAVA_OPTS","value":"-XX:MaxRAMPercentage=75"}],"resources":{"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"100m","memory":"512Mi"}},"livenessProbe":{"httpGet":{"path":"/health","port":8080,"scheme":"HTTP"},"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent"}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","securityContext":{},"schedulerName":"default-scheduler"`)
}

func (t *text) template(o object) {
	t.put(`"template":{"metadata":{"labels":{"app":"`, o.base(), `","app.kubernetes.io/managed-by":"spinnaker","app.kubernetes.io/name":"`, o.app(), `"}},"spec":{`)
	t.containers(o)
	t.put(`}}`)
}

// selector begins the spec of what selects pods and makes them from a template.
func (t *text) selector(o object) {
	t.put(`"selector":{"matchLabels":{"app":"`, o.base(), `"}},`)
	t.template(o)
}

// body writes the spec and the status, with a comma before.
func (t *text) body(o object) {
	flips := o.revision % 2
	switch o.kind {
	case deployments:
		t.put(`,"spec":{"replicas":22,`)
		t.selector(o)
		t.put(`,"strategy":{"type":"RollingUpdate"},"revisionHistoryLimit":10},"status":{"observedGeneration":`)
		t.number(o.revision + 1)
		t.put(`,"replicas":22,"updatedReplicas":22,"readyReplicas":`)
		t.number(22 - flips)
		t.put(`,"availableReplicas":22}`)
	case replicaSets:
		t.replicaSet(o)
	case pods:
		t.pod(o)
	case services:
		t.put(`,"spec":{"ports":[{"name":"http","protocol":"TCP","port":80,"targetPort":8080}],"selector":{"app":"`, o.base(), `"},"clusterIP":"10.2.`)
		t.number(o.number / 250)
		t.put(`.`)
		t.number(o.number % 250)
		t.put(`","type":"ClusterIP","sessionAffinity":"None"},"status":{"loadBalancer":{}}`)
	case ingresses:
		t.put(`,"spec":{"rules":[{"host":"`, o.base(), `.example.com","http":{"paths":[{"path":"/","pathType":"Prefix","backend":{"service":{"name":"`, o.base(), `-0","port":{"number":80}}}}]}}]},"status":{"loadBalancer":{}}`)
	case statefulSets:
		t.put(`,"spec":{"replicas":3,`)
		t.selector(o)
		t.put(`,"serviceName":"`, o.base(), `","podManagementPolicy":"OrderedReady"},"status":{"observedGeneration":1,"replicas":3,"readyReplicas":`)
		t.number(3 - flips)
		t.put(`,"collisionCount":0}`)
	case daemonSets:
		t.put(`,"spec":{`)
		t.selector(o)
		t.put(`,"updateStrategy":{"type":"RollingUpdate"}},"status":{"currentNumberScheduled":50,"numberMisscheduled":0,"desiredNumberScheduled":50,"numberReady":`)
		t.number(50 - flips)
		t.put(`,"observedGeneration":1}`)
	case networkPolicies:
		t.put(`,"spec":{"podSelector":{"matchLabels":{"app":"`, o.base(), `"}},"policyTypes":["Ingress"]}`)
	case jobs:
		t.put(`,"spec":{"parallelism":1,"completions":1,"backoffLimit":6,`)
		t.template(o)
		t.put(`},"status":{"startTime":"2026-11-01T08:00:00Z","active":`)
		t.number(flips)
		t.put(`}`)
	case cronJobs:
		t.put(`,"spec":{"schedule":"*/5 * * * *","concurrencyPolicy":"Allow","suspend":false,"jobTemplate":{"spec":{`)
		t.template(o)
		t.put(`}}},"status":{}`)
	case namespaces:
		t.put(`,"spec":{"finalizers":["kubernetes"]},"status":{"phase":"Active"}`)
	default:
		t.put(`,"spec":{},"status":{}`)
	}
}

func (t *text) replicaSet(o object) {
	replicas := 22 * o.ordinal()
	t.put(`,"spec":{"replicas":`)
	t.number(replicas)
	t.put(`,`)
	t.selector(o)
	t.put(`},"status":{"replicas":`)
	t.number(replicas)
	t.put(`,"fullyLabeledReplicas":`)
	t.number(replicas)
	t.put(`,"readyReplicas":`)
	t.number(max(replicas-o.revision%2, 0))
	t.put(`,"observedGeneration":1}`)
}

func (t *text) pod(o object) {
	t.put(`,"spec":{`)
	t.containers(o)
	t.put(`,"nodeName":"node-`)
	t.number(o.number % 50)
	t.put(`","serviceAccountName":"default"},"status":{"phase":"Running","conditions":[{"type":"Initialized","status":"True","lastProbeTime":null,"lastTransitionTime":"2026-11-01T08:00:00Z"},{"type":"Ready","status":"True","lastProbeTime":null,"lastTransitionTime":"2026-11-01T08:00:00Z"},{"type":"ContainersReady","status":"True","lastProbeTime":null,"lastTransitionTime":"2026-11-01T08:00:00Z"},{"type":"PodScheduled","status":"True","lastProbeTime":null,"lastTransitionTime":"2026-11-01T08:00:00Z"}],"hostIP":"10.0.0.1","podIP":"10.1.`)
	t.number(o.number / 250)
	t.put(`.`)
	t.number(o.number % 250)
	t.put(`","startTime":"2026-11-01T08:00:00Z","containerStatuses":[{"name":"main","state":{"running":{"startedAt":"2026-11-01T08:00:10Z"}},"lastState":{},"ready":`)
	*t = strconv.AppendBool(*t, o.revision%2 == 0)
	t.put(`,"restartCount":`)
	t.number(o.revision)
	t.put(`,"image":"`)
	t.image(o)
	t.put(`","imageID":"","containerID":"containerd://0","started":true}],"qosClass":"Burstable"}`)
}
