package integration

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/localkube"
)

// TestCanaries_AreNowhere gives the process distinctive secrets wherever it takes
// one, has it work, and looks for them in its log, its answers, its files, and in
// the environment of the credential plugin that it runs.
func TestCanaries_AreNowhere(t *testing.T) {
	cluster := pool.Shared(t, 1)[0]
	namespace(t, "canaries", cluster)
	dir := t.TempDir()
	canary := func(name string) string { return "hush-" + name + "-5f0c1b" }
	plain := filepath.Join(dir, "plain")
	if err := localkube.WriteKubeconfig(plain, cluster); err != nil {
		t.Fatal(err)
	}
	seen := filepath.Join(dir, "environment-of-the-plugin")
	plugin := filepath.Join(dir, "plugin")
	script := "#!/bin/sh\nenv > " + seen + "\necho '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{\"token\":\"" + canary("plugin-token") + "\"}}'\n"
	if err := os.WriteFile(plugin, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(dir, "with-plugin")
	content := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: k, cluster: {server: %q, certificate-authority-data: %s}}]\ncontexts: [{name: c, context: {cluster: k, user: u}}]\nusers: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: %q, interactiveMode: Never, env: [{name: NAMED, value: by-the-kubeconfig}]}}}]\n",
		cluster.URL, base64.StdEncoding.EncodeToString(cluster.CA), plugin)
	if err := os.WriteFile(kubeconfig, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	settings := filepath.Join(dir, "clouddriver.yml")
	if err := os.WriteFile(settings, []byte(fmt.Sprintf("kubernetes:\n  accounts:\n  - {name: works, kubeconfigFile: %q}\n  - {name: plugged, kubeconfigFile: %q}\nservices.arcade.apiKey: 'encrypted:noop!v:%s'\n", plain, kubeconfig, canary("arcade"))), 0o600); err != nil {
		t.Fatal(err)
	}
	database := filepath.Join(dir, "database")
	if err := os.Mkdir(database, 0o700); err != nil {
		t.Fatal(err)
	}
	keys := "k:" + base64.StdEncoding.EncodeToString([]byte(canary("sealing-key") + "0123456789")[:32])
	p := startBinaryWith(t, clouddriver.Path(t), database, []string{
		"CLOUDDRIVER_TOKEN_KEYS=" + keys, "CLOUDDRIVER_ADMIN_TOKEN=" + canary("admin-token"), "SOMETHING=" + canary("foreign"), "VERBOSE_REQUEST_LOGGING=true",
	}, "--config="+settings, "--log.level=debug", "--services.front50.baseUrl=http://127.0.0.1:1")
	eventually(t, 30*time.Second, func() error {
		r, err := p.tryGet("/readyz")
		if err == nil && r.status != http.StatusOK {
			err = errors.New(r.body)
		}
		return err
	})
	var answers bytes.Buffer
	ask := func(method, path, body string) string {
		req, err := http.NewRequest(method, p.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		for _, name := range []string{"X-Auth-Key", "Cookie", "X-Spinnaker-Other"} {
			req.Header.Set(name, canary("header"))
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		var read bytes.Buffer
		_, _ = read.ReadFrom(res.Body)
		if method != http.MethodPost || path != providersPath { // which answers what it was sent (accounts.md 3.2)
			fmt.Fprintf(&answers, "%s %s: %d %s\n", method, path, res.StatusCode, read.String())
		}
		return read.String()
	}
	manifest := func(kind, more string) string {
		return fmt.Sprintf(`{"apiVersion":"v1","kind":%q,"metadata":{"name":"canary","namespace":"canaries"}%s}`, kind, more)
	}
	for _, operation := range []string{
		`{"deployManifest":{"account":"works","moniker":{"app":"canaries"},"source":"text","manifests":[` + manifest("Secret", `,"stringData":{"a":"`+canary("secret")+`"}`) + `]}}`,
		`{"deployManifest":{"account":"works","moniker":{"app":"canaries"},"source":"text","manifests":[` + manifest("Secret", `,"data":{"a":"`+base64.StdEncoding.EncodeToString([]byte(canary("secret")+canary("secret")))+`"}`) + `]}}`,
		`{"patchManifest":{"account":"works","location":"canaries","manifestName":"secret canary-v000","source":"text","patchBody":[{"stringData":{"b":"` + canary("patched") + `"}}],"options":{"mergeStrategy":"strategic","record":false}}}`,
		`{"deployManifest":{"account":"works","moniker":{"app":"canaries"},"source":"text","manifests":[` + manifest("Secret", `,"stringDta":{"a":"`+canary("misspelt")+`"}`) + `]}}`,
		`{"deployManifest":{"account":"works","moniker":{"app":"canaries"},"source":"text","manifests":[` + manifest("Secret", `,"type":{"a":"`+canary("wrong-type")+`"}`) + `]}}`,
	} {
		answer := ask(http.MethodPost, "/kubernetes/ops", "["+operation+"]")
		id := taskIDIn(answer)
		if id == "" {
			continue // refused
		}
		eventually(t, 20*time.Second, func() error {
			if done := ask(http.MethodGet, "/task/"+id, ""); !strings.Contains(done, `"completed":true`) {
				return fmt.Errorf("%.300s", done)
			}
			return nil
		})
		ask(http.MethodGet, "/ui/tasks/"+id, "")
	}
	ask(http.MethodPost, providersPath, `{"name":"static","host":"https://192.0.2.1","tokenProvider":"static","bearerToken":"`+canary("bearer")+`"}`)
	ask(http.MethodPost, "/credentials", `{"type":"kubernetes","name":"bad","kubeconfigContents":"`+canary("kubeconfig")+`: ["}`)
	for _, path := range []string{
		"/applications", "/applications/canaries/history", "/applications/canaries/rawResources", "/search?type=secret&q=canary", "/metrics", "/credentials?expand=true", "/v1/kubernetes/providers",
		"/ui/accounts", "/ui/accounts/plugged", "/ui/accounts/works", "/ui/tasks", "/cache/introspection", "/manifests/plugged/canaries/pod%20x", "/manifests/plugged/canaries/secret%20canary",
	} {
		ask(http.MethodGet, path, "")
	}
	eventually(t, 20*time.Second, func() error {
		_, err := os.Stat(seen)
		return err
	})
	if err := p.cmd.Process.Kill(); err != nil { // as it lies there, with no time to tidy up
		t.Fatal(err)
	}
	<-p.exited
	look := func(where string, content []byte) {
		for at := 0; ; {
			found := bytes.Index(content[at:], []byte("hush-"))
			if found < 0 {
				break
			}
			at += found
			t.Errorf("%s: %.60s", where, content[at:])
			at++
		}
		for _, name := range []string{"secret", "sealing-key"} {
			if bytes.Contains(content, []byte(base64.StdEncoding.EncodeToString([]byte(canary(name) + canary(name)))[:40])) {
				t.Errorf("%s: %s in base64", where, name)
			}
		}
	}
	look("the log", []byte(p.log()))
	look("the answers", answers.Bytes())
	environment, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	look("the environment of the plugin", environment)
	if !bytes.Contains(environment, []byte("NAMED=by-the-kubeconfig")) || !bytes.Contains(environment, []byte("PATH=")) {
		t.Errorf("the plugin lacks what it needs: %s", environment)
	}
	err = filepath.WalkDir(database, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		look(filepath.Base(path), content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
