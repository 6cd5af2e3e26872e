package config

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// loaded reads settings from files, by their paths in a folder; config names what
// --config does there.
func loaded(t *testing.T, files map[string]string, config string, env map[string]string) (*Config, error) {
	t.Helper()
	folder := t.TempDir()
	for path, content := range files {
		path = filepath.Join(folder, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(content, "FOLDER", folder)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	AddFlags(flags)
	if err := flags.Set("config", filepath.Join(folder, config)); err != nil {
		t.Fatal(err)
	}
	return LoadWith(flags, func(name string) string { return env[name] }, func(_ context.Context, value string) (string, error) {
		if text, ok := strings.CutPrefix(value, "encrypted:noop!v:"); ok {
			return text, nil
		}
		return "", errors.New("there is no such secret engine here: vault")
	})
}

// TestSpring_KustomizeLayout is what the official install mounts (accounts.md 7.1,
// rows 10 of 11).
func TestSpring_KustomizeLayout(t *testing.T) {
	c, err := loaded(t, map[string]string{
		"spinnaker.yml":                "spring.config.import: 'optional:file:FOLDER/*/'\nservices: {front50: {baseUrl: http://front50:8080}, fiat: {base-url: 'http://${services.fiat.host:spin-fiat}:7003', enabled: true}}\nserver.port: 1\n",
		"spinnaker-local.yml":          "services.fiat.host: fiat.example\n",
		"clouddriver.yml":              "server: {port: '${services.clouddriver.port:7002}'}\nkubernetes: {accounts: [{name: managing}]}\naws: {enabled: false, key: '${NOBODY_SETS_THIS}'}\nredis: {enabled: true}\n",
		"clouddriver-local.yml":        "kubernetes:\n  accounts:\n  - {name: one, kubeconfig-file: '${HOME_OF}/config', oAuthScopes: [a]}\n",
		"clouddriver-other.yml":        "server.port: 9\n",
		"database/clouddriver.yml":     "database: {host: '${DB:mysql}', name: c, user: u, password: 'encrypted:noop!v:hunter2'}\n---\nspring.config.activate.on-profile: local\ndatabase.port: 3307\n---\nspring.config.activate.on-profile: '!local'\ndatabase.port: 1\n",
		"database/unrelated.yml":       "server.port: 11\n",
		"zz/clouddriver-local.yml":     "log.level: debug\n",
		"optional/readme.md":           "no settings",
		"..data/spinnaker.yml":         "spring.config.import: 'optional:file:FOLDER/*/'\nserver.port: 12\n",
		"database/spinnaker-local.yml": "log.format: json\n",
	}, "", map[string]string{"SPRING_PROFILES_ACTIVE": "local", "HOME_OF": "/secret", "DB": "mariadb"})
	if err != nil {
		t.Fatal(err)
	}
	d := c.Database
	if c.Server.Port != 7002 || c.Services.Fiat.URL != "http://fiat.example:7003" || !c.Services.Fiat.Enabled || c.Services.Front50.URL != "http://front50:8080" {
		t.Errorf("%+v %+v", c.Server.Port, c.Services)
	}
	if d.Host != "mariadb" || d.Password != "hunter2" || d.Port != 3307 || c.Log.Level != "debug" || c.Log.Format != "json" {
		t.Errorf("%+v %+v", d, c.Log)
	}
	if len(c.Kubernetes.Accounts) != 1 || c.Kubernetes.Accounts[0].KubeconfigFile != "/secret/config" {
		t.Errorf("%+v", c.Kubernetes.Accounts)
	}
	if want := []string{"redis.enabled", "kubernetes.accounts[].oAuthScopes"}; !slices.Equal(c.Ignored, want) {
		t.Errorf("ignored: %q", c.Ignored)
	}
	if len(c.Files) != 7 {
		t.Errorf("files: %q", c.Files)
	}
}

func TestSpring_OneFileAndItsProfiles(t *testing.T) {
	files := map[string]string{
		"clouddriver.yml":    "server.port: 1\nspring: {config: {import: [other.yml, 'optional:file:none.yml', 'optional:configserver:http://x']}}\n",
		"other.yml":          "log.level: warn\nserver.port: 2\n",
		"clouddriver-ro.yml": "server.port: 3\n",
		"spinnaker.yml":      "server.port: 4\n",
	}
	c, err := loaded(t, files, "clouddriver.yml", map[string]string{"SPRING_PROFILES_ACTIVE": "ro, rw"})
	if err != nil || c.Server.Port != 3 || c.Log.Level != "warn" {
		t.Errorf("%v %+v", err, c)
	}
}

func TestSpring_MistakesNameTheirKey(t *testing.T) {
	for name, c := range map[string]struct{ content, want string }{
		"unknown engine":       {"database.password: encrypted:vault!n:x", "database.password"},
		"unknown engine there": {"kubernetes.accounts: [{name: a}, {name: b, kubeconfigContents: 'secret://vault?n=x'}]", "kubernetes.accounts[1].kubeconfigContents"},
		"placeholder":          {"server.port: ${NOTHING_HAS_THIS_NAME}", "server.port: ${NOTHING_HAS_THIS_NAME}"},
		"circle":               {"server.address: ${server.address}", "server.address"},
		"import":               {"spring.config.import: file:FOLDER/none.yml", "none.yml"},
		"circle of imports":    {"spring.config.import: file:FOLDER/clouddriver.yml", "import each other"},
		"no YAML":              {"a: [", "clouddriver.yml"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := loaded(t, map[string]string{"clouddriver.yml": c.content}, "clouddriver.yml", nil); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestExpand(t *testing.T) {
	e := expander{values: map[string]any{"a.b": "value", "deep": "${a.b}!"}, environ: func(name string) string { return map[string]string{"ENV": "env", "A_C": "relaxed"}[name] }}
	for text, want := range map[string]string{
		"plain": "plain", "${a.b}": "value", "<${ENV}>": "<env>", "${none:}": "", "${none:x:y}": "x:y", "${none:${ENV}}": "env", "${deep}": "value!", "${a.c}": "relaxed", "${open": "${open", "$ {}": "$ {}",
		"${A.B}": "value",
	} {
		if got, err := e.text(text, 0); err != nil || got != want {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
}

func TestFiatURL_SwitchesFiatOn(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want bool
	}{{nil, false}, {map[string]string{"FIAT_URL": "http://fiat"}, true}, {map[string]string{"FIAT_URL": "http://fiat", "SERVICES_FIAT_ENABLED": "false"}, false}} {
		got, err := loaded(t, map[string]string{"clouddriver.yml": "services.fiat.baseUrl: http://spin-fiat"}, "clouddriver.yml", c.env)
		if err != nil || got.Services.Fiat.Enabled != c.want {
			t.Errorf("%v: %v", c.env, err)
		}
	}
}

func FuzzSettings(f *testing.F) {
	f.Add("server.port: ${PORT:1}\nkubernetes.accounts: [{name: a}]\n---\nspring.profiles: x\n")
	f.Fuzz(func(t *testing.T, content string) {
		if strings.Contains(content, "import") {
			return // what it names is read
		}
		path := filepath.Join(t.TempDir(), "clouddriver.yml")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		AddFlags(flags)
		_ = flags.Set("config", path)
		_, _ = LoadWith(flags, func(string) string { return "" }, func(context.Context, string) (string, error) { return "x", nil })
	})
}
