package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/localkube"
)

func (o *ops) job(name, further string) string {
	return fmt.Sprintf("apiVersion: batch/v1\nkind: Job\nmetadata: {name: %s, namespace: %s}\nspec: {%s template: {spec: {restartPolicy: Never, containers: [{name: a, image: x}]}}}", name, o.namespace, further)
}

func (o *ops) jobPath(name string) string {
	return "/apis/batch/v1/namespaces/" + o.namespace + "/jobs/" + name
}

func (o *ops) runJobFields(manifest string) string {
	return "application: " + o.namespace + "\nmanifest:\n  " + strings.ReplaceAll(manifest, "\n", "\n  ")
}

func recreated(manifest string) string {
	return strings.Replace(manifest, "metadata: {name", "metadata: {annotations: {strategy.spinnaker.io/recreate: 'true'}, name", 1)
}

// TestRecreate_LeavesTheOldObjectWhenTheServerRefusesTheNewOne has everything
// that a dry run can tell.
func TestRecreate_LeavesTheOldObjectWhenTheServerRefusesTheNewOne(t *testing.T) {
	t.Parallel() // it keeps apart by namespace
	o := startOps(t, "refused")
	apply(t, o.c, `apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: refused-policy}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [batch], apiVersions: [v1], operations: [CREATE], resources: [jobs]}], namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: refused}}}
  validations: [{expression: "!(has(object.metadata.labels) && 'denied' in object.metadata.labels)", message: no denied jobs}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: refused-policy}
spec: {policyName: refused-policy, validationActions: [Deny]}
`)
	t.Cleanup(func() {
		for _, path := range []string{"validatingadmissionpolicybindings", "validatingadmissionpolicies"} {
			call(t, o.c, http.MethodDelete, "/apis/admissionregistration.k8s.io/v1/"+path+"/refused-policy", "application/json", "")
		}
	})
	if d := o.run(t, "runJob", o.runJobFields(o.job("kept", ""))); d.Status.Failed {
		t.Fatal(d.raw)
	}
	o.deploy(t, recreated(o.deployment("kept", "x")), "").only(t)
	job, deployment := o.live(t, o.jobPath("kept")).text("metadata", "uid"), o.live(t, o.apps("deployments", "kept")).text("metadata", "uid")
	denied := strings.Replace(o.job("kept", ""), "metadata: {", "metadata: {labels: {denied: 'x'}, ", 1)
	eventually(t, 20*time.Second, func() error { // the policy takes a moment to be in force
		_, err := o.c.Call(context.Background(), http.MethodPost, "/apis/batch/v1/namespaces/refused/jobs?dryRun=All", "application/json", []byte(yamlToJSON(t, strings.Replace(denied, "name: kept", "name: probe", 1))))
		if err == nil {
			return errors.New("not denied yet")
		}
		return nil
	})
	for about, c := range map[string]struct {
		do   func() done
		text string
	}{
		"job denied":   {func() done { return o.run(t, "runJob", o.runJobFields(denied)) }, "no denied jobs"},
		"job invalid":  {func() done { return o.run(t, "runJob", o.runJobFields(o.job("kept", "backoffLimit: -1,"))) }, "spec.backoffLimit"},
		"job misspelt": {func() done { return o.run(t, "runJob", o.runJobFields(o.job("kept", "backofflimit: 1,"))) }, "spec.backofflimit"},
		"deployment invalid": {func() done {
			return o.deploy(t, recreated(strings.Replace(o.deployment("kept", "x"), "replicas: 2", "replicas: -2", 1)), "")
		}, "spec.replicas"},
		"deployment misspelt": {func() done {
			return o.deploy(t, recreated(strings.Replace(o.deployment("kept", "x"), "replicas: 2", "replica: 2", 1)), "")
		}, "spec.replica"},
	} {
		c.do().failed(t, c.text)
		if now := o.live(t, o.jobPath("kept")).text("metadata", "uid"); now != job {
			t.Errorf("%s: the job is another", about)
		}
		if now := o.live(t, o.apps("deployments", "kept")).text("metadata", "uid"); now != deployment {
			t.Errorf("%s: the deployment is another", about)
		}
	}
}

