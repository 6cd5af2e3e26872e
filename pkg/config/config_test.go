package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func load(t *testing.T, file string, env map[string]string, args ...string) (*Config, error) {
	t.Helper()
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	AddFlags(flags)
	if file != "" {
		path := filepath.Join(t.TempDir(), "clouddriver.yml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return Load(flags, func(key string) string { return env[key] })
}

func TestLoad_LaterSourcesWin(t *testing.T) {
	file := "server:\n  port: 7100\n  address: 127.0.0.1\nredis:\n  connection: ignored\n"
	c, err := load(t, file, map[string]string{"SERVER_PORT": "7200", "WATCH_STUCKAFTER": "90s"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Server.Port != 7200 || c.Server.Address != "127.0.0.1" || c.Watch.StuckAfter != 90*time.Second {
		t.Errorf("got %+v %+v", c.Server, c.Watch)
	}
	if c, err = load(t, file, map[string]string{"SERVER_PORT": "7200"}, "--server.port=7300"); err != nil || c.Server.Port != 7300 {
		t.Errorf("a flag wins over all: got %+v, %v", c, err)
	}
}

func TestLoad_ReadsAccountsByJavasKeysInAnySpelling(t *testing.T) {
	c, err := load(t, `
kubernetes:
  enabled: true
  accounts:
  - name: prod
    kubeconfig-file: /x
    namespaces: [shop]
    onlySpinnakerManaged: false
    permissions: {READ: [Ops]}
    customResources:
    - kubernetesKind: CronTab.stable.example.com
      spinnakerKind: serverGroups
credentials:
  primary-account-types: [prod]
`, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := c.Kubernetes.Accounts[0]
	if a.Name != "prod" || len(a.Namespaces) != 1 || a.OnlySpinnakerManaged == nil || *a.OnlySpinnakerManaged || a.CustomResources[0].SpinnakerKind != "serverGroups" || a.KubeconfigFile != "/x" {
		t.Errorf("got %+v", a)
	}
	if c.Credentials.PrimaryAccountTypes[0] != "prod" {
		t.Errorf("got %+v", c.Credentials)
	}
}

func TestLoad_MistakesNameTheirKey(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		env  map[string]string
		want string
	}{
		"port":            {env: map[string]string{"SERVER_PORT": "70000"}, want: "server.port"},
		"port no number":  {env: map[string]string{"SERVER_PORT": "many"}, want: "port"},
		"fiat":            {env: map[string]string{"FIAT_URL": "spin-fiat"}, want: "services.fiat.baseUrl"},
		"budget":          {env: map[string]string{"CACHE_BYTES": "0"}, want: "cache.bytes"},
		"no account name": {file: "kubernetes: {accounts: [{context: a}]}", want: "kubernetes.accounts[0].name"},
		"both lists":      {file: "kubernetes: {accounts: [{name: a, namespaces: [x], omitNamespaces: [y]}]}", want: "At most one of 'namespaces' and 'omitNamespaces'"},
		"twice":           {file: "kubernetes: {accounts: [{name: a}, {name: a}]}", want: "used twice"},
		"custom kind":     {file: "kubernetes: {accounts: [{name: a, customResources: [{kubernetesKind: CronTab}]}]}", want: "customResources[0].kubernetesKind"},
		"not yaml":        {file: "a: [", want: "read settings file"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := load(t, c.file, c.env); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}
