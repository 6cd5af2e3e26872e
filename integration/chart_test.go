package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/loader"
	"helm.sh/helm/v4/pkg/cli"
	"helm.sh/helm/v4/pkg/kube"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/datapunchorg/go-clouddriver/localkube"
)

// helmed is one release on a control plane.
type helmed struct {
	t         *testing.T
	c         *localkube.Cluster
	namespace string
	config    *action.Configuration
}

const (
	chartPath   = "../helm/clouddriver"
	releaseName = "cd"
)

// newHelmed makes a namespace that enforces the level restricted of the Pod
// Security Standards.
func newHelmed(t *testing.T, c *localkube.Cluster, name string) *helmed {
	t.Helper()
	namespace(t, name, c)
	apply(t, c, "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+name+", labels: {pod-security.kubernetes.io/enforce: restricted}}\n")
	settings := cli.New()
	settings.KubeConfig = filepath.Join(t.TempDir(), "kubeconfig")
	settings.SetNamespace(name)
	if err := localkube.WriteKubeconfig(settings.KubeConfig, c); err != nil {
		t.Fatal(err)
	}
	h := &helmed{t: t, c: c, namespace: name, config: action.NewConfiguration()}
	if err := h.config.Init(settings.RESTClientGetter(), name, "secret"); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *helmed) install(values map[string]any) {
	h.t.Helper()
	chart, err := loader.Load(chartPath)
	if err != nil {
		h.t.Fatal(err)
	}
	install := action.NewInstall(h.config)
	install.ReleaseName, install.Namespace, install.WaitStrategy = releaseName, h.namespace, kube.HookOnlyStrategy
	if _, err := install.Run(chart, values); err != nil {
		h.t.Fatal("install:", err)
	}
	h.t.Cleanup(func() {
		uninstall := action.NewUninstall(h.config)
		uninstall.WaitStrategy = kube.HookOnlyStrategy
		if _, err := uninstall.Run(releaseName); err != nil {
			h.t.Error("uninstall:", err)
		}
	})
}

func (h *helmed) upgrade(values map[string]any) {
	h.t.Helper()
	chart, err := loader.Load(chartPath)
	if err != nil {
		h.t.Fatal(err)
	}
	upgrade := action.NewUpgrade(h.config)
	upgrade.Namespace, upgrade.WaitStrategy = h.namespace, kube.HookOnlyStrategy
	if _, err := upgrade.Run(releaseName, chart, values); err != nil {
		h.t.Fatal("upgrade:", err)
	}
}

func (h *helmed) rollback() {
	h.t.Helper()
	rollback := action.NewRollback(h.config)
	rollback.WaitStrategy = kube.HookOnlyStrategy
	if err := rollback.Run(releaseName); err != nil {
		h.t.Fatal("roll back:", err)
	}
}

// deployed is what the release's deployment says of itself.
type deployed struct {
	Metadata struct{ Generation int64 }
	Spec     struct {
		Replicas int
		Template struct {
			Metadata struct{ Annotations map[string]string }
		}
	}
	Status struct {
		ObservedGeneration                                          int64
		Replicas, UpdatedReplicas, ReadyReplicas, AvailableReplicas int
	}
}

func (h *helmed) deployment() deployed {
	h.t.Helper()
	var d deployed
	out := call(h.t, h.c, http.MethodGet, "/apis/apps/v1/namespaces/"+h.namespace+"/deployments/spin-clouddriver-go", "", "")
	if err := json.Unmarshal(out, &d); err != nil {
		h.t.Fatal(err)
	}
	return d
}

// rolledOut waits until every replica is of the newest template and available,
// and no other is left.
func (h *helmed) rolledOut(within time.Duration) {
	h.t.Helper()
	eventually(h.t, within, func() error {
		d := h.deployment()
		if s := d.Status; s.ObservedGeneration < d.Metadata.Generation || s.Replicas != d.Spec.Replicas || s.UpdatedReplicas != d.Spec.Replicas || s.AvailableReplicas != d.Spec.Replicas {
			return fmt.Errorf("%+v", d.Status)
		}
		return nil
	})
}