// TestRecreate_WaitsForAnAPIServerThatIsAway, between the deletion and what
// follows it.
func TestRecreate_WaitsForAnAPIServerThatIsAway(t *testing.T) {
	t.Parallel() // it keeps apart by namespace
	c := pool.Shared(t, 1)[0]
	namespace(t, "away", c)
	p, err := c.Proxy()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	cfg := settings()
	cfg.Watch.RequestTimeout = 2 * time.Second
	cfg.Tasks.DeleteTimeout = time.Minute
	cfg.Kubernetes.Accounts = javaAccounts(behind(c, "proxied", p))
	o := &ops{namespace: "away", c: c}
	var once sync.Once
	gone := make(chan struct{})
	o.service = startWith(t, cfg, func(next http.RoundTripper) http.RoundTripper {
		return afterwards{next, func(r *http.Request) {
			if r.Method == http.MethodDelete {
				once.Do(func() { p.Refuse(true); close(gone) })
			}
		}}
	}).ready(t)
	o.account = "proxied"
	o.deploy(t, recreated(o.configMap("cm", "{k: v}")), "versioned: false").only(t)
	uid := o.live(t, o.core("configmaps", "cm")).text("metadata", "uid")
	id := o.submit(t, o.body(t, "deployManifest", o.deployFields(t, recreated(o.configMap("cm", "{k: w}")), "versioned: false")), "")
	<-gone
	const away = 8 * time.Second // the calls used to be repeated for two
	time.AfterFunc(away, func() { p.Refuse(false) })
	o.await(t, id).only(t)
	now := o.live(t, o.core("configmaps", "cm"))
	if now.text("metadata", "uid") == uid || now.at("data", "k") != "w" {
		t.Errorf("%v", now)
	}
}

// afterwards does something after each request.
type afterwards struct {
	next http.RoundTripper
	do   func(*http.Request)
}

func (a afterwards) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := a.next.RoundTrip(r)
	a.do(r)
	return res, err
}

// TestRunJob_FourOfOneNameAtOnce_EachRunsItsOwn knows each by its mark.
func TestRunJob_FourOfOneNameAtOnce_EachRunsItsOwn(t *testing.T) {
	o := startOps(t, "fourjobs")
	var wg sync.WaitGroup
	ends := make([]done, 4)
	for i := range ends {
		wg.Go(func() {
			ends[i] = o.run(t, "runJob", o.runJobFields(strings.Replace(o.job("one", ""), "metadata: {", fmt.Sprintf("metadata: {annotations: {run: 'n%d'}, ", i), 1)))
		})
	}
	wg.Wait()
	uids := map[string]bool{}
	for i, d := range ends {
		if d.Status.Failed {
			if strings.Contains(d.raw, "field is immutable") || !strings.Contains(d.raw, "made an object of the same name") {
				t.Errorf("%d: %s", i, d.raw)
			}
			continue
		}
		m := d.only(t).Manifests[0]
		if m.annotation("run") != fmt.Sprintf("n%d", i) {
			t.Errorf("task %d reports the job of another: %s", i, m.annotation("run"))
		}
		uids[m.text("metadata", "uid")] = true
	}
	if len(uids) == 0 {
		t.Error("none ran")
	}
	t.Logf("%d of 4 ran", len(uids))
}

// TestTwentyPipelines_DeployOneNameAtOnce has each with a content of its own.
func TestTwentyPipelines_DeployOneNameAtOnce(t *testing.T) {
	t.Parallel() // it keeps apart by namespace
	o := startOps(t, "twenty")
	const pipelines, rounds = 20, 10
	for round := range rounds {
		var wg sync.WaitGroup
		ends := make([]done, pipelines)
		for i := range ends {
			wg.Go(func() {
				content := fmt.Sprintf("r%d-p%d", round, i)
				web := strings.Replace(strings.Replace(o.deployment("web-"+content, "x"), "replicas: 2", "replicas: 0", 1), "containers: [", "volumes: [{name: v, configMap: {name: settings}}]\n      containers: [", 1)
				ends[i] = o.deploy(t, o.configMap("settings", "{by: "+content+"}")+"\n---\n"+web, "")
			})
		}
		wg.Wait()
		names := map[string]bool{}
		for i, d := range ends {
			r := d.only(t)
			content := fmt.Sprintf("r%d-p%d", round, i)
			made := r.Manifests[0]
			name := made.text("metadata", "name")
			volumes, err := json.Marshal(r.Manifests[1].at("spec", "template", "spec", "volumes"))
			if err != nil {
				t.Fatal(err)
			}
			live := o.live(t, o.core("configmaps", name))
			if made.at("data", "by") != content || live.at("data", "by") != content || !strings.Contains(string(volumes), `"name":"`+name+`"`) || r.BoundArtifacts[0]["reference"] != name || r.CreatedArtifacts[0]["reference"] != name {
				t.Fatalf("%s: %s, %s, %v", content, name, volumes, r.BoundArtifacts)
			}
			names[name] = true
		}
		if len(names) != pipelines {
			t.Fatalf("round %d: %d versions", round, len(names))
		}
	}
}

// TestVersion_ThatIsBeingDeletedIsNotReused keeps one by a finalizer.
func TestVersion_ThatIsBeingDeletedIsNotReused(t *testing.T) {
	o := startOps(t, "dying")
	o.deploy(t, o.configMap("cm", "{k: v}"), "").only(t)
	call(t, o.c, http.MethodPatch, o.core("configmaps", "cm-v000"), mergePatch, `{"metadata":{"finalizers":["test.example.com/stuck"]}}`)
	call(t, o.c, http.MethodDelete, o.core("configmaps", "cm-v000"), "application/json", "")
	t.Cleanup(func() {
		call(t, o.c, http.MethodPatch, o.core("configmaps", "cm-v000"), mergePatch, `{"metadata":{"finalizers":null}}`)
	})
	if names := o.names(o.deploy(t, o.configMap("cm", "{k: v}"), "").only(t)); names[0] != "configMap cm-v001" {
		t.Errorf("%v", names)
	}
}

