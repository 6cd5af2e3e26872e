package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/integration/program"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/datapunchorg/go-clouddriver/localkube"
	"github.com/datapunchorg/go-clouddriver/pkg/checkup"
)

// command runs the shipped program to its end.
func runCommand(t *testing.T, dir string, args ...string) (out string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, clouddriver.Path(t), args...)
	cmd.Dir, cmd.Env = dir, []string{"HOME=" + dir, "PATH=/usr/bin:/bin"}
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

func TestAccountCommands_TellWhatCanBeWatched(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	apply(t, c, `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: checked}
rules: [{apiGroups: ["", apps, networking.k8s.io], resources: ["*"], verbs: [list, watch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: checked}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: checked}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: `+localkube.User+`}]
`)
	t.Cleanup(func() {
		for _, path := range []string{"clusterrolebindings", "clusterroles"} {
			call(t, c, http.MethodDelete, "/apis/rbac.authorization.k8s.io/v1/"+path+"/checked", "application/json", "")
		}
	})
	dir := t.TempDir()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := localkube.WriteKubeconfig(kubeconfig, c,
		&localkube.Cluster{Name: "dead", URL: "https://127.0.0.1:1", CA: c.CA, Token: c.Token},
		&localkube.Cluster{Name: "partly", URL: c.URL, CA: c.CA, Token: c.UserToken}); err != nil {
		t.Fatal(err)
	}
	config := "--kubernetes.kubeconfig=" + kubeconfig

	out, code := runCommand(t, dir, "account", "list", config)
	if code != 0 || strings.Count(out, "\n") != 4 || !strings.Contains(out, "https://127.0.0.1:1") {
		t.Errorf("%d %s", code, out)
	}
	out, code = runCommand(t, dir, "account", "check", config, "-o", "json")
	var rows []checkup.Account
	if err := json.Unmarshal([]byte(out), &rows); err != nil || code != 1 {
		t.Fatal(err, code, out)
	}
	by := map[string]checkup.Account{}
	for _, r := range rows {
		by[r.Name] = r
	}
	whole, partly, dead := by[c.Name], by["partly"], by["dead"]
	if !whole.OK() || !whole.Reachable || !strings.HasPrefix(whole.Version, "v1.") || whole.User == "" || len(whole.Watched) < 10 || whole.LatencyMs <= 0 {
		t.Errorf("%+v", whole)
	}
	if dead.OK() || dead.Reachable || dead.Advice == "" {
		t.Errorf("%+v", dead)
	}
	denied := fmt.Sprint(partly.Denied)
	if partly.User != localkube.User || !strings.Contains(denied, "job") || !strings.Contains(denied, "may not list") || strings.Contains(denied, "deployment") {
		t.Errorf("%+v", partly)
	}
	out, _ = runCommand(t, dir, "account", "check", config)
	for _, want := range []string{"REACHABLE", "partly", "cronJob: may not list", "→ give " + localkube.User, "nothing answers there"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	out, code = runCommand(t, dir, "doctor", config)
	for _, want := range []string{"1 of 3 are reached", "account dead", "can be written", "open files"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if code != 0 {
		t.Errorf("one dead account keeps nothing from its work: %d\n%s", code, out)
	}
	out, code = runCommand(t, dir, "doctor", "--database.path=/proc/nothing/clouddriver.db", "--log.level=loud")
	if code != 1 || !strings.Contains(out, "log.level") {
		t.Errorf("%d %s", code, out)
	}

	s := start(t, settings())
	out, code = runCommand(t, dir, "account", "import", config, "--to", s.URL, c.Name, "partly")
	if code != 0 || strings.Count(out, "imported") != 2 {
		t.Fatalf("%d %s", code, out)
	}
	eventually(t, 30*time.Second, func() error {
		if body := s.get(t, "/credentials").body; !strings.Contains(body, "partly") || !strings.Contains(body, c.Name) {
			return errors.New(body)
		}
		return nil
	})
	if out, code = runCommand(t, dir, "account", "import", config, "--to", s.URL, "partly"); code != 1 || !strings.Contains(out, "--replace") {
		t.Errorf("%d %s", code, out)
	}
}

func TestCompareCommand_HasAnExitCodeForEachEnd(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	dir := t.TempDir()
	here, there, empty := start(t, settings(), c).ready(t), start(t, settings(), c).ready(t), start(t, settings())
	for _, k := range []struct {
		with string
		want int
		text string
	}{{there.URL, 0, "no differences"}, {empty.URL, 2, "no account in common"}, {"http://127.0.0.1:1", 2, "refused"}} {
		out, code := runCommand(t, dir, "compare", "--here", here.URL, "--with", k.with, "--settle", "1s")
		if code != k.want || !strings.Contains(out, k.text) {
			t.Errorf("%s: %d %s", k.with, code, out)
		}
	}
	out, code := runCommand(t, dir, "compare", "--here", here.URL, "--with", there.URL, "-o", "json")
	var report struct{ Routes int }
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 0 || report.Routes == 0 {
		t.Errorf("%v %d %s", err, code, out)
	}
}

func TestAdminPort_IsClosedUnlessItIsOpened(t *testing.T) {
	cfg := settings()
	cfg.Admin.Port = program.FreePort(t)
	s := start(t, cfg)
	admin := "http://" + cfg.Admin.Listen()
	eventually(t, 10*time.Second, func() error {
		res, err := http.Get(admin + "/debug/pprof/goroutine?debug=1")
		if err != nil {
			return err
		}
		return res.Body.Close()
	})
	for path, want := range map[string]string{"/debug/vars": "memstats", "/metrics": "clouddriver_build_info", "/debug/pprof/": "heap"} {
		res, err := http.Get(admin + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d %v", path, res.StatusCode, err)
		}
	}
	if r := s.get(t, "/debug/pprof/"); r.status != http.StatusNotFound {
		t.Errorf("the API's port answers pprof: %d", r.status)
	}
}

// TestTracing_FollowsARequestThroughItsTaskToTheCluster: one trace, begun by the
// caller.
func TestTracing_FollowsARequestThroughItsTaskToTheCluster(t *testing.T) {
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	var mu sync.Mutex
	names := map[string]int{}
	spans := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/traces" {
			http.NotFound(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		var sent collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &sent)
		}
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, resource := range sent.GetResourceSpans() {
			for _, scope := range resource.GetScopeSpans() {
				for _, span := range scope.GetSpans() {
					if fmt.Sprintf("%x", span.GetTraceId()) == trace {
						names[span.GetName()]++
					}
				}
			}
		}
	}))
	defer spans.Close()
	c := pool.Shared(t, 1)[0]
	namespace(t, "traced", c)
	cfg := settings()
	cfg.Tracing.Enabled, cfg.Tracing.Endpoint, cfg.Tracing.Ratio = true, spans.URL, 0
	s := start(t, cfg, c).ready(t)
	o := &ops{service: s, c: c, namespace: "traced"}
	body := o.body(t, "deployManifest", "moniker: {app: traced}\nmanifests: [{apiVersion: v1, kind: ConfigMap, metadata: {name: traced, namespace: traced}, data: {k: v}}]")
	req, err := http.NewRequest(http.MethodPost, s.URL+"/kubernetes/ops", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Traceparent", "00-"+trace+"-00f067aa0ba902b7-01")
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	eventually(t, 30*time.Second, func() error {
		mu.Lock()
		defer mu.Unlock()
		if names["POST"] == 0 || names["task"] == 0 || names["deployManifest"] == 0 || names["POST cluster"] == 0 {
			return fmt.Errorf("spans so far: %v", names)
		}
		return nil
	})
}
