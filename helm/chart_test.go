package helm

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/loader"
	"helm.sh/helm/v4/pkg/release"
	"sigs.k8s.io/yaml"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/telemetry"
)

var update = flag.Bool("update", false, "write the golden files anew")

const chart = "clouddriver"

func render(t *testing.T, values map[string]any) (string, error) {
	t.Helper()
	c, err := loader.Load(chart)
	if err != nil {
		t.Fatal(err)
	}
	install := action.NewInstall(action.NewConfiguration())
	install.DryRunStrategy, install.ReleaseName, install.Namespace = action.DryRunClient, "cd", "spinnaker"
	install.KubeVersion = &common.KubeVersion{Version: "v1.30.0", Major: "1", Minor: "30"}
	made, err := install.Run(c, values)
	if err != nil {
		return "", err
	}
	r, err := release.NewAccessor(made)
	if err != nil {
		t.Fatal(err)
	}
	return r.Manifest() + "---\n# notes\n" + r.Notes(), nil
}

func examples(t *testing.T) map[string]map[string]any {
	t.Helper()
	files, err := filepath.Glob(chart + "/examples/*.yaml")
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	out := map[string]map[string]any{}
	for _, file := range files {
		values, err := common.ReadValuesFile(file)
		if err != nil {
			t.Fatal(err)
		}
		out[strings.TrimSuffix(filepath.Base(file), ".yaml")] = values
	}
	return out
}

func TestExamples_AreAsTheGoldenFilesHaveThem(t *testing.T) {
	for name, values := range examples(t) {
		got, err := render(t, values)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		golden := "testdata/" + name + ".golden.yaml"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs from %s; go test ./helm -update writes it anew, review the difference", name, golden)
		}
	}
}

