package index

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"
	"unique"

	"google.golang.org/protobuf/encoding/protowire"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// fields calls f for each field of a message that has a length, and for its numbers.
func fields(raw []byte, f func(number protowire.Number, value []byte, n uint64) error) error {
	for len(raw) > 0 {
		number, kind, size := protowire.ConsumeTag(raw)
		if size < 0 {
			return protowire.ParseError(size)
		}
		raw = raw[size:]
		var value []byte
		var n uint64
		switch kind {
		case protowire.BytesType:
			value, size = protowire.ConsumeBytes(raw)
		case protowire.VarintType:
			n, size = protowire.ConsumeVarint(raw)
		default:
			size = protowire.ConsumeFieldValue(number, kind, raw)
		}
		if size < 0 {
			return protowire.ParseError(size)
		}
		raw = raw[size:]
		if err := f(number, value, n); err != nil {
			return err
		}
	}
	return nil
}

// readPod reads of a pod in protobuf what is read of one in JSON. The numbers are those
// of k8s.io/api/core/v1/generated.proto and k8s.io/apimachinery/pkg/apis/meta/v1.
func (w *wireObject) readPod(raw []byte) error {
	return fields(raw, func(number protowire.Number, value []byte, _ uint64) error {
		switch number {
		case 1: // metadata
			return w.readMeta(value)
		case 3: // status
			return w.readStatus(value)
		}
		return nil
	})
}

func (w *wireObject) readMeta(raw []byte) error {
	entry := func(raw []byte) (p wirePair, err error) {
		err = fields(raw, func(number protowire.Number, value []byte, _ uint64) error {
			if number == 1 {
				p.key = value
			} else {
				p.value = value
			}
			return nil
		})
		return p, err
	}
	return fields(raw, func(number protowire.Number, value []byte, _ uint64) error {
		switch number {
		case 1:
			w.name = value
		case 3:
			w.namespace = value
		case 5:
			w.uid = value
		case 6:
			w.version = value
		case 8: // creationTimestamp: seconds
			return fields(value, func(number protowire.Number, _ []byte, n uint64) error {
				if number == 1 {
					w.created = time.Unix(int64(n), 0).UTC().AppendFormat(nil, time.RFC3339)
				}
				return nil
			})
		case 9:
			w.deleted = value
		case 11:
			p, err := entry(value)
			w.labels = append(w.labels, p)
			return err
		case 12:
			p, err := entry(value)
			if spinnaker.ReadsAnnotation(p.key) {
				w.annotations[w.common.text(p.key)] = w.common.text(p.value)
			}
			return err
		case 13:
			w.owners = append(w.owners, wireOwner{})
			o := &w.owners[len(w.owners)-1]
			return fields(value, func(number protowire.Number, value []byte, _ uint64) error {
				switch number {
				case 1:
					o.kind = value
				case 3:
					o.name = value
				case 4:
					o.uid = value
				case 5:
					o.apiVersion = value
				}
				return nil
			})
		}
		return nil
	})
}

func (w *wireObject) readStatus(raw []byte) error {
	var containers []wireContainer
	var phase []byte
	err := fields(raw, func(number protowire.Number, value []byte, _ uint64) error {
		switch number {
		case 1:
			phase = value
		case 8:
			containers = append(containers, wireContainer{})
			c := &containers[len(containers)-1]
			return fields(value, func(number protowire.Number, value []byte, n uint64) error {
				switch number {
				case 1:
					c.name = value
				case 4:
					c.ready = n == 1
				}
				return nil
			})
		}
		return nil
	})
	w.healthOf(phase, containers)
	return err
}

