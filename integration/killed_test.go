package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/localkube"
)

// killedOperation is one that the process is killed in.
type killedOperation struct {
	name string
	// prepare makes what is there before.
	prepare func(t *testing.T, o *ops)
	// submit gives the operation and its fields.
	submit func(t *testing.T, o *ops) (name, fields string)
	// holds says what is wrong afterwards, "" for nothing.
	holds func(t *testing.T, o *ops, d done) string
}

var killedOperations = []killedOperation{
	{
		"recreate",
		func(t *testing.T, o *ops) { apply(t, o.c, o.configMap("cm", "{k: before}")) },
		func(t *testing.T, o *ops) (string, string) {
			return "deployManifest", o.deployFields(t, recreated(o.configMap("cm", "{k: after}")), "versioned: false")
		},
		func(t *testing.T, o *ops, d done) string {
			now := o.live(t, o.core("configmaps", "cm"))
			if now.at("data", "k") != "after" || d.only(t).Manifests[0].text("metadata", "uid") != now.text("metadata", "uid") {
				return fmt.Sprint(now)
			}
			return ""
		},
	},
	{
		"runjob",
		func(t *testing.T, o *ops) { apply(t, o.c, o.job("once", "")) },
		func(t *testing.T, o *ops) (string, string) {
			return "runJob", o.runJobFields(o.job("once", "backoffLimit: 3,"))
		},
		func(t *testing.T, o *ops, d done) string {
			now := o.live(t, o.jobPath("once"))
			if now.at("spec", "backoffLimit") != 3.0 || d.only(t).Manifests[0].text("metadata", "uid") != now.text("metadata", "uid") {
				return fmt.Sprint(now)
			}
			return ""
		},
	},
	{
		"bylabel",
		func(t *testing.T, o *ops) {
			for i := range 3 {
				apply(t, o.c, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm-%d, namespace: %s, labels: {set: gone}}\ndata: {k: v}", i, o.namespace))
			}
			apply(t, o.c, o.configMap("kept", "{k: v}"))
		},
		func(_ *testing.T, o *ops) (string, string) {
			return "deleteManifest", "location: " + o.namespace + "\nkinds: [configMap]\nlabelSelectors: {selectors: [{kind: EQUALS, key: set, values: [gone]}]}"
		},
		func(t *testing.T, o *ops, d done) string {
			for i := range 3 {
				if o.exists(t, o.core("configmaps", fmt.Sprintf("cm-%d", i))) {
					return "not deleted"
				}
			}
			if names := o.names(d.only(t)); len(names) != 3 || !o.exists(t, o.core("configmaps", "kept")) {
				return fmt.Sprint(names)
			}
			return ""
		},
	},
	{
		"sided",
		func(t *testing.T, o *ops) { apply(t, o.c, o.configMap("other", "{k: v}")) },
		func(t *testing.T, o *ops) (string, string) {
			return "deployManifest", o.deployFields(t, strings.Replace(o.configMap("cm", "{k: v}"), "metadata: {name", "metadata: {annotations: {strategy.spinnaker.io/server-side-apply: 'true'}, name", 1), "")
		},
		func(t *testing.T, o *ops, d done) string {
			if names := o.names(d.only(t)); len(names) != 1 || names[0] != "configMap cm-v000" || o.exists(t, o.core("configmaps", "cm-v001")) || o.live(t, o.core("configmaps", "cm-v000")).at("data", "k") != "v" {
				return d.raw
			}
			return ""
		},
	},
}

// TestKilled_AtEveryWriteLosesAndDoublesNothing kills the process before and
// after each write of each operation. The API server is away when the next
// process starts, for a while.
func TestKilled_AtEveryWriteLosesAndDoublesNothing(t *testing.T) {
	t.Parallel() // it keeps apart by namespace
	c := pool.Shared(t, 1)[0]
	onEach(t, "utf8mb4", func(t *testing.T, b backend) {
		t.Parallel() // most of it is waiting
		for _, op := range killedOperations {
			kills := 0
			for at := int64(1); ; at++ {
				name := fmt.Sprintf("%s-%s-%d", op.name, strings.ToLower(b.name), at)
				more := false
				t.Run(name, func(t *testing.T) { more = op.killAt(t, c, b, name, at) })
				if t.Failed() {
					return
				}
				if !more {
					break
				}
				kills++
			}
			if kills < 2 {
				t.Errorf("%s: only %d kills", op.name, kills)
			}
			t.Logf("%s on %s: killed at %d moments", op.name, b.name, kills)
		}
	})
}

