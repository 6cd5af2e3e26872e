package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// orca deploys and waits as Orca does (operations.md 2.4, read-rest.md 1.1),
// only more often.
type orca struct {
	*ops
	polls int
}

const orcaPolls = 50 * time.Millisecond

// until polls until done says so, within Orca's patience made shorter.
func (c *orca) until(t testing.TB, path string, done func(r response) (bool, error)) error {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(orcaPolls) {
		r := c.get(t, path)
		if end, err := done(r); end || err != nil {
			return err
		}
	}
	return errors.New("not within a minute: " + path)
}

// monitor waits for a task as MonitorKatoTask does and returns its outputs.
func (c *orca) monitor(t testing.TB, id string) (result, error) {
	t.Helper()
	var out result
	lost := 0
	return out, c.until(t, "/task/"+id, func(r response) (bool, error) {
		if r.status == http.StatusNotFound {
			if lost++; lost == 30 {
				return false, errors.New("the task is lost")
			}
			return false, nil
		}
		lost = 0
		if r.status != http.StatusOK {
			return false, errors.New(r.body)
		}
		var task struct {
			Status        struct{ Completed, Failed bool }
			ResultObjects []result
		}
		if err := json.Unmarshal([]byte(r.body), &task); err != nil {
			return false, err
		}
		if task.Status.Failed {
			return false, errors.New(task.ResultObjects[len(task.ResultObjects)-1].Message)
		}
		if !task.Status.Completed || len(task.ResultObjects) == 0 {
			return false, nil
		}
		out = task.ResultObjects[0]
		return true, nil
	})
}

