package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/localkube"
	assembly "github.com/datapunchorg/go-clouddriver/pkg/service"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// replicaEnv makes the test binary be a replica of its own, which can be
// killed or stopped at a moment of its choice.
const replicaEnv = "INTEGRATION_REPLICA"

type replicaInput struct {
	MySQL      *store.MySQL
	Path       string
	Kubeconfig string
	// At is the number of the moment: before and after each write to a
	// cluster, counted from 1. 0 is never.
	At int64
	// Stop stops the process there instead of killing it.
	Stop bool
	// Snapshots is where it keeps what it knows; "" for nowhere.
	Snapshots string
}

// moments counts the writes to clusters.
type moments struct {
	next http.RoundTripper
	n    *atomic.Int64
	at   int64
	stop bool
}

func (m moments) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet {
		return m.next.RoundTrip(r)
	}
	m.pass()
	res, err := m.next.RoundTrip(r)
	m.pass()
	return res, err
}

func (m moments) pass() {
	if m.n.Add(1) != m.at {
		return
	}
	if m.stop {
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		// The call returns before every thread has stopped: what follows must come
		// after the stop, not beside it.
		time.Sleep(100 * time.Millisecond)
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

const replicaLease = 2 * time.Second

// replica serves until it is killed. It says where on its standard output.
func replica(input string) error {
	var in replicaInput
	if err := json.Unmarshal([]byte(input), &in); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	c := onDatabase(settings(), store.Options{MySQL: in.MySQL, Path: in.Path, Timeout: 10 * time.Second})
	c.Tasks.Lease = replicaLease
	c.Kubernetes.Kubeconfig = in.Kubeconfig
	c.Snapshots.Directory, c.Snapshots.Every = in.Snapshots, time.Second
	var n atomic.Int64
	s := &service{wrap: func(next http.RoundTripper) http.RoundTripper { return moments{next, &n, in.At, in.Stop} }}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	o := s.parts(log)
	o.Listener = listener
	o.Started = func(*assembly.Service) { fmt.Println("http://" + listener.Addr().String()) }
	return assembly.Serve(context.Background(), &c, o)
}

// process is a replica as seen from the test.
type process struct {
	*ops
	cmd    *exec.Cmd
	exited chan struct{}
}

func startProcess(t testing.TB, in replicaInput, c *localkube.Cluster, namespace string) *process {
	t.Helper()
	in.Kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	if err := localkube.WriteKubeconfig(in.Kubeconfig, c); err != nil {
		t.Fatal(err)
	}
	input, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), replicaEnv+"="+string(input))
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, exited: make(chan struct{})}
	line, err := bufio.NewReader(out).ReadString('\n')
	go func() {
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("log of the replica:\n%s", text)
		}
	})
	if err != nil || !strings.HasPrefix(line, "http") {
		t.Fatal("the replica does not start:", line, err)
	}
	p.ops = &ops{&service{URL: strings.TrimSpace(line)}, c, namespace}
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// killedBeforeItEnds waits for one of the two.
func (p *process) killedBeforeItEnds(t *testing.T, id string) bool {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case <-p.exited:
			return true
		case <-deadline:
			t.Fatal("neither killed nor through")
		case <-time.After(20 * time.Millisecond):
		}
		if r, err := p.tryGet("/task/" + id); err == nil && strings.Contains(r.body, `"completed":true`) {
			select {
			case <-p.exited:
				return true
			default:
				return false
			}
		}
	}
}

// five is a deploy of five objects, a versioned one, a generated job and a
// definition with its object among them.
func five(o *ops) string {
	return fmt.Sprintf(`apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.%[1]s.example.com}
spec:
  group: %[1]s.example.com
  scope: Namespaced
  names: {plural: things, singular: thing, kind: Thing}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
---
apiVersion: %[1]s.example.com/v1
kind: Thing
metadata: {name: thing, namespace: %[1]s}
spec: {a: b}
---
apiVersion: batch/v1
kind: Job
metadata: {generateName: job-, namespace: %[1]s}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: x}]}}}
---
%[2]s
---
%[3]s`, o.namespace, o.configMap("settings", "{k: v}"), o.deployment("web", "registry/web"))
}

