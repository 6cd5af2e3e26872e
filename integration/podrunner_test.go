package integration

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/datapunchorg/go-clouddriver/localkube"
)

// podRunner is a node whose pods run as containers of the local engine: as much
// of a kubelet as a deployment's roll-out needs. It does readiness probes over HTTP,
// preStop sleeps, the grace period, mounted secrets, config maps, claims and service account
// tokens, and the security context.
type podRunner struct {
	t       *testing.T
	c       *localkube.Cluster
	host    string // of the API server, as containers reach it
	port    string
	dir     string
	stop    context.CancelFunc
	running sync.WaitGroup

	mu   sync.Mutex
	pods map[string]context.CancelFunc // by UID
}

const (
	podNode = "containers"
	// podPoll is how often the runner looks for what it has to do.
	podPoll = 200 * time.Millisecond
)

func startPodRunner(t *testing.T, c *localkube.Cluster) *podRunner {
	t.Helper()
	host, port, _ := strings.Cut(strings.TrimPrefix(reachable(t, c).URL, "https://"), ":")
	ctx, cancel := context.WithCancel(context.Background())
	r := &podRunner{t: t, c: c, host: host, port: port, dir: t.TempDir(), stop: cancel, pods: map[string]context.CancelFunc{}}
	if err := os.Chmod(r.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	room := map[string]string{"cpu": "100", "memory": "100Gi", "pods": "100"}
	r.write(http.MethodPost, "/api/v1/nodes", map[string]any{
		"apiVersion": "v1", "kind": "Node", "metadata": map[string]any{"name": podNode, "labels": map[string]string{"kubernetes.io/hostname": podNode}},
		"status": map[string]any{"allocatable": room, "capacity": room},
	})
	r.beat()
	r.running.Go(func() { r.every(ctx, 5*time.Second, r.beat) })
	r.running.Go(func() { r.every(ctx, podPoll, func() { r.look(ctx) }) })
	t.Cleanup(func() {
		cancel()
		r.running.Wait()
		call(t, c, http.MethodDelete, "/api/v1/nodes/"+podNode, "application/json", "")
	})
	return r
}

func (r *podRunner) every(ctx context.Context, pause time.Duration, do func()) {
	for {
		do()
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// write sends an object; what fails is seen by whoever waits for it.
func (r *podRunner) write(method, path string, object any) {
	body, err := json.Marshal(object)
	if err == nil {
		contentType := "application/json"
		if method == http.MethodPatch {
			contentType = "application/strategic-merge-patch+json"
		}
		_, err = r.c.Call(context.Background(), method, path, contentType, body)
	}
	if err != nil && !strings.Contains(err.Error(), "not found") && !strings.Contains(err.Error(), "already exists") {
		r.t.Log("pod runner:", err)
	}
}

// beat keeps the node ready.
func (r *podRunner) beat() {
	now := time.Now().UTC().Format(time.RFC3339)
	r.write(http.MethodPatch, "/api/v1/nodes/"+podNode+"/status", map[string]any{"status": map[string]any{"conditions": []any{
		map[string]any{"type": "Ready", "status": "True", "reason": "Runs", "lastHeartbeatTime": now},
	}}})
}

// look begins what is bound to the node and new, and ends what is to go.
func (r *podRunner) look(ctx context.Context) {
	out, err := r.c.Call(ctx, http.MethodGet, "/api/v1/pods?fieldSelector=spec.nodeName%3D"+podNode, "", nil)
	if err != nil {
		return // it is asked again
	}
	var list corev1.PodList
	if err := json.Unmarshal(out, &list); err != nil {
		r.t.Error(err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := map[string]bool{}
	for _, pod := range list.Items {
		uid := string(pod.UID)
		seen[uid] = true
		end, known := r.pods[uid]
		switch {
		case !known:
			going, cancel := context.WithCancel(context.Background())
			r.pods[uid] = cancel
			r.running.Go(func() { r.run(ctx, going, &pod) })
		case pod.DeletionTimestamp != nil:
			end()
		}
	}
	for uid, end := range r.pods {
		if !seen[uid] {
			end()
		}
	}
}

func podPath(p *corev1.Pod) string { return "/api/v1/namespaces/" + p.Namespace + "/pods/" + p.Name }

// run is the life of a pod: until it is to go, or the test is over.
func (r *podRunner) run(ctx, going context.Context, pod *corev1.Pod) {
	name := "pod-" + string(pod.UID)
	args, err := r.arguments(ctx, name, pod)
	if err != nil {
		r.t.Log("pod runner:", pod.Name, err)
		return
	}
	if out, err := exec.Command("docker", args...).CombinedOutput(); err != nil {
		r.t.Log("pod runner:", pod.Name, err, string(out))
		return
	}
	defer func() { _ = exec.Command("docker", "rm", "-f", name).Run() }() // it may be gone
	address, err := exec.Command("docker", "inspect", name, "--format", "{{.NetworkSettings.IPAddress}}").Output()
	if err != nil {
		r.t.Log("pod runner:", pod.Name, err)
		return
	}
	ip := strings.TrimSpace(string(address))
	main := pod.Spec.Containers[0]
	ready := r.probe(main.ReadinessProbe, ip)
	r.report(pod, ip, ready)
	period := time.Duration(main.ReadinessProbe.PeriodSeconds) * time.Second
	failures := 0
	next := time.Now()
	for going.Err() == nil && ctx.Err() == nil {
		select {
		case <-going.Done():
		case <-ctx.Done():
		case <-time.After(time.Until(next)):
		}
		next = time.Now().Add(period)
		if ok := r.probe(main.ReadinessProbe, ip); ok {
			failures = 0
		} else {
			failures++
		}
		if now := failures == 0; now != ready && (now || failures >= int(main.ReadinessProbe.FailureThreshold)) {
			ready = now
			r.report(pod, ip, ready)
		}
	}
	if ctx.Err() == nil {
		r.end(pod, name)
	}
	if r.t.Failed() {
		out, _ := exec.Command("docker", "logs", "--tail", "100", name).CombinedOutput() // what there is of it
		r.t.Logf("log of %s:\n%s", pod.Name, out)
	}
}

// end stops a pod as a kubelet does.
func (r *podRunner) end(pod *corev1.Pod, name string) {
	grace := time.Duration(*pod.Spec.TerminationGracePeriodSeconds) * time.Second
	deadline := time.Now().Add(grace)
	if l := pod.Spec.Containers[0].Lifecycle; l != nil && l.PreStop != nil && l.PreStop.Sleep != nil {
		<-time.After(time.Duration(l.PreStop.Sleep.Seconds) * time.Second)
	}
	seconds := strconv.Itoa(max(1, int(time.Until(deadline).Seconds())))
	_ = exec.Command("docker", "stop", "-t", seconds, name).Run() // it may have ended by itself
	r.write(http.MethodDelete, podPath(pod), map[string]any{"gracePeriodSeconds": 0})
}

func (r *podRunner) probe(p *corev1.Probe, ip string) bool {
	client := http.Client{Timeout: time.Second}
	res, err := client.Get("http://" + ip + ":7002" + p.HTTPGet.Path)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode < http.StatusBadRequest
}

// report tells the API server how the pod is.
func (r *podRunner) report(pod *corev1.Pod, ip string, ready bool) {
	status := map[bool]string{true: "True", false: "False"}[ready]
	now := time.Now().UTC().Format(time.RFC3339)
	r.write(http.MethodPatch, podPath(pod)+"/status", map[string]any{"status": map[string]any{
		"phase": "Running", "podIP": ip, "podIPs": []any{map[string]any{"ip": ip}}, "startTime": now,
		"conditions": []any{
			map[string]any{"type": "Ready", "status": status, "lastTransitionTime": now}, map[string]any{"type": "ContainersReady", "status": status, "lastTransitionTime": now},
			map[string]any{"type": "Initialized", "status": "True", "lastTransitionTime": now},
		},
		"containerStatuses": []any{map[string]any{
			"name": pod.Spec.Containers[0].Name, "image": pod.Spec.Containers[0].Image, "imageID": "x", "ready": ready, "restartCount": 0, "started": true,
			"state": map[string]any{"running": map[string]any{"startedAt": now}},
		}},
	}})
}

// arguments are those of docker run.
func (r *podRunner) arguments(ctx context.Context, name string, pod *corev1.Pod) ([]string, error) {
	main := pod.Spec.Containers[0]
	args := []string{"run", "-d", "--name", name, "--hostname", pod.Name, "-e", "KUBERNETES_SERVICE_HOST=" + r.host, "-e", "KUBERNETES_SERVICE_PORT=" + r.port}
	if s := pod.Spec.SecurityContext; s != nil && s.RunAsUser != nil {
		args = append(args, "--user", fmt.Sprintf("%d:%d", *s.RunAsUser, *s.RunAsGroup))
	}
	if s := main.SecurityContext; s != nil {
		if s.ReadOnlyRootFilesystem != nil && *s.ReadOnlyRootFilesystem {
			args = append(args, "--read-only")
		}
		if s.Capabilities != nil {
			for _, c := range s.Capabilities.Drop {
				args = append(args, "--cap-drop", string(c))
			}
		}
		if s.AllowPrivilegeEscalation != nil && !*s.AllowPrivilegeEscalation {
			args = append(args, "--security-opt", "no-new-privileges")
		}
	}
	if limit := main.Resources.Limits.Memory(); !limit.IsZero() {
		args = append(args, "--memory", strconv.FormatInt(limit.Value(), 10))
	}
	for _, e := range main.Env {
		value := e.Value
		if from := e.ValueFrom; from != nil && from.SecretKeyRef != nil {
			content, err := r.content(ctx, pod.Namespace, "secrets", from.SecretKeyRef.Name)
			if err != nil {
				return nil, err
			}
			value = string(content[from.SecretKeyRef.Key])
		}
		args = append(args, "-e", e.Name+"="+value)
	}
	for _, v := range pod.Spec.Volumes {
		i := slices.IndexFunc(main.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == v.Name })
		if i < 0 {
			continue
		}
		from, err := r.volume(ctx, name, pod, v)
		if err != nil {
			return nil, err
		}
		mount := from + ":" + main.VolumeMounts[i].MountPath
		if main.VolumeMounts[i].ReadOnly {
			mount += ":ro"
		}
		args = append(args, "-v", mount)
	}
	return append(append(args, main.Image), main.Args...), nil
}

// content is what a secret or a config map holds.
func (r *podRunner) content(ctx context.Context, namespace, plural, name string) (map[string][]byte, error) {
	out, err := r.c.Call(ctx, http.MethodGet, "/api/v1/namespaces/"+namespace+"/"+plural+"/"+name, "", nil)
	if err != nil {
		return nil, err
	}
	var o struct{ Data map[string]string }
	if err := json.Unmarshal(out, &o); err != nil {
		return nil, err
	}
	content := map[string][]byte{}
	for key, text := range o.Data {
		content[key] = []byte(text)
		if plural == "secrets" {
			if content[key], err = base64.StdEncoding.DecodeString(text); err != nil {
				return nil, err
			}
		}
	}
	return content, nil
}

// volume is the folder of a volume.
func (r *podRunner) volume(ctx context.Context, name string, pod *corev1.Pod, v corev1.Volume) (string, error) {
	dir := filepath.Join(r.dir, name, v.Name)
	var content map[string][]byte
	var err error
	switch {
	case v.PersistentVolumeClaim != nil:
		dir = filepath.Join(r.dir, "claims", v.PersistentVolumeClaim.ClaimName)
	case v.Secret != nil:
		content, err = r.content(ctx, pod.Namespace, "secrets", v.Secret.SecretName)
	case v.ConfigMap != nil:
		content, err = r.content(ctx, pod.Namespace, "configmaps", v.ConfigMap.Name)
	case v.Projected != nil:
		content, err = r.identity(ctx, pod)
	}
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		return "", err
	}
	for key, text := range content {
		if err := os.WriteFile(filepath.Join(dir, key), text, 0o644); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// identity is the pod's service account.
func (r *podRunner) identity(ctx context.Context, pod *corev1.Pod) (map[string][]byte, error) {
	out, err := r.c.Call(ctx, http.MethodPost, "/api/v1/namespaces/"+pod.Namespace+"/serviceaccounts/"+pod.Spec.ServiceAccountName+"/token", "application/json",
		[]byte(`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"expirationSeconds":3600}}`))
	if err != nil {
		return nil, err
	}
	var asked struct{ Status struct{ Token string } }
	if err := json.Unmarshal(out, &asked); err != nil {
		return nil, err
	}
	return map[string][]byte{"token": []byte(asked.Status.Token), "ca.crt": r.c.CA, "namespace": []byte(pod.Namespace)}, nil
}