func TestLint_HasNothingToSay(t *testing.T) {
	for name, values := range examples(t) {
		lint := action.NewLint()
		lint.Strict, lint.Namespace = true, "spinnaker"
		result := lint.Run([]string{chart}, values)
		for _, m := range result.Messages {
			if m.Severity > 1 { // an icon is recommended
				t.Errorf("%s: %s", name, m)
			}
		}
		for _, err := range result.Errors {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestConfig_IsTakenByTheService: what the chart writes is what the service
// reads.
func TestConfig_IsTakenByTheService(t *testing.T) {
	known := map[string]bool{"kubernetes.accounts": true}
	for _, s := range config.Settings() {
		known[s.Key] = true
	}
	all := examples(t)
	all["everything"] = map[string]any{
		"budgets": map[string]any{"cache.bytes": 1 << 28, "tasks.maxWaiting": 5}, "fallback": map[string]any{"url": "http://x:7002"}, "adminPort": 9000,
		"tracing": map[string]any{"enabled": true, "endpoint": "http://x:4318"}, "tls": map[string]any{"secretName": "a", "clientCASecret": map[string]any{"name": "b"}},
		"accounts": map[string]any{"providers": map[string]any{"arcade": map[string]any{"url": "http://x:1982"}}, "kubeconfig": map[string]any{"secretName": "k", "contexts": []any{"c"}, "onlySpinnakerManaged": false}},
	}
	for name, values := range all {
		got, err := render(t, values)
		if err != nil {
			t.Fatal(err)
		}
		for _, doc := range strings.Split(got, "\n---\n") {
			var o struct {
				Kind string
				Data map[string]string
			}
			if err := yaml.Unmarshal([]byte(doc), &o); err != nil || o.Data["clouddriver.yml"] == "" {
				continue
			}
			path := filepath.Join(t.TempDir(), "clouddriver.yml")
			if err := os.WriteFile(path, []byte(o.Data["clouddriver.yml"]), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, key := range keysOf("", o.Data["clouddriver.yml"], t) {
				if !known[key] {
					t.Errorf("%s: the service has no setting %s", name, key)
				}
			}
			flags := flagsOf(t, path)
			if _, err := config.Load(flags, func(string) string { return "" }); err != nil {
				t.Errorf("%s: %v\n%s", name, err, o.Data["clouddriver.yml"])
			}
		}
	}
}

func TestValues_ThatContradictThemselvesAreRefusedWithASentence(t *testing.T) {
	for text, want := range map[string]string{
		`replicaCount: 2`:                            "SQLite serves one replica",
		`autoscaling: {enabled: true}`:               "SQLite serves one replica",
		`database: {type: mysql}`:                    "database.mysql.host",
		`database: {type: mysql, mysql: {host: db}}`: "passwordSecret",
		`database: {type: oracle}`:                   "database/type",
		`database: {type: mysql, mysql: {host: db, passwordSecret: {name: x}, caSecret: {name: ca}}}`:                                           "without TLS",
		`{database: {type: mysql, mysql: {host: db, passwordSecret: {name: x}}}, autoscaling: {enabled: true, minReplicas: 5, maxReplicas: 2}}`: "minReplicas",
		`{existingConfig: {secretName: x}, tracing: {enabled: true, endpoint: "http://x"}}`:                                                     "existingConfig.secretName",
		`{existingConfig: {secretName: x}}`:                    "accounts.inCluster.enabled",
		`config: {server: {port: 8080}}`:                       "config.server.port",
		`config: {database: {password: x}}`:                    "passwordSecret",
		`accounts: {list: [{name: a, kubeconfigContents: x}]}`: "kubeconfigContents",
		`accounts: {list: [{name: in-cluster}]}`:               "in-cluster is there already",
		`{database: {type: mysql, mysql: {host: db, passwordSecret: {name: x}}}, autoscaling: {enabled: true}, resources: {limits: {memory: 1Gi}}}`: "resources.requests.cpu",
		`networkPolicy: {enabled: true, callers: []}`:       "networkPolicy.callers",
		`{existingConfig: {secretName: x}, config: {a: 1}}`: "existingConfig.secretName",
		`accounts: {kubeconfig: {secretName: x}}`:           "contexts",
		`accounts: {kubeconfig: {contexts: [a]}}`:           "accounts.kubeconfig.secretName",
		`serviceAccount: {create: false}`:                   "serviceAccount.name",
		`config: {admin: {token: x}}`:                       "CLOUDDRIVER_ADMIN_TOKEN",
		`tls: {clientCASecret: {name: x}}`:                  "tls.secretName",
		`tracing: {enabled: true}`:                          "tracing.endpoint",
		`replicas: 2`:                                       "replicas",
		`size: huge`:                                        "size",
		`budgets: {"cache.byte": 5}`:                        "cache.byte",
		`stopping: {preStopSeconds: -1}`:                    "preStopSeconds",
		`image: {digest: latest}`:                           "digest",
		`runAsUser: 0`:                                      "runAsUser",
	} {
		var values map[string]any
		if err := yaml.Unmarshal([]byte(text), &values); err != nil {
			t.Fatal(err)
		}
		if _, err := render(t, values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

func TestPod_HasTimeToStop(t *testing.T) {
	got, err := render(t, map[string]any{"stopping": map[string]any{"preStopSeconds": 7, "tasksSeconds": 100}, "budgets": map[string]any{"cache.bytes": 1 << 28}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"terminationGracePeriodSeconds: 137", "sleep: {seconds: 7}", "shutdownWaitSeconds: 100", "bytes: 268435456"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q", want)
		}
	}
}

// TestMonitoring_AsksForMetricsThatAreThere: a rule on a metric that was renamed
// would be silent for ever.
func TestMonitoring_AsksForMetricsThatAreThere(t *testing.T) {
	known := map[string]bool{}
	for _, m := range telemetry.Reference() {
		known[m.FullName()] = true
		if m.Type == "histogram" {
			for _, suffix := range []string{"_bucket", "_count", "_sum"} {
				known[m.FullName()+suffix] = true
			}
		}
	}
	for _, file := range []string{"alerts.yaml", "dashboard.json"} {
		text, err := os.ReadFile(chart + "/files/" + file)
		if err != nil {
			t.Fatal(err)
		}
		names := regexp.MustCompile(`clouddriver_[a-z_]+`).FindAllString(string(text), -1)
		if len(names) < 5 {
			t.Errorf("%s asks for %v", file, names)
		}
		for _, name := range names {
			if !known[name] {
				t.Errorf("%s asks for %s, which there is not", file, name)
			}
		}
	}
	var dashboard struct{ Panels []any }
	text, err := os.ReadFile(chart + "/files/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &dashboard); err != nil || len(dashboard.Panels) < 8 {
		t.Errorf("%v, %d panels", err, len(dashboard.Panels))
	}
}

// TestAlerts_FireWhenTheyShould runs promtool's unit tests.
func TestAlerts_FireWhenTheyShould(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") == "" {
			t.Skip("no promtool: apt-get install prometheus")
		}
		t.Fatal(err)
	}
	out, err := exec.Command(promtool, "test", "rules", "testdata/alerts_test.yaml").CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	tested, err := os.ReadFile("testdata/alerts_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := os.ReadFile(chart + "/files/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	manual, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(string(rules), -1) {
		if !strings.Contains(string(tested), "alertname: "+m[1]) {
			t.Errorf("%s has no test", m[1])
		}
		if !strings.Contains(string(manual), "### "+m[1]+"\n") {
			t.Errorf("docs/operations.md does not say what to do for %s", m[1])
		}
	}
}