// state is what is in the namespace after a deploy of five, without what
// differs from run to run.
func (o *ops) state(t testing.TB) string {
	t.Helper()
	var out []string
	for _, path := range []string{"/api/v1/namespaces/%s/configmaps", "/apis/apps/v1/namespaces/%s/deployments", "/apis/batch/v1/namespaces/%s/jobs", "/apis/%[1]s.example.com/v1/namespaces/%[1]s/things"} {
		var list struct{ Items []object }
		if err := json.Unmarshal(call(t, o.c, http.MethodGet, fmt.Sprintf(path, o.namespace), "", ""), &list); err != nil {
			t.Fatal(err)
		}
		for _, i := range list.Items {
			name := i.text("metadata", "name")
			if name == "kube-root-ca.crt" {
				continue
			}
			if strings.HasPrefix(name, "job-") {
				name = "job-"
			}
			out = append(out, fmt.Sprint(path[strings.LastIndexByte(path, '/'):], " ", name, " ", i["data"], i.annotation("artifact.spinnaker.io/version"), " ", i.annotation("moniker.spinnaker.io/cluster")))
		}
	}
	slices.Sort(out)
	return strings.ReplaceAll(strings.Join(out, "\n"), o.namespace, "NAMESPACE")
}

func (o *ops) dropDefinition(t testing.TB) {
	call(t, o.c, http.MethodDelete, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things."+o.namespace+".example.com", "application/json", "")
}

// TestDeploy_SurvivesSIGKILLAtEveryStep kills the process before and after
// every write of a deploy of five objects, and starts another one.
func TestDeploy_SurvivesSIGKILLAtEveryStep(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	onEach(t, "utf8mb4", func(t *testing.T, b backend) {
		want := ""
		kills := 0
		for at := int64(0); ; at++ {
			name := fmt.Sprintf("kill-%s-%d", strings.ToLower(b.name), at)
			killed := false
			t.Run(name, func(t *testing.T) {
				namespace(t, name, c)
				in := replicaInput{MySQL: b.options.MySQL, Path: b.options.Path, At: at}
				p := startProcess(t, in, c, name)
				t.Cleanup(func() { p.dropDefinition(t) })
				id := p.submit(t, p.body(t, "deployManifest", p.deployFields(t, five(p.ops), "")), name)
				if at == 0 {
					p.await(t, id).only(t)
					want = p.state(t)
					p.kill()
					return
				}
				if killed = p.killedBeforeItEnds(t, id); !killed { // there is no such moment any more
					p.kill()
					return
				}
				in.At = 0
				q := startProcess(t, in, c, name)
				begin := time.Now()
				d := q.await(t, id)
				r := d.only(t)
				if took := time.Since(begin); took > 30*time.Second {
					t.Errorf("taken over after %s", took)
				}
				if got := q.state(t); got != want {
					t.Errorf("killed at moment %d:\n%s\nundisturbed:\n%s", at, got, want)
				}
				if len(r.Manifests) != 5 || len(r.CreatedArtifacts) != 5 || len(r.ManifestNamesByNamespace[name]) != 4 {
					t.Errorf("result: %s", d.raw)
				}
				if again := q.submit(t, "[]", name); again != id {
					t.Error("the request is another task now")
				}
				q.kill()
			})
			if t.Failed() {
				return
			}
			if at > 0 && !killed {
				break
			}
			if killed {
				kills++
			}
		}
		if kills < 10 {
			t.Errorf("only %d kills", kills)
		}
		t.Logf("%s: killed at %d moments", b.name, kills)
	})
}

// TestStoppedOwner_DoesNothingTwice stops the owner of a task just before one
// of its writes, lets the other replica finish, and lets the owner go on.
func TestStoppedOwner_DoesNothingTwice(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	m := newDatabase(t, "utf8mb4")
	second := startProcess(t, replicaInput{MySQL: m}, c, "")
	for _, scenario := range []struct {
		name string
		at   int64
		// body is what is submitted; effects counts what happened.
		prepare string
		body    func(o *ops) (name, fields string)
		effects func(t *testing.T, o *ops) string
		want    string
	}{
		{"generated-job", 1, "", func(o *ops) (string, string) {
			return "runJob", "application: x\nmanifest: {apiVersion: batch/v1, kind: Job, metadata: {generateName: j-, namespace: " + o.namespace + "}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: x}]}}}}"
		}, func(t *testing.T, o *ops) string {
			var list struct{ Items []object }
			_ = json.Unmarshal(call(t, o.c, http.MethodGet, "/apis/batch/v1/namespaces/"+o.namespace+"/jobs", "", ""), &list)
			return fmt.Sprint(len(list.Items), " jobs")
		}, "1 jobs"},
		{"version", 1, "", func(o *ops) (string, string) {
			return "deployManifest", o.deployFields(t, o.configMap("v", "{a: b}"), "")
		}, func(t *testing.T, o *ops) string {
			return fmt.Sprint(o.exists(t, o.core("configmaps", "v-v000")), o.exists(t, o.core("configmaps", "v-v001")))
		}, "true false"},
		{"recreate", 1, "recreate", func(o *ops) (string, string) {
			return "deployManifest", o.deployFields(t, strings.Replace(o.configMap("r", "{a: c}"), "metadata: {", "metadata: {annotations: {strategy.spinnaker.io/recreate: 'true', strategy.spinnaker.io/versioned: 'false'}, ", 1), "")
		}, func(t *testing.T, o *ops) string {
			return fmt.Sprint(o.live(t, o.core("configmaps", "r")).at("data"))
		}, "map[a:c]"},
		// Applied onto an object that a newer deploy changes before the owner
		// goes on.
		{"update", 1, "update", func(o *ops) (string, string) {
			return "deployManifest", o.deployFields(t, strings.Replace(o.configMap("r", "{a: c}"), "metadata: {", "metadata: {annotations: {strategy.spinnaker.io/versioned: 'false'}, ", 1), "")
		}, func(t *testing.T, o *ops) string {
			return fmt.Sprint(o.live(t, o.core("configmaps", "r")).at("data"))
		}, "map[a:newer]"},
	} {
		t.Run(scenario.name, func(t *testing.T) {
			name := "stop-" + scenario.name
			namespace(t, name, c)
			first := startProcess(t, replicaInput{MySQL: m, At: scenario.at, Stop: true}, c, name)
			o := &ops{service: second.service, c: c, namespace: name}
			if scenario.prepare != "" {
				apply(t, c, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: r, namespace: "+name+"}\ndata: {a: b}")
			}
			operation, fields := scenario.body(o)
			id := first.submit(t, first.body(t, operation, fields), "")
			eventually(t, 20*time.Second, func() error {
				status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", first.cmd.Process.Pid))
				if err != nil || !strings.Contains(string(status), ") T ") {
					return errors.New("not stopped yet")
				}
				return nil
			})
			begin := time.Now()
			d := o.await(t, id)
			d.only(t)
			if took := time.Since(begin); took > 30*time.Second {
				t.Errorf("taken over after %s", took)
			}
			if !strings.Contains(d.raw, "Taken over by") {
				t.Errorf("not taken over: %s", d.raw)
			}
			uid := fmt.Sprint(d.results[0].Manifests[0].at("metadata", "uid"))
			if scenario.prepare == "update" {
				o.deploy(t, strings.Replace(o.configMap("r", "{a: newer}"), "metadata: {", "metadata: {annotations: {strategy.spinnaker.io/versioned: 'false'}, ", 1), "").only(t)
			}
			if err := first.cmd.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			// It has found out when it takes tasks of its own again.
			again := first.await(t, first.submit(t, first.body(t, "deployManifest", first.deployFields(t, first.serviceManifest("after", "{a: b}"), "")), ""))
			again.only(t)
			if got := scenario.effects(t, o); got != scenario.want {
				t.Errorf("%s, want %s", got, scenario.want)
			}
			if after := o.await(t, id); after.raw != d.raw {
				t.Errorf("the task has changed:\n%s\nwas\n%s", after.raw, d.raw)
			}
			if got := fmt.Sprint(o.live(t, objectPath(o, d.results[0].Manifests[0])).at("metadata", "uid")); got != uid {
				t.Errorf("another object: %s, was %s", got, uid)
			}
			t.Logf("finished by the survivor after %s", time.Since(begin).Round(10*time.Millisecond))
		})
	}
}

func objectPath(o *ops, m object) string {
	if m.text("kind") == "Job" {
		return "/apis/batch/v1/namespaces/" + o.namespace + "/jobs/" + m.text("metadata", "name")
	}
	return o.core("configmaps", m.text("metadata", "name"))
}
