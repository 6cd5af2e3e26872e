package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// endlessLog answers with a log that goes on for as long as it is read.
func endlessLog(r *http.Request) (*http.Response, error) {
	out, in := io.Pipe()
	go func() {
		for r.Context().Err() == nil {
			if _, err := io.WriteString(in, "tick\n"); err != nil {
				return
			}
			select {
			case <-r.Context().Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
		_ = in.CloseWithError(r.Context().Err())
	}()
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: out, Request: r}, nil
}

// instanceAndJobRows are those of instances, jobs and their logs.
func instanceAndJobRows() []check {
	return []check{
		{17, "instances", func(t *testing.T, o *ops) {
			o.deploy(t, o.replicaSetManifest("instanced", 1)+"\n---\n"+o.serviceManifest("instanced", "{a: b}"), "").only(t)
			o.settled(t, "replicaSet instanced-v000")
			pod := o.onePod(t, "set=instanced")
			var m map[string]any
			eventually(t, 10*time.Second, func() error {
				r := o.get(t, escaped("instances", o.c.Name, o.namespace, "pod "+pod))
				if r.status != 200 {
					return errors.New(r.body)
				}
				return json.Unmarshal([]byte(r.body), &m)
			})
			if m["healthState"] != "Up" || m["humanReadableName"] != "pod "+pod || m["zone"] != o.namespace || m["id"] == nil {
				t.Errorf("%v", m)
			}
			o.get(t, escaped("instances", o.c.Name, o.namespace, "service instanced")).says(t, 200, `"health":[]`, `"healthState":"Unknown"`)
			for _, id := range []string{"pod nobody", "oneword"} {
				o.get(t, escaped("instances", o.c.Name, o.namespace, id)).says(t, 404, "Instance not found (id: "+id+")")
			}
			o.get(t, escaped("instances", "nobody", o.namespace, "pod x")).says(t, 404)
		}},
		{18, "console output", func(t *testing.T, o *ops) {
			apply(t, o.c, "apiVersion: v1\nkind: Pod\nmetadata: {name: talks, namespace: "+o.namespace+"}\nspec: {initContainers: [{name: init, image: x}], containers: [{name: silent, image: x}, {name: main, image: x}]}")
			for name, text := range map[string]string{"init": "migrated", "main": "listening\non 8080 \xff"} {
				if err := o.c.SetLog(name, text); err != nil {
					t.Fatal(err)
				}
			}
			path := escaped("instances", o.c.Name, o.namespace, "pod talks", "console")
			var got struct {
				Output []struct{ Name, Output string }
			}
			eventually(t, 20*time.Second, func() error {
				got.Output = nil
				o.get(t, path+"?provider=kubernetes").into(t, &got)
				// Which logs there are takes the kubelet a moment to know, of those that are not there, too.
				if len(got.Output) != 3 || got.Output[0].Output != "migrated\n" || got.Output[1].Output == "" {
					return fmt.Errorf("%+v", got)
				}
				return nil
			})
			if got.Output[0].Name != "init" || got.Output[1].Name != "silent" || got.Output[2].Name != "main" || got.Output[2].Output != "listening\non 8080 \uFFFD\n" || !strings.HasPrefix(got.Output[1].Output, "Failed to get logs from talks/silent in "+o.namespace+": ") {
				t.Errorf("%+v", got)
			}
			o.get(t, escaped("instances", o.c.Name, o.namespace, "pod nobody", "console")).is(t, 200, `{"output":[{"name":"Error","output":"Failed to retrieve pod data; pod may have been deleted."}]}`)
			for _, bad := range []string{path + "?provider=aws", path + "?provider=kubernetes&cloudProvider=gce", escaped("instances", o.c.Name, o.namespace, "service x", "console"), escaped("instances", "nobody", o.namespace, "pod x", "console"), escaped("instances", o.c.Name, o.namespace, "x", "console")} {
				o.get(t, bad).says(t, 404, "Instance not found (id: ")
			}
			if err := o.c.SetLog("main", strings.Repeat(strings.Repeat("x", 1000)+"\n", 7000)); err != nil {
				t.Fatal(err)
			}
			eventually(t, 10*time.Second, func() error { // the logs of a moment ago are shared for a second
				if r := o.get(t, path); r.status != 200 || !strings.Contains(r.body, "only the last 5242880 bytes") {
					return fmt.Errorf("%d %.300s", r.status, r.body)
				}
				return nil
			})
		}},
		{19, "jobs", func(t *testing.T, o *ops) {
			path := func(name string) string {
				return escaped("applications", "null", "jobs", o.c.Name, o.namespace, "job "+name)
			}
			r := o.run(t, "runJob", "application: x\nmanifest: {apiVersion: batch/v1, kind: Job, metadata: {generateName: run-, namespace: "+o.namespace+"}, spec: {template: {metadata: {labels: {run: it}}, spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}}}").only(t)
			full := r.DeployedNamesByLocation[o.namespace][0]
			// Found at once, and later as succeeded: kwok ends the pods of jobs.
			name := strings.TrimPrefix(full, "job ")
			o.get(t, path(name)).says(t, 200, `"provider":"kubernetes"`, `"completionDetails":{"exitCode":"","message":"","reason":"","signal":""}`)
			eventually(t, 30*time.Second, func() error {
				if r := o.get(t, path(name)); !strings.Contains(r.body, `"jobState":"Succeeded"`) {
					return errors.New(r.body)
				}
				return nil
			})
			got := o.get(t, path(name))
			got.says(t, 200, `"mostRecentPodName":"`+name, `"phase":"Succeeded"`)
			o.post(t, path(name), "").is(t, 200, got.body) // as Gate asks
			eventually(t, 10*time.Second, func() error {
				before := o.requests.Load()
				o.get(t, path(name))
				if n := o.requests.Load() - before; n != 0 {
					return fmt.Errorf("%d requests for a job that does not change", n)
				}
				return nil
			})
			apply(t, o.c, "apiVersion: batch/v1\nkind: Job\nmetadata: {name: held, namespace: "+o.namespace+"}\nspec: {suspend: true, template: {spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}}")
			o.get(t, path("held")).says(t, 200, `"jobState":"Running"`, `"pods":[]`)
			o.get(t, path("nobody")).says(t, 404, "Job not found (account: "+o.c.Name+", location: "+o.namespace+", id: job nobody)")
			o.get(t, escaped("applications", "x", "jobs", o.c.Name, o.namespace, "pod x")).says(t, 404)
			o.get(t, escaped("applications", "x", "jobs", "nobody", o.namespace, "job x")).says(t, 404)
		}},
		{19, "pods of a job that the watch does not tell of", func(t *testing.T, o *ops) {
			s := start(t, settings(), o.c).ready(t) // it watches what has Spinnaker's label
			const managed = "labels: {app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: x, moniker.spinnaker.io/cluster: job quiet}"
			apply(t, o.c, "apiVersion: batch/v1\nkind: Job\nmetadata: {name: quiet, namespace: "+o.namespace+", "+managed+"}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}}")
			path := escaped("applications", "x", "jobs", o.c.Name, o.namespace, "job quiet")
			eventually(t, 30*time.Second, func() error {
				if r := s.get(t, path); !strings.Contains(r.body, `"phase":"Succeeded"`) || !strings.Contains(r.body, `"jobState":"Succeeded"`) {
					return errors.New(r.body)
				}
				return nil
			})
			call(t, o.c, http.MethodPatch, o.core("pods", o.onePod(t, "job-name=quiet"))+"/status", mergePatch, `{"status":{"message":"told late"}}`)
			s.get(t, path).says(t, 200, `"message":"told late"`)
		}},
		{20, "why a job has failed", func(t *testing.T, o *ops) {
			path := escaped("applications", "x", "jobs", o.c.Name, o.namespace, "job breaks")
			// A pod that no node takes keeps the status that it is given here.
			apply(t, o.c, "apiVersion: batch/v1\nkind: Job\nmetadata: {name: breaks, namespace: "+o.namespace+"}\nspec: {backoffLimit: 0, template: {spec: {restartPolicy: Never, nodeSelector: {no: where}, containers: [{name: migrate, image: x}]}}}")
			eventually(t, 20*time.Second, func() error {
				r := o.get(t, path)
				if !strings.Contains(r.body, `"mostRecentPodName":"breaks-`) {
					return errors.New(r.body)
				}
				return nil
			})
			pod := o.onePod(t, "job-name=breaks")
			call(t, o.c, http.MethodPatch, o.core("pods", pod)+"/status", mergePatch, `{"status":{"phase":"Failed","containerStatuses":[{"name":"migrate","image":"x","imageID":"","ready":false,"restartCount":0,"state":{"terminated":{"exitCode":1,"reason":"Error","message":"no such table"}}}]}}`)
			eventually(t, 30*time.Second, func() error {
				r := o.get(t, path)
				for _, want := range []string{
					`"jobState":"Failed"`, `"reason":"BackoffLimitExceeded"`, `"message":"Job has reached the specified backoff limit"`,
					`"failureDetails":"Pod: '` + pod + `' had errors.\n Container: 'migrate' exited with code: 1.\n Status: Error.\n Logs: no such table"`,
					`"completionDetails":{"exitCode":"","message":"Job has reached the specified backoff limit","reason":"BackoffLimitExceeded","signal":""}`,
				} {
					if !strings.Contains(r.body, want) {
						return fmt.Errorf("no %s in %s", want, r.body)
					}
				}
				return nil
			})
		}},
		{21, "jobs that are gone, or never were", func(t *testing.T, o *ops) {
			r := o.run(t, "runJob", "application: x\nmanifest: {apiVersion: batch/v1, kind: Job, metadata: {generateName: ends-, namespace: "+o.namespace+"}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}}}").only(t)
			name := strings.TrimPrefix(r.DeployedNamesByLocation[o.namespace][0], "job ")
			path := func(name string) string {
				return escaped("applications", "null", "jobs", o.c.Name, o.namespace, "job "+name)
			}
			eventually(t, 30*time.Second, func() error {
				if r := o.get(t, path(name)); !strings.Contains(r.body, `"jobState":"Succeeded"`) {
					return errors.New(r.body)
				}
				return nil
			})
			o.post(t, path("nobody"), "").says(t, 404, "Job not found")
			// A job that is gone after it has ended is still known.
			call(t, o.c, http.MethodDelete, "/apis/batch/v1/namespaces/"+o.namespace+"/jobs/"+name+"?propagationPolicy=Background", "application/json", "")
			eventually(t, 20*time.Second, func() error {
				if o.exists(t, "/apis/batch/v1/namespaces/"+o.namespace+"/jobs/"+name) {
					return errors.New("still there")
				}
				return nil
			})
			o.get(t, path(name)).says(t, 200, `"jobState":"Succeeded"`)
		}},
		{22, "property files", func(t *testing.T, o *ops) {
			apply(t, o.c, "apiVersion: batch/v1\nkind: Job\nmetadata: {name: tells, namespace: "+o.namespace+"}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: side, image: x}]}}}")
			base := escaped("applications", "x", "jobs", o.c.Name, o.namespace, "job tells")
			set := func(text string) {
				t.Helper()
				if err := o.c.SetLog("side", text); err != nil {
					t.Fatal(err)
				}
			}
			set("start\nSPINNAKER_PROPERTY_Foo=Bar\r\nSPINNAKER_PROPERTY_URL=http://x/?a=b\nSPINNAKER_CONFIG_JSON={\"n\":1}")
			eventually(t, 20*time.Second, func() error {
				if r := o.get(t, base+"/side"); r.body != `{"foo":"Bar","n":1,"url":"http://x/?a=b"}` {
					return errors.New(r.body)
				}
				return nil
			})
			for _, path := range []string{base + "/nobody", escaped("applications", "x", "jobs", o.c.Name, o.namespace, "job nobody", "side"), escaped("applications", "x", "jobs", "nobody", o.namespace, "job tells", "side")} {
				o.get(t, path).is(t, 200, "{}")
			}
			set("SPINNAKER_PROPERTY_A=b\nSPINNAKER_CONFIG_JSON={broken")
			o.get(t, base+"/side").is(t, 200, "{}")
		}},
		{22, "a property file of 100 MB", func(t *testing.T, o *ops) {
			apply(t, o.c, "apiVersion: v1\nkind: Pod\nmetadata: {name: verbose, namespace: "+o.namespace+"}\nspec: {containers: [{name: side, image: x}]}")
			path := escaped("applications", "x", "kubernetes", "pods", o.c.Name, o.namespace, "verbose", "side")
			line := strings.Repeat("x", 999) + "\n"
			if err := o.c.SetLog("side", "SPINNAKER_PROPERTY_FIRST=1\n"+strings.Repeat(line, 100_000)+"SPINNAKER_PROPERTY_LAST=2"); err != nil {
				t.Fatal(err)
			}
			// What is within the first 50 MiB counts.
			eventually(t, 60*time.Second, func() error {
				if r := o.get(t, path); r.status != 200 || r.body != `{"first":"1"}` {
					return fmt.Errorf("%d %.300s", r.status, r.body)
				}
				return nil
			})
			o.get(t, escaped("instances", o.c.Name, o.namespace, "pod verbose", "console")).says(t, 200, "only the last 5242880 bytes")
			if err := o.c.SetLog("side", ""); err != nil {
				t.Fatal(err)
			}
		}},
		{22, "a log that does not end", func(t *testing.T, o *ops) {
			apply(t, o.c, "apiVersion: v1\nkind: Pod\nmetadata: {name: endless, namespace: "+o.namespace+"}\nspec: {containers: [{name: side, image: x}]}")
			cfg := settings()
			cfg.Kubernetes.Accounts = javaAccounts(o.c)
			cfg.Server.LogTimeout = time.Second
			s := &ops{startWith(t, cfg, func(next http.RoundTripper) http.RoundTripper { return diverted{next, endsWith("/log"), endlessLog} }).ready(t), o.c, o.namespace}
			begin := time.Now()
			s.get(t, escaped("applications", "x", "kubernetes", "pods", o.c.Name, o.namespace, "endless", "side")).is(t, 200, "{}")
			s.get(t, escaped("instances", o.c.Name, o.namespace, "pod endless", "console")).says(t, 200, `{"output":[{"name":"side","output":"[the log could not be read to its end: `, `tick\ntick\n`)
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("took %s", took)
			}
		}},
		{23, "a pod's property file", func(t *testing.T, o *ops) {
			apply(t, o.c, "apiVersion: v1\nkind: Pod\nmetadata: {name: told, namespace: "+o.namespace+"}\nspec: {containers: [{name: side, image: x}]}")
			if err := o.c.SetLog("side", "x SPINNAKER_PROPERTY_Foo=Bar\nSPINNAKER_PROPERTY_A=b"); err != nil {
				t.Fatal(err)
			}
			path := func(account, pod string) string {
				return escaped("applications", "x", "kubernetes", "pods", account, o.namespace, pod, "side")
			}
			eventually(t, 20*time.Second, func() error {
				if r := o.get(t, path(o.c.Name, "told")); r.body != `{"a":"b","x foo":"Bar"}` {
					return errors.New(r.body)
				}
				return nil
			})
			o.get(t, path(o.c.Name, "nobody")).is(t, 200, "{}")
			o.get(t, path("nobody", "told")).is(t, 200, "{}")
		}},
		{24, "cancelled jobs", func(t *testing.T, o *ops) {
			apply(t, o.c, "apiVersion: batch/v1\nkind: Job\nmetadata: {name: cancelled, namespace: "+o.namespace+", labels: {app.kubernetes.io/managed-by: spinnaker}, annotations: {moniker.spinnaker.io/application: x, moniker.spinnaker.io/cluster: job cancelled}}\nspec: {suspend: true, template: {spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}}")
			path := escaped("applications", "x", "jobs", o.c.Name, o.namespace, "job cancelled")
			for range 2 {
				o.send(t, http.MethodDelete, path, "").is(t, 200, "")
			}
			o.get(t, path).says(t, 404)
			o.send(t, http.MethodDelete, escaped("applications", "x", "jobs", o.c.Name, o.namespace, "deployment x"), "").says(t, 404)
		}},
	}
}