// TestRecreatedVersions_OfOneContentAtOnce are one version each: what is
// recreated is not reused.
func TestRecreatedVersions_OfOneContentAtOnce(t *testing.T) {
	o := startOps(t, "samecontent")
	var wg sync.WaitGroup
	ends := make([]done, 6)
	for i := range ends {
		wg.Go(func() { ends[i] = o.deploy(t, recreated(o.configMap("cm", "{k: v}")), "") })
	}
	wg.Wait()
	for _, d := range ends {
		r := d.only(t)
		if !o.exists(t, o.core("configmaps", r.Manifests[0].text("metadata", "name"))) {
			t.Errorf("%v is not there", o.names(r))
		}
	}
}

// TestServerSideVersion_IsNotMergedIntoAnothersObject has a name taken between
// the plan and the write.
func TestServerSideVersion_IsNotMergedIntoAnothersObject(t *testing.T) {
	o := startOps(t, "sided")
	s, _ := o.meddle(t, http.MethodPost, "/configmaps", func(n int64) *http.Response {
		if n == 1 {
			apply(t, o.c, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm-v000, namespace: sided}\ndata: {by: another}")
		}
		return nil
	})
	m := strings.Replace(o.configMap("cm", "{ours: v}"), "metadata: {name", "metadata: {annotations: {strategy.spinnaker.io/server-side-apply: 'true'}, name", 1)
	if names := s.names(s.deploy(t, m, "").only(t)); names[0] != "configMap cm-v001" {
		t.Errorf("%v", names)
	}
	if got := o.live(t, o.core("configmaps", "cm-v000")).at("data"); fmt.Sprint(got) != "map[by:another]" {
		t.Errorf("merged into another's: %v", got)
	}
	// What is applied once more is removed as server-side apply removes it.
	fields := o.live(t, o.core("configmaps", "cm-v001")).at("metadata", "managedFields")
	if text := fmt.Sprint(fields); strings.Contains(text, "client-side-apply") || !strings.Contains(text, "operation:Apply") {
		t.Errorf("%s", text)
	}
}

// TestDeleteByLabel_RunsSideBySide has ten pods with a second of grace.
func TestDeleteByLabel_RunsSideBySide(t *testing.T) {
	o := startOps(t, "graceful")
	var manifests []string
	for i := range 10 {
		manifests = append(manifests, fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: p%d, namespace: graceful, labels: {set: ten}, finalizers: [test.example.com/hold]}\nspec: {terminationGracePeriodSeconds: 1, containers: [{name: a, image: x}]}", i))
	}
	o.deploy(t, strings.Join(manifests, "\n---\n"), "versioned: false").only(t)
	// Each goes a second after its own deletion began.
	stop := make(chan struct{})
	released := make(chan struct{})
	go func() { defer close(released); releaseAfter(t, o.c, "graceful", time.Second, stop) }()
	begin := time.Now()
	d := o.run(t, "deleteManifest", "location: graceful\nkinds: [pod]\nlabelSelectors: {selectors: [{kind: EQUALS, key: set, values: [ten]}]}")
	took := time.Since(begin)
	close(stop)
	<-released
	if r := d.only(t); len(o.names(r)) != 10 {
		t.Error(d.raw)
	}
	if took > 6*time.Second {
		t.Errorf("ten pods with a second of grace took %s", took)
	}
	t.Logf("ten pods in %s", took.Round(100*time.Millisecond))
}

// releaseAfter takes the finalizers of pods that have been terminating for a
// while.
func releaseAfter(t testing.TB, c *localkube.Cluster, namespace string, d time.Duration, stop <-chan struct{}) {
	seen := map[string]time.Time{}
	for {
		select {
		case <-stop:
			return
		case <-time.After(50 * time.Millisecond):
		}
		var list struct{ Items []object }
		body, err := c.Call(context.Background(), http.MethodGet, "/api/v1/namespaces/"+namespace+"/pods", "", nil)
		if err != nil || json.Unmarshal(body, &list) != nil {
			t.Error(err)
			return
		}
		for _, pod := range list.Items {
			name := pod.text("metadata", "name")
			if pod.at("metadata", "deletionTimestamp") == nil {
				continue
			}
			if _, known := seen[name]; !known {
				seen[name] = time.Now()
			}
			if time.Since(seen[name]) > d {
				_, _ = c.Call(context.Background(), http.MethodPatch, "/api/v1/namespaces/"+namespace+"/pods/"+name, mergePatch, []byte(`{"metadata":{"finalizers":null}}`)) // it may be gone
			}
		}
	}
}