// typicalPod is one as a deployment of Spinnaker has it.
func typicalPod(n int) *corev1.Pod {
	yes := true
	name := fmt.Sprintf("web-7654321-%05d", n)
	now := metav1.NewTime(time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC))
	written := `{"f:metadata":{"f:annotations":{".":{},"f:moniker.spinnaker.io/application":{}},"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"main\"}":{".":{},"f:image":{},"f:imagePullPolicy":{},"f:name":{},"f:ports":{},"f:resources":{}}},"f:dnsPolicy":{},"f:restartPolicy":{}},"f:status":{"f:conditions":{},"f:containerStatuses":{},"f:phase":{},"f:podIP":{}}}`
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: "team", UID: "01234567-89ab-cdef-0123-456789abcdef", ResourceVersion: "123456", CreationTimestamp: now,
			Labels:          map[string]string{"app": "web", "app.kubernetes.io/managed-by": "spinnaker", "app.kubernetes.io/name": "web", "pod-template-hash": "7654321"},
			Annotations:     map[string]string{"moniker.spinnaker.io/application": "web", "moniker.spinnaker.io/cluster": "deployment web", "artifact.spinnaker.io/name": "web", "artifact.spinnaker.io/type": "kubernetes/deployment"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-7654321", UID: "11234567-89ab-cdef-0123-456789abcdef", Controller: &yes}},
			ManagedFields:   []metav1.ManagedFieldsEntry{{Manager: "kubelet", Operation: "Update", APIVersion: "v1", Time: &now, FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(written)}},
		},
		Spec: corev1.PodSpec{
			NodeName: "node-1", ServiceAccountName: "default", RestartPolicy: corev1.RestartPolicyAlways, DNSPolicy: corev1.DNSClusterFirst, SchedulerName: "default-scheduler",
			Containers: []corev1.Container{{
				Name: "main", Image: "registry.example.com/team/web:1.0.0", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080, Protocol: "TCP"}},
				Env: []corev1.EnvVar{{Name: "ENVIRONMENT", Value: "production"}, {Name: "JAVA_OPTS", Value: "-XX:MaxRAMPercentage=75"}}, ImagePullPolicy: corev1.PullIfNotPresent,
				TerminationMessagePath: "/dev/termination-log", TerminationMessagePolicy: corev1.TerminationMessageReadFile,
			}},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, HostIP: "10.0.0.1", PodIP: "10.1.2.3", StartTime: &now, QOSClass: corev1.PodQOSBurstable,
			Conditions: []corev1.PodCondition{
				{Type: corev1.PodInitialized, Status: corev1.ConditionTrue, LastTransitionTime: now}, {Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: now},
				{Type: corev1.ContainersReady, Status: corev1.ConditionTrue, LastTransitionTime: now}, {Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: now},
			},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "main", Ready: true, Image: "registry.example.com/team/web:1.0.0", ContainerID: "containerd://0", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}}},
		},
	}
}

func decodePod(a *account.Account, kind *Kind, raw []byte) (*Object, error) {
	w := take(kind, raw)
	defer w.leave()
	if err := w.readPod(raw); err != nil {
		return nil, err
	}
	o := w.made()
	o.Stated = w.annotations[spinnaker.AnnotationApplication] != "" && w.annotations[spinnaker.AnnotationCluster] != ""
	o.moniker = unique.Make(spinnaker.MonikerOf(kind.Text, o.Name, w.annotations, a.DeriveNames))
	return o, nil
}

// BenchmarkFormats compares what is read of a pod in JSON with the same of one in
// protobuf: what an API server sends of each, and the time that reading it takes. What
// the two cost an API server is in BenchmarkAll of integration. A list in protobuf
// would still need the decoder of JSON, for custom kinds.
func BenchmarkFormats(b *testing.B) {
	a, kind := &account.Account{DeriveNames: true}, &Kind{Text: "pod", Class: spinnaker.Instances}
	var inJSON, inProtobuf [][]byte
	for n := range 1000 {
		pod := typicalPod(n)
		asJSON, err := json.Marshal(pod)
		if err != nil {
			b.Fatal(err)
		}
		asProtobuf, err := pod.Marshal()
		if err != nil {
			b.Fatal(err)
		}
		inJSON, inProtobuf = append(inJSON, asJSON), append(inProtobuf, asProtobuf)
	}
	decode := objectDecoder(a, kind)
	for n := range inJSON {
		x, err := decode(inJSON[n])
		if err != nil {
			b.Fatal(err)
		}
		y, err := decodePod(a, kind, inProtobuf[n])
		if err != nil || fmt.Sprint(looksOf(x.(*Object))) != fmt.Sprint(looksOf(y)) {
			b.Fatalf("%v\n%+v\n%+v", err, looksOf(x.(*Object)), looksOf(y))
		}
	}
	for name, one := range map[string]struct {
		raw  [][]byte
		read func([]byte)
	}{
		"json":     {inJSON, func(raw []byte) { _, _ = decode(raw) }},
		"protobuf": {inProtobuf, func(raw []byte) { _, _ = decodePod(a, kind, raw) }},
	} {
		b.Run(name, func(b *testing.B) {
			n := 0
			for b.Loop() {
				one.read(one.raw[n%len(one.raw)])
				n++
			}
			b.ReportMetric(float64(len(one.raw[0])), "bytes/object")
		})
	}
}
