package view

import (
	"encoding/json"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestJobStateOf_EveryRow(t *testing.T) {
	for object, want := range map[string]string{
		"{}":           JobRunning,
		"{status: {}}": JobRunning,
		"{status: {active: 1, conditions: [{type: Suspended, status: 'True'}]}}": JobRunning,
		"{status: {succeeded: 1}}": JobRunning,
		"{status: {succeeded: 1, conditions: [{type: Complete, status: 'True'}]}}":                                                                     JobSucceeded,
		"{spec: {parallelism: 3}, status: {succeeded: 1, active: 2}}":                                                                                  JobRunning,
		"{spec: {completions: 3}, status: {succeeded: 1, conditions: [{type: SuccessCriteriaMet, status: 'True'}, {type: Complete, status: 'True'}]}}": JobSucceeded,
		"{spec: {completions: 3}, status: {succeeded: 2}}":                                                                                             JobRunning,
		"{spec: {completions: 3}, status: {succeeded: 3}}":                                                                                             JobRunning,
		"{status: {conditions: [{type: failed, status: 'true'}]}}":                                                                                     JobFailed,
		"{status: {succeeded: 1, conditions: [{type: Failed, status: 'True'}]}}":                                                                       JobFailed,
		"{status: {conditions: [{type: Failed, status: 'False'}]}}":                                                                                    JobRunning,
		"{spec: {completions: 0}, status: {}}":                                                                                                         JobRunning,
		"{status: {completionTime: '2026-01-01T00:00:00Z', startTime: x, succeeded: 0}}":                                                               JobRunning,
	} {
		if got := JobStateOf(objectOf(t, "{apiVersion: batch/v1, kind: Job, "+strings.TrimPrefix(object, "{"))); got != want {
			t.Errorf("%s: %s, want %s", object, got, want)
		}
	}
}

func TestNewJob_TellsWhyItFailed(t *testing.T) {
	job := &unstructured.Unstructured{Object: objectOf(t, `
apiVersion: batch/v1
kind: Job
metadata: {name: migrate, namespace: ns, creationTimestamp: "2026-01-01T00:00:00Z"}
status: {conditions: [{type: Failed, status: "True", reason: BackoffLimitExceeded, message: limit reached}]}`)}
	pod := func(name, status string) JobPod {
		return NewJobPod(objectOf(t, "{apiVersion: v1, kind: Pod, metadata: {name: "+name+"}, status: "+status+"}"))
	}
	for _, c := range []struct {
		about string
		pods  []JobPod
		want  string
	}{
		{"no pods", nil, ""},
		{"an exit code", []JobPod{pod("b", "{startTime: '2026-01-02', containerStatuses: [{name: second, state: {terminated: {exitCode: 2}}}]}"), pod("a", "{startTime: '2026-01-01', containerStatuses: [{name: ok, state: {terminated: {exitCode: 0}}}, {name: main, state: {terminated: {exitCode: 1, reason: Error, message: no such table}}}]}")},
			"Pod: 'a' had errors.\n Container: 'main' exited with code: 1.\n Status: Error.\n Logs: no such table"},
		{"an init container first", []JobPod{pod("a", "{containerStatuses: [{name: main, state: {terminated: {exitCode: 1}}}], initContainerStatuses: [{name: init, state: {terminated: {exitCode: 3, reason: Error}}}]}")},
			"Pod: 'a' had errors.\n Container: 'init' exited with code: 3.\n Status: Error.\n Logs: "},
		{"waiting", []JobPod{pod("a", "{containerStatuses: [{name: main, state: {waiting: {reason: ImagePullBackOff, message: no such image}}}]}")},
			"Pod: 'a' had errors.\n Container: 'main' exited with code: .\n Status: ImagePullBackOff.\n Logs: no such image"},
		{"nothing to tell", []JobPod{pod("a", "{containerStatuses: [{name: main, state: {running: {}}}]}")}, ""},
	} {
		got := NewJob("prod", job, c.pods, true)
		if got.FailureDetails != c.want {
			t.Errorf("%s: %q, want %q", c.about, got.FailureDetails, c.want)
		}
		if got.Message != "limit reached" || got.CompletionDetails["reason"] != "BackoffLimitExceeded" || got.CompletionDetails["exitCode"] != "" || len(got.CompletionDetails) != 4 {
			t.Errorf("%s: %+v", c.about, got)
		}
	}
	got := NewJob("prod", job, []JobPod{pod("new", "{}"), pod("old", "{startTime: '2026-01-01'}")}, false)
	if got.MostRecentPodName != "new" || len(got.Pods) != 0 {
		t.Errorf("%+v", got)
	}
	body := string(Encode(got))
	for _, absent := range []string{"completedTime", `"id"`, `"logs"`, "failureDetails", "null"} {
		if strings.Contains(body, absent) {
			t.Errorf("%s in %s", absent, body)
		}
	}
}

func TestProperties_FollowsTheParser(t *testing.T) {
	for log, want := range map[string]string{
		"": `{}`,
		"noise\nSPINNAKER_PROPERTY_Foo_Bar=Baz\n":                           `{"foo_bar":"Baz"}`,
		"  SPINNAKER_PROPERTY_A = b \r\n":                                   `{"a":"b"}`,
		"2026 SPINNAKER_PROPERTY_A=b":                                       `{"2026 a":"b"}`,
		"SPINNAKER_PROPERTY_URL=http://x/?a=b":                              `{"url":"http://x/?a=b"}`,
		"SPINNAKER_PROPERTY_KV=foo=bar":                                     `{"kv":"foo=bar"}`,
		"SPINNAKER_PROPERTY_T=YQ==":                                         `{"t":"YQ=="}`,
		"SPINNAKER_PROPERTY_T=YQ==\r\nnext":                                 `{"t":"YQ=="}`,
		"note=SPINNAKER_PROPERTY_X=1":                                       `{"note":"SPINNAKER_PROPERTY_X=1"}`,
		"SPINNAKER_PROPERTY_X=":                                             `{}`,
		"SPINNAKER_PROPERTY_X=  ":                                           `{}`,
		"SPINNAKER_PROPERTY_X":                                              `{}`,
		"SPINNAKER_PROPERTY_=v":                                             `{}`,
		"SPINNAKER_PROPERTY_X==y":                                           `{"x":"=y"}`,
		"SPINNAKER_PROPERTY_X=1\nSPINNAKER_PROPERTY_x=2":                    `{"x":"2"}`,
		`SPINNAKER_CONFIG_JSON={"A":{"b":[1]},"c":true}`:                    `{"A":{"b":[1]},"c":true}`,
		`x SPINNAKER_CONFIG_JSON={"A":1}`:                                   `{}`,
		"SPINNAKER_PROPERTY_A=b\nSPINNAKER_CONFIG_JSON={":                   "error",
		"SPINNAKER_CONFIG_JSON=[1]":                                         "error",
		"SPINNAKER_CONFIG_JSON=null":                                        "error",
		"SPINNAKER_CONFIG_JSON={} {}":                                       "error",
		`SPINNAKER_CONFIG_JSON={"id":1234567890123456789,"f":1.0}`:          `{"f":1.0,"id":1234567890123456789}`,
		"SPINNAKER_PROPERTY_A=b\n" + strings.Repeat("x", 9<<20) + "\nnoise": `{"a":"b"}`,
	} {
		m, err := Properties(strings.NewReader(log))
		got, _ := json.Marshal(m)
		if err != nil {
			got = []byte("error")
		}
		if string(got) != want {
			t.Errorf("%.200q: %s, want %s", log, got, want)
		}
	}
}

func FuzzProperties(f *testing.F) {
	f.Add("SPINNAKER_PROPERTY_A=b\nSPINNAKER_CONFIG_JSON={\"a\":1}")
	f.Fuzz(func(t *testing.T, log string) {
		if m, err := Properties(strings.NewReader(log)); err == nil {
			if _, err := json.Marshal(m); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestCustomKinds_EveryOperator(t *testing.T) {
	kinds, err := ParseCustomKinds([]byte(`{
		"Rollout": {"statusChecks": [{"fieldPath": "phase", "comparedValue": "Healthy", "operator": "eq"}]},
		"Job": {"statusChecks": [{"fieldPath": "state.phase", "comparedValue": "Completed", "operator": "EQ"}]},
		"Widget.example.com": {"statusChecks": [{"fieldPath": "a.b", "comparedValue": 3, "operator": "NE"}, {"fieldPath": "phase", "comparedValue": true, "operator": "EQ", "onMismatch": "wait"}, {"fieldPath": "phase", "comparedValue": 1, "operator": "like"}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	failed := func(message string) string {
		return `{"stable":{"state":false},"paused":{"state":false},"available":{"state":true},"failed":{"state":true,"message":"` + message + `"}}`
	}
	for _, c := range []struct{ kind, status, want string }{
		{"Rollout.argoproj.io", "{phase: Healthy}", fine}, {"rollout.argoproj.io", "{phase: Progressing}", failed("Field status.phase was Progressing")},
		{"Rollout.argoproj.io", "{}", fine}, {"Rollout.argoproj.io", "", fine},
		{"Widget.example.com", "{a: {b: 3}}", failed("Field status.a.b was 3")}, {"Widget.example.com", "{a: {b: 4}}", fine}, {"Widget.example.com", "{a: text}", fine},
		{"Widget.example.com", "{phase: false}", u("Field status.phase was false")},
		{"Widget.other.com", "{a: {b: 3}}", "none"}, {"deployment", "{}", "none"},
		{"job", "{state: {phase: Running}}", "none"}, {"Job.batch.volcano.sh", "{state: {phase: Running}}", failed("Field status.state.phase was Running")},
	} {
		text := "{apiVersion: v1, kind: Any}"
		if c.status != "" {
			text = "{apiVersion: v1, kind: Any, status: " + c.status + "}"
		}
		status, ok := kinds.StatusOf(c.kind, objectOf(t, text))
		got, _ := json.Marshal(status)
		if !ok {
			got = []byte("none")
		}
		if string(got) != c.want {
			t.Errorf("%s %s:\n%s\nwant\n%s", c.kind, c.status, got, c.want)
		}
	}
	for _, bad := range []string{`[]`, `{"X":{"statusChecks":[{}]}}`, `{"X":{"statusChecks":[{"fieldPath":"a","onMismatch":"explode"}]}}`} {
		if _, err := ParseCustomKinds([]byte(bad)); err == nil {
			t.Error(bad)
		}
	}
}

func TestPick_EveryCriteria(t *testing.T) {
	all := SortSiblings([]Sibling{
		{Name: "v002", created: 2000, sequence: 2, replicas: 1}, {Name: "v000", created: 1000, sequence: 0, replicas: 5},
		{Name: "v001", created: 2900, sequence: 1, replicas: 1}, {Name: "other", created: 500, sequence: -1, replicas: -1},
	})
	for criteria, want := range map[string]string{"oldest": "other", "newest": "v002", "second_newest": "v001", "smallest": "other", "largest": "v000"} {
		if got, ok := Pick(criteria, all); !ok || got.Name != want {
			t.Errorf("%s: %v %v, want %s", criteria, got, ok, want)
		}
		if _, ok := Pick(criteria, nil); ok {
			t.Errorf("%s of none", criteria)
		}
	}
	if _, ok := Pick("second_newest", all[:1]); ok {
		t.Error("the second of one")
	}
	if got := string(Siblings(all[:1])); got != `[{"kind":"","namespace":"","name":"other"}]` {
		t.Error(got)
	}
}

func TestPodMetrics_HasTheCellsOfKubectlTop(t *testing.T) {
	got := string(Encode(PodMetrics(objectOf(t, "{apiVersion: v1, kind: PodMetrics, containers: [{name: web, usage: {cpu: 12345678n, memory: 65536Ki}}, {name: odd, usage: {cpu: x}}]}"))))
	if want := `[{"containerName":"web","metrics":{"CPU(cores)":"13m","MEMORY(bytes)":"64Mi"}},{"containerName":"odd","metrics":{}}]`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