// monitoringKinds are the two kinds of the Prometheus operator that the chart
// uses.
const monitoringKinds = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: servicemonitors.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  scope: Namespaced
  names: {plural: servicemonitors, singular: servicemonitor, kind: ServiceMonitor}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: prometheusrules.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  scope: Namespaced
  names: {plural: prometheusrules, singular: prometheusrule, kind: PrometheusRule}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`

// TestChart_ExamplesAreInstalledUpgradedAndRolledBack: each example is accepted by
// the API server, and its pods by the level restricted.
func TestChart_ExamplesAreInstalledUpgradedAndRolledBack(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	apply(t, c, monitoringKinds)
	t.Cleanup(func() {
		for _, kind := range []string{"servicemonitors", "prometheusrules"} {
			call(t, c, http.MethodDelete, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"+kind+".monitoring.coreos.com", "application/json", "")
		}
	})
	eventually(t, 30*time.Second, func() error {
		_, err := c.Call(context.Background(), http.MethodGet, "/apis/monitoring.coreos.com/v1/prometheusrules", "", nil)
		return err
	})
	namespace(t, "team-a", c)
	namespace(t, "team-b", c)
	files, err := filepath.Glob(chartPath + "/examples/*.yaml")
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	for i, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			values, err := common.ReadValuesFile(file)
			if err != nil {
				t.Fatal(err)
			}
			h := newHelmed(t, c, fmt.Sprintf("chart-%d", i))
			h.install(values)
			accepted := func(template string) {
				t.Helper()
				eventually(t, time.Minute, func() error {
					d := h.deployment()
					if got := d.Spec.Template.Metadata.Annotations["test"]; got != template {
						return fmt.Errorf("the template is that of %q", got)
					}
					// The claim of SQLite is bound by nobody here, so pods are counted, not ready ones.
					if d.Status.ObservedGeneration < d.Metadata.Generation || d.Status.UpdatedReplicas != d.Spec.Replicas || d.Spec.Replicas == 0 {
						return fmt.Errorf("%+v", d.Status)
					}
					return nil
				})
			}
			accepted("")
			changed, err := common.ReadValuesFile(file)
			if err != nil {
				t.Fatal(err)
			}
			changed["podAnnotations"] = map[string]any{"test": "changed"}
			h.upgrade(changed)
			accepted("changed")
			h.rollback()
			accepted("")
		})
	}
}

// balanced calls the endpoints of a service as those who go through kube-proxy do.
type balanced struct {
	c         *localkube.Cluster
	namespace string
	client    http.Client
	addresses atomic.Pointer[[]string]
}

func (b *balanced) follow(ctx context.Context) {
	for ctx.Err() == nil {
		out, err := b.c.Call(ctx, http.MethodGet, "/apis/discovery.k8s.io/v1/namespaces/"+b.namespace+"/endpointslices", "", nil)
		var list discoveryv1.EndpointSliceList
		if err == nil && json.Unmarshal(out, &list) == nil {
			addresses := []string{}
			for _, slice := range list.Items {
				for _, e := range slice.Endpoints {
					if e.Conditions.Ready != nil && *e.Conditions.Ready {
						addresses = append(addresses, "http://"+e.Addresses[0]+":7002")
					}
				}
			}
			b.addresses.Store(&addresses)
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (b *balanced) any() (string, error) {
	all := *b.addresses.Load()
	if len(all) == 0 {
		return "", errors.New("the service has no endpoint")
	}
	return all[rand.IntN(len(all))], nil
}

func (b *balanced) do(method, path, body string) (response, error) {
	at, err := b.any()
	if err != nil {
		return response{}, err
	}
	req, err := http.NewRequest(method, at+path, strings.NewReader(body))
	if err != nil {
		return response{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := b.client.Do(req)
	if err != nil {
		return response{}, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	return response{res.StatusCode, res.Header, string(text)}, err
}

// traffic is what goes through the service meanwhile.
type traffic struct {
	reads, failedReads, again atomic.Int64
	mu                        sync.Mutex
	failures                  []string
	tasks                     map[string]string // id by the object's name
}

func (l *traffic) failed(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures = append(l.failures, fmt.Sprintf(format, args...))
}

func (l *traffic) read(ctx context.Context, b *balanced) {
	for ctx.Err() == nil {
		for _, path := range []string{"/applications", "/credentials", "/applications/rolled/serverGroups", "/ui/accounts"} {
			r, err := b.do(http.MethodGet, path, "")
			l.reads.Add(1)
			if err != nil || r.status != http.StatusOK {
				l.failedReads.Add(1)
				l.failed("GET %s: %d %v %.200s", path, r.status, err, r.body)
			}
		}
	}
}

// write deploys one config map after the other, and repeats as Orca does: what
// is answered 503, and nothing whose connection broke.
func (l *traffic) write(ctx context.Context, b *balanced, worker int) {
	for i := 0; ctx.Err() == nil; i++ {
		name := fmt.Sprintf("rolled-%d-%d", worker, i)
		body := fmt.Sprintf(`[{"deployManifest":{"account":"in-cluster","moniker":{"app":"rolled"},"manifests":[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q,"namespace":"rolled-target","annotations":{"strategy.spinnaker.io/versioned":"false"}},"data":{"k":"v"}}]}}]`, name)
		for {
			r, err := b.do(http.MethodPost, "/kubernetes/ops?clientRequestId="+url.QueryEscape(name), body)
			if err == nil && r.status == http.StatusServiceUnavailable {
				l.again.Add(1)
				time.Sleep(100 * time.Millisecond) // as Orca waits
				continue
			}
			var answer struct{ ID string }
			if err != nil || json.Unmarshal([]byte(r.body), &answer) != nil || answer.ID == "" {
				l.failed("POST: %d %v %.200s", r.status, err, r.body)
				break
			}
			l.mu.Lock()
			l.tasks[name] = answer.ID
			l.mu.Unlock()
			break
		}
	}
}

// TestChart_UpgradeUnderLoadLosesNothing: two replicas on MySQL, as the chart has
// them, are upgraded and rolled back while reads and operations go through the
// service's endpoints.
func TestChart_UpgradeUnderLoadLosesNothing(t *testing.T) {
	t.Parallel() // the image is there when the others are over
	imageBuilt(t)
	c := pool.Shared(t, 1)[0]
	env := mysqlEnv(t)
	namespace(t, "rolled-target", c)
	h := newHelmed(t, c, "rolled")
	startPodRunner(t, c)
	apply(t, c, "apiVersion: v1\nkind: Secret\nmetadata: {name: mysql, namespace: rolled}\nstringData: {password: "+env["DB_PASS"]+"}\n")
	apply(t, c, deployment("rolled-target", "rolled", 2))
	repository, tag, _ := strings.Cut(imageName, ":")
	values := func(revision string) map[string]any {
		return map[string]any{
			"image": map[string]any{"repository": repository, "tag": tag, "pullPolicy": "Never"}, "replicaCount": 2,
			"nodeSelector": map[string]any{"kubernetes.io/hostname": podNode}, "podAnnotations": map[string]any{"revision": revision},
			"database":  map[string]any{"type": "mysql", "mysql": map[string]any{"host": env["DB_HOST"], "port": json.Number(env["DB_PORT"]), "name": env["DB_NAME"], "user": env["DB_USER"], "passwordSecret": map[string]any{"name": "mysql"}}},
			"stopping":  map[string]any{"preStopSeconds": 3, "tasksSeconds": 60},
			"resources": map[string]any{"limits": map[string]any{"memory": "512Mi"}},
		}
	}
	h.install(values("1"))
	h.rolledOut(2 * time.Minute)

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b := &balanced{c: c, namespace: "rolled", client: http.Client{Timeout: 20 * time.Second}}
	b.addresses.Store(&[]string{})
	var working sync.WaitGroup
	working.Go(func() { b.follow(ctx) })
	eventually(t, time.Minute, func() error {
		r, err := b.do(http.MethodGet, "/metrics", "")
		if err == nil && !strings.Contains(r.body, `clouddriver_account_stale{account="in-cluster"} 0`) {
			err = errors.New("the in-cluster account is not in touch with all that it watches")
		}
		return err
	})
	l := &traffic{tasks: map[string]string{}}
	loading, stop := context.WithCancel(ctx)
	var callers sync.WaitGroup
	for range 3 {
		callers.Go(func() { l.read(loading, b) })
	}
	for i := range 2 {
		callers.Go(func() { l.write(loading, b, i) })
	}
	h.upgrade(values("2"))
	h.rolledOut(3 * time.Minute)
	h.rollback()
	h.rolledOut(3 * time.Minute)
	stop()
	callers.Wait()
	eventually(t, time.Minute, func() error {
		for name, id := range l.tasks {
			r, err := b.do(http.MethodGet, "/task/"+id, "")
			var d struct {
				Status struct{ Completed, Failed bool }
			}
			if err != nil || json.Unmarshal([]byte(r.body), &d) != nil || !d.Status.Completed {
				return errors.Join(fmt.Errorf("task of %s: %s", name, r.body), err)
			}
			if d.Status.Failed {
				l.failed("task of %s: %s", name, r.body)
			}
		}
		return nil
	})
	written := map[string]int{}
	for next := "/applications/rolled/history?pageSize=1000"; next != ""; {
		r, err := b.do(http.MethodGet, next, "")
		var page struct {
			Writes []struct{ Name string }
			Next   string
		}
		if err != nil || json.Unmarshal([]byte(r.body), &page) != nil {
			t.Fatal(err, r.body)
		}
		for _, w := range page.Writes {
			written[strings.TrimPrefix(w.Name, "configMap ")]++
		}
		next = page.Next
	}
	lost, doubled := 0, 0
	for name := range l.tasks {
		switch n := written[name]; {
		case n == 0:
			lost++
		case n > 1:
			doubled++
		}
	}
	cancel()
	working.Wait()
	t.Logf("%d reads, %d failed; %d tasks, %d lost, %d doubled; %d operations were answered 503 and repeated", l.reads.Load(), l.failedReads.Load(), len(l.tasks), lost, doubled, l.again.Load())
	if l.reads.Load() < 1000 || len(l.tasks) < 50 || lost > 0 || doubled > 0 || len(l.failures) > 0 {
		t.Errorf("%d failures, the first: %.2000q", len(l.failures), l.failures[:min(len(l.failures), 5)])
	}
}