// killAt says whether there was such a moment.
func (op killedOperation) killAt(t *testing.T, c *localkube.Cluster, b backend, name string, at int64) (killed bool) {
	namespace(t, name, c)
	p, err := c.Proxy()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	proxied := behind(c, c.Name, p)
	direct := &ops{nil, c, name}
	op.prepare(t, direct)
	in := replicaInput{MySQL: b.options.MySQL, Path: b.options.Path, At: at}
	first := startProcess(t, in, proxied, name)
	operation, fields := op.submit(t, first.ops)
	id := first.submit(t, first.body(t, operation, fields), name)
	killed = first.killedBeforeItEnds(t, id)
	if killed {
		// Not always, and for longer than a call is repeated.
		if at%2 == 1 {
			p.Refuse(true)
			time.AfterFunc(4*time.Second, func() { p.Refuse(false) })
		}
		in.At = 0
		first = startProcess(t, in, proxied, name)
	}
	d := first.await(t, id)
	if d.Status.Failed {
		t.Fatalf("killed at moment %d: %s", at, d.Status.Status)
	}
	looking := &ops{first.service, c, name}
	if wrong := op.holds(t, looking, d); wrong != "" {
		t.Errorf("killed at moment %d: %s", at, wrong)
	}
	first.kill()
	return killed
}

// TestShortJob_IsNotRunAgainAfterATakeOver kills the owner after its job was
// made, and has the job gone, by its time to live, before the next one starts.
func TestShortJob_IsNotRunAgainAfterATakeOver(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	for about, named := range map[string]bool{"named": true, "generated": false} {
		t.Run(about, func(t *testing.T) {
			name := "short-" + about
			namespace(t, name, c)
			b := storeOptions(t, nil)
			in := replicaInput{Path: b.Path, At: 2} // after the one POST
			p := startProcess(t, in, c, name)
			manifest := p.job("once", "ttlSecondsAfterFinished: 0,")
			if !named {
				manifest = strings.Replace(manifest, "name: once", "generateName: once-", 1)
			}
			id := p.submit(t, p.body(t, "runJob", p.runJobFields(manifest)), name)
			if !p.killedBeforeItEnds(t, id) {
				t.Fatal("not killed")
			}
			o := &ops{nil, c, name}
			path := "/apis/batch/v1/namespaces/" + name + "/jobs"
			var list struct{ Items []object }
			if err := json.Unmarshal(call(t, c, http.MethodGet, path, "", ""), &list); err != nil || len(list.Items) != 1 {
				t.Fatal(list, err)
			}
			job := list.Items[0].text("metadata", "name")
			eventually(t, 30*time.Second, func() error { // the controller has begun: there is an event
				events := call(t, c, http.MethodGet, "/api/v1/namespaces/"+name+"/events?fieldSelector=involvedObject.name="+job, "", "")
				if !strings.Contains(string(events), `"Job"`) {
					return fmt.Errorf("%s", events)
				}
				return nil
			})
			_, _ = c.Call(context.Background(), http.MethodDelete, path+"/"+job+"?propagationPolicy=Background", "application/json", nil) // it may have ended by itself
			eventually(t, 30*time.Second, func() error {
				if o.exists(t, path+"/"+job) {
					return fmt.Errorf("still there")
				}
				return nil
			})
			in.At = 0
			q := startProcess(t, in, c, name)
			d := q.await(t, id)
			d.failed(t, "it is not run a second time")
			if o.exists(t, path+"/"+job) {
				t.Error("run again")
			}
			q.kill()
		})
	}
}

// TestDestroyJob_CancelsTheJobOfTheExecution has the rows of operations.md 5.11.
func TestDestroyJob_CancelsTheJobOfTheExecution(t *testing.T) {
	o := startOps(t, "cancelled")
	in := func(o *ops, execution, operation, fields string) done {
		t.Helper()
		return o.await(t, o.submitIn(t, execution, o.body(t, operation, fields)))
	}
	run := func(execution, name string) {
		t.Helper()
		if d := in(o, execution, "runJob", o.runJobFields(o.job(name, "suspend: true,"))); d.Status.Failed {
			t.Fatal(d.raw)
		}
	}
	run("E1", "one")
	run("E2", "two-a")
	run("E2", "two-b")
	run("E4", "four")
	destroy := "jobName: kubernetes\ncloudProvider: kubernetes\ncredentials: " + o.c.Name
	for _, c := range []struct {
		about, execution, fields, says string
		gone                           string
	}{
		{"no execution", "", destroy, "names no execution", ""},
		{"another execution", "E9", destroy, "no unfinished job", ""},
		{"another region", "E1", destroy + "\nregion: elsewhere", "no unfinished job", ""},
		{"two jobs", "E2", destroy, "2 unfinished jobs", ""},
		{"one job", "E1", destroy + "\nregion: cancelled", "Deleted job one", "one"},
		{"finished", "E1", destroy, "no unfinished job", ""},
		{"without a region", "E4", destroy, "Deleted job four", "four"},
	} {
		d := in(o, c.execution, "destroyJob", c.fields)
		if d.Status.Failed || !strings.Contains(d.raw, c.says) {
			t.Errorf("%s: %s", c.about, d.raw)
		}
		if c.gone != "" && o.exists(t, o.jobPath(c.gone)) {
			t.Errorf("%s: the job is there", c.about)
		}
	}
	if !o.exists(t, o.jobPath("two-a")) || !o.exists(t, o.jobPath("two-b")) {
		t.Error("a job that was not meant is gone")
	}
	if r := o.get(t, "/features/stages"); strings.Contains(r.body, "destroyJob") {
		t.Error(r.body)
	}
}
