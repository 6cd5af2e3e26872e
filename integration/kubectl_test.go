package integration

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/localkube"
)

// kubectlRun runs kubectl and returns what it says.
func kubectlRun(t testing.TB, c *localkube.Cluster, namespace string, args ...string) string {
	t.Helper()
	config := filepath.Join(t.TempDir(), "kubeconfig")
	if err := localkube.WriteKubeconfig(config, c); err != nil {
		t.Fatal(err)
	}
	var out, errOut bytes.Buffer
	cmd := exec.Command(kubectl.Path(t), append([]string{"--kubeconfig", config, "--context", c.Name, "-n", namespace, "--cache-dir", t.TempDir()}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		t.Fatalf("kubectl %v: %v %s", args, err, errOut.String())
	}
	return out.String()
}

// TestKubectl_WorksOnWhatWeDeployedAndWeOnWhatItChanged goes back and forth
// between the two.
func TestKubectl_WorksOnWhatWeDeployedAndWeOnWhatItChanged(t *testing.T) {
	o := startOps(t, "kubectl")
	path := o.apps("deployments", "web")
	m := o.deployment("web", "v:1") + "\n  minReadySeconds: 3"
	r := o.deploy(t, m, "").only(t)
	o.settled(t, "deployment web")

	// kubectl would write the same annotation for the same manifest.
	ours := r.Manifests[0].annotation(lastAppliedKey)
	manifest := filepath.Join(t.TempDir(), "web.json")
	if err := os.WriteFile(manifest, []byte(ours), 0o600); err != nil {
		t.Fatal(err)
	}
	generation := o.live(t, path).at("metadata", "generation")
	if out := kubectlRun(t, o.c, o.namespace, "apply", "-f", manifest); !strings.Contains(out, "deployment.apps/web unchanged") {
		t.Errorf("kubectl finds something to change: %s", out)
	}
	theirs := o.live(t, path)
	if theirs.annotation(lastAppliedKey) != ours || theirs.at("metadata", "generation") != generation {
		t.Errorf("kubectl writes\n%s\nwe wrote\n%s", theirs.annotation(lastAppliedKey), ours)
	}
	kubectlRun(t, o.c, o.namespace, "delete", "deployment", "web", "--wait=true")
	eventually(t, 20*time.Second, func() error {
		if o.exists(t, path) {
			return errors.New("still there")
		}
		return nil
	})
	kubectlRun(t, o.c, o.namespace, "apply", "-f", manifest)
	if made := o.live(t, path).annotation(lastAppliedKey); made != ours {
		t.Errorf("kubectl creates with\n%s\nwe wrote\n%s", made, ours)
	}
	o.settled(t, "deployment web")

	// kubectl changes: a field of ours, one that nobody mentioned, the scale.
	kubectlRun(t, o.c, o.namespace, "annotate", "deployment", "web", "by=kubectl")
	kubectlRun(t, o.c, o.namespace, "apply", "-f", writeFile(t, strings.Replace(ours, `"v:1"`, `"v:2"`, 1)))
	kubectlRun(t, o.c, o.namespace, "scale", "deployment", "web", "--replicas=3")
	o.settled(t, "deployment web")
	o.deploy(t, strings.Replace(o.deployment("web", "v:3"), "  replicas: 2\n", "", 1), "").only(t)
	o.settled(t, "deployment web")
	now := o.live(t, path)
	if now.annotation("by") != "kubectl" {
		t.Error("what nobody mentioned is gone")
	}
	if n, _ := now.at("spec", "minReadySeconds").(float64); n != 0 {
		t.Errorf("a removed field stays: %v", n)
	}
	if image := imageOf(now); image != "v:3" {
		t.Errorf("image %s", image)
	}
	kubectlRun(t, o.c, o.namespace, "rollout", "undo", "deployment/web")
	o.settled(t, "deployment web")
	if image := imageOf(o.live(t, path)); image != "v:2" {
		t.Errorf("after kubectl's undo: %s", image)
	}
	if d := o.run(t, "undoRolloutManifest", o.target("deployment web")+"numRevisionsBack: 1"); d.Status.Failed || imageOf(o.live(t, path)) != "v:3" {
		t.Errorf("our undo after kubectl's: %s: %s", imageOf(o.live(t, path)), d.raw)
	}
	o.settled(t, "deployment web")
	o.deploy(t, o.deployment("web", "v:4"), "").only(t)
	if image := imageOf(o.live(t, path)); image != "v:4" {
		t.Errorf("after our deploy: %s", image)
	}
	if d := o.run(t, "rollingRestartManifest", o.target("deployment web")); d.Status.Failed {
		t.Error(d.raw)
	}
	if out := kubectlRun(t, o.c, o.namespace, "rollout", "history", "deployment/web"); strings.Count(out, "\n") < 4 {
		t.Errorf("history: %s", out)
	}
}

func imageOf(o object) string {
	containers, _ := o.at("spec", "template", "spec", "containers").([]any)
	if len(containers) == 0 {
		return ""
	}
	c, _ := containers[0].(map[string]any)
	image, _ := c["image"].(string)
	return image
}

func writeFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "manifest.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