// waitStable waits for every object of a deploy as WaitForManifestStableTask
// does.
func (c *orca) waitStable(t testing.TB, names map[string][]string) error {
	t.Helper()
	for namespace, list := range names {
		if namespace == "" {
			namespace = "_"
		}
		for _, full := range list {
			err := c.until(t, escaped("manifests", c.c.Name, namespace, full)+"?includeEvents=true", func(r response) (bool, error) {
				c.polls++
				if r.status != http.StatusOK {
					return false, nil // any error is "not yet"
				}
				var m struct {
					Status   struct{ Stable, Failed struct{ State bool } }
					Warnings []string
					Events   []map[string]any
				}
				if err := json.Unmarshal([]byte(r.body), &m); err != nil {
					return false, err
				}
				if m.Status.Failed.State {
					return false, fmt.Errorf("%s failed: %s", full, r.body)
				}
				return m.Status.Stable.State, nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *orca) deployAndWait(t testing.TB, manifests, fields string) (result, error) {
	t.Helper()
	r, err := c.monitor(t, c.submit(t, c.body(t, "deployManifest", c.deployFields(t, manifests, fields)), ""))
	if err != nil {
		return r, err
	}
	return r, c.waitStable(t, r.ManifestNamesByNamespace)
}

// requestsRead are the reads that a cluster was asked for.
type requestsRead struct {
	events  atomic.Int64
	mu      sync.Mutex
	objects []string
}

func (r *requestsRead) ofObjects() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.objects)
}

type requestKinds struct {
	next  http.RoundTripper
	reads *requestsRead
}

func (k requestKinds) RoundTrip(r *http.Request) (*http.Response, error) {
	switch {
	case r.Method != http.MethodGet || r.URL.Query().Has("watch") || r.URL.Path == "/api" || r.URL.Path == "/apis":
	case strings.HasSuffix(r.URL.Path, "/events"):
		k.reads.events.Add(1)
	default:
		k.reads.mu.Lock()
		k.reads.objects = append(k.reads.objects, r.URL.String())
		k.reads.mu.Unlock()
	}
	return k.next.RoundTrip(r)
}

// TestOrca_DeploysAndWaits runs Orca's loop for every kind of workload, for a
// roll-out that fails, for red/black and for a job.
func TestOrca_DeploysAndWaits(t *testing.T) {
	cluster := pool.Shared(t, 1)[0]
	const name = "orca-loop"
	namespace(t, name, cluster)
	cfg := settings()
	cfg.Kubernetes.Accounts = javaAccounts(cluster)
	var reads requestsRead
	s := startShared(t, storeOptions(t, nil), cfg, func(next http.RoundTripper) http.RoundTripper { return requestKinds{next, &reads} })
	c := &orca{ops: &ops{s.ready(t), cluster, name}}
	pod := "template: {metadata: {labels: {app: %[1]s}}, spec: {containers: [{name: main, image: x}]}}"
	workload := func(kind, name, spec string) string {
		return fmt.Sprintf("apiVersion: apps/v1\nkind: %[1]s\nmetadata: {name: %[2]s, namespace: %[3]s}\nspec: {%[4]s, selector: {matchLabels: {app: %[2]s}}, %[5]s}", kind, name, c.namespace, spec, fmt.Sprintf(pod, name))
	}
	for kind, m := range map[string]string{
		"deployment": workload("Deployment", "d", "replicas: 2"), "replicaSet": workload("ReplicaSet", "r", "replicas: 2"), "statefulSet": workload("StatefulSet", "s", "serviceName: s, replicas: 2"),
		"daemonSet": workload("DaemonSet", "a", "minReadySeconds: 0"), "pod": "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: " + name + "}\nspec: {containers: [{name: main, image: x}]}",
		"cronJob":   "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: c, namespace: " + name + "}\nspec: {schedule: '0 0 1 1 *', jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}}}}",
		"configMap": c.configMap("c", "{a: b}"),
	} {
		t.Run(kind, func(t *testing.T) {
			if _, err := c.deployAndWait(t, m, ""); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("polls of a rollout", func(t *testing.T) {
		c.polls = 0
		id := c.submit(t, c.body(t, "deployManifest", c.deployFields(t, strings.Replace(workload("Deployment", "d", "replicas: 6, minReadySeconds: 2"), "image: x", "image: next", 1), "")), "")
		r, err := c.monitor(t, id)
		if err != nil {
			t.Fatal(err)
		}
		objectsBefore, eventsBefore, begin := len(reads.ofObjects()), reads.events.Load(), time.Now()
		if err := c.waitStable(t, r.ManifestNamesByNamespace); err != nil {
			t.Fatal(err)
		}
		objects := reads.ofObjects()[objectsBefore:]
		o, e, took := len(objects), reads.events.Load()-eventsBefore, time.Since(begin)
		t.Logf("%d polls in %s: %d reads of objects (%.3f per poll), %d reads of events (%.3f per poll)", c.polls, took.Round(time.Millisecond), o, float64(o)/float64(c.polls), e, float64(e)/float64(c.polls))
		if o != 0 || c.polls < 5 {
			t.Errorf("%d reads of objects in %d polls, want none: %q", o, c.polls, objects)
		}
		if most := int64(took/(5*time.Second)) + 2; e > most {
			t.Errorf("%d reads of events, want at most %d", e, most)
		}
	})
	t.Run("a rollout that fails", func(t *testing.T) {
		apply(t, cluster, "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: q, namespace: "+name+"}\nspec: {hard: {count/pods: '0'}}")
		eventually(t, 20*time.Second, func() error {
			if c.live(t, c.core("resourcequotas", "q")).at("status", "hard") == nil {
				return errors.New("the quota is not counted yet")
			}
			return nil
		})
		_, err := c.deployAndWait(t, workload("Deployment", "fails", "replicas: 1, progressDeadlineSeconds: 2"), "")
		if err == nil || !strings.Contains(err.Error(), "Deployment exceeded its progress deadline") {
			t.Error(err)
		}
		call(t, cluster, http.MethodDelete, c.core("resourcequotas", "q"), "application/json", "")
		eventually(t, 20*time.Second, func() error {
			if c.exists(t, c.core("resourcequotas", "q")) {
				return errors.New("the quota is still there")
			}
			return nil
		})
	})
	t.Run("red/black", func(t *testing.T) {
		if _, err := c.deployAndWait(t, c.serviceManifest("lb", "{lb: lb}"), ""); err != nil {
			t.Fatal(err)
		}
		var latest string
		for range 2 {
			r, err := c.deployAndWait(t, workload("ReplicaSet", "rb", "replicas: 2"), "services: [service lb]\nenableTraffic: true\nstrategy: RED_BLACK")
			if err != nil {
				t.Fatal(err)
			}
			latest = "replicaSet " + r.Manifests[0].text("metadata", "name")
			var siblings []struct{ Kind, Name string }
			c.get(t, escaped("manifests", cluster.Name, name, "replicaSet", "cluster", c.namespace, r.Manifests[0].annotation("moniker.spinnaker.io/cluster"))).into(t, &siblings)
			for _, old := range siblings {
				full := old.Kind + " " + old.Name
				if full == latest {
					continue
				}
				if d := c.run(t, "disableManifest", c.target(full)+"app: x"); d.Status.Failed {
					t.Fatal(d.raw)
				}
				if err := c.waitStable(t, map[string][]string{name: {full}}); err != nil {
					t.Error(err)
				}
			}
		}
		var groups []struct {
			Name     string
			Disabled bool
		}
		c.get(t, "/applications/"+c.namespace+"/serverGroups").into(t, &groups)
		for _, g := range groups {
			if strings.HasPrefix(g.Name, "replicaSet rb-") && g.Disabled != (g.Name != latest) {
				t.Errorf("%+v, the latest is %s", g, latest)
			}
		}
	})
	t.Run("a job with a property file", func(t *testing.T) {
		if err := cluster.SetLog("side", "SPINNAKER_PROPERTY_Version=42"); err != nil {
			t.Fatal(err)
		}
		r, err := c.monitor(t, c.submit(t, c.body(t, "runJob", "application: x\nmanifest: {apiVersion: batch/v1, kind: Job, metadata: {generateName: j-, namespace: "+name+"}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: side, image: x}]}}}}"), ""))
		if err != nil {
			t.Fatal(err)
		}
		job := r.DeployedNamesByLocation[name]
		if len(r.DeployedNamesByLocation) != 1 || len(job) != 1 {
			t.Fatalf("%v", r.DeployedNamesByLocation)
		}
		path := escaped("applications", "x", "jobs", cluster.Name, name, job[0])
		if err := c.until(t, path, func(r response) (bool, error) {
			if r.status != http.StatusOK {
				return false, errors.New(r.body)
			}
			return strings.Contains(r.body, `"jobState":"Succeeded"`), nil
		}); err != nil {
			t.Fatal(err)
		}
		c.get(t, path+"/side").is(t, 200, `{"version":"42"}`)
	})
	t.Run("history", func(t *testing.T) {
		var page struct {
			Writes []struct {
				ID                               int64
				Name, Operation, Task, Namespace string
				Context                          map[string]string
			}
			Next string
		}
		c.get(t, "/applications/"+c.namespace+"/history?pageSize=3").into(t, &page)
		if len(page.Writes) != 3 || page.Next == "" || page.Writes[0].Task == "" || page.Writes[0].Operation == "" || page.Writes[0].Context == nil {
			t.Fatalf("%+v", page)
		}
		seen := []int64{}
		for next := "/applications/" + strings.ToUpper(c.namespace) + "/history?pageSize=5"; next != ""; next = page.Next {
			page.Next, page.Writes = "", nil
			c.get(t, next).into(t, &page)
			for _, w := range page.Writes {
				seen = append(seen, w.ID)
			}
		}
		if len(seen) < 10 || !slices.IsSortedFunc(seen, func(a, b int64) int { return int(b - a) }) {
			t.Errorf("%v", seen)
		}
		c.get(t, "/applications/x/history?before=x").says(t, 400, "before")
		c.get(t, "/applications/nobody/history").is(t, 200, `{"application":"nobody","writes":[]}`)
	})
}
