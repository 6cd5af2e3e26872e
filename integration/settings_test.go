package integration

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/localkube"
)

// TestSettings_AccountsChangeWithoutARestart has the folder of a Java installation:
// an account is added to its file and taken away again, a mistake changes nothing,
// and whatever was watched goes on.
func TestSettings_AccountsChangeWithoutARestart(t *testing.T) {
	cluster := pool.Shared(t, 1)[0]
	folder := t.TempDir()
	kubeconfig := filepath.Join(folder, "kube", "config")
	if err := os.MkdirAll(filepath.Dir(kubeconfig), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := localkube.WriteKubeconfig(kubeconfig, cluster); err != nil {
		t.Fatal(err)
	}
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("spinnaker.yml", "services: {redis: {enabled: false}}\nkube: {folder: '"+filepath.Dir(kubeconfig)+"'}\n")
	account := "  - {name: %s, kubeconfigFile: '${kube.folder}/config', permissions: {READ: [devs], WRITE: [devs]}, skin: v2}\n"
	write("clouddriver.yml", "redis: {enabled: true}\naws: {enabled: false}\nkubernetes:\n  enabled: true\n  accounts:\n"+fmt.Sprintf(account, "first"))
	p := startBinary(t, clouddriver.Path(t), t.TempDir(), "--config="+folder).up(t)
	has := func(name string, want int) {
		t.Helper()
		eventually(t, 30*time.Second, func() error {
			r, err := p.tryGet("/credentials/" + name)
			if err == nil && r.status != want {
				err = fmt.Errorf("%s: %d", name, r.status)
			}
			return err
		})
	}
	has("first", http.StatusOK)
	has("second", http.StatusNotFound)
	write("clouddriver-local.yml", "kubernetes.accounts: [") // of a profile that is not active
	write("clouddriver.yml", "kubernetes:\n  accounts:\n"+fmt.Sprintf(account, "first")+fmt.Sprintf(account, "second"))
	has("second", http.StatusOK)
	write("clouddriver.yml", "kubernetes:\n  accounts:\n"+fmt.Sprintf(account, "first")+fmt.Sprintf(account, "second")+"artifacts: {helm: {enabled: true, accounts: [{name: charts, repository: 'https://charts.example.org'}]}}\n")
	eventually(t, 30*time.Second, func() error {
		r, err := p.tryGet("/artifacts/credentials")
		if err == nil && !strings.Contains(r.body, `"name":"charts"`) {
			err = fmt.Errorf("the artifact account is not there: %s", r.body)
		}
		return err
	})
	write("clouddriver.yml", "kubernetes:\n  accounts: [")
	eventually(t, 30*time.Second, func() error {
		if !strings.Contains(p.log(), "the settings cannot be used") {
			return fmt.Errorf("no word of it in the log: %.500s", p.log())
		}
		return nil
	})
	has("second", http.StatusOK)
	write("clouddriver.yml", "kubernetes:\n  accounts:\n"+fmt.Sprintf(account, "second"))
	has("first", http.StatusNotFound)
	has("second", http.StatusOK)
	for _, said := range []string{"key=redis.enabled", "key=kubernetes.enabled", "key=kubernetes.accounts[].skin"} {
		if !strings.Contains(p.log(), said) {
			t.Errorf("the log does not say %q", said)
		}
	}
	if strings.Contains(p.log(), "aws") {
		t.Error("the log is noisy about other providers")
	}
}
