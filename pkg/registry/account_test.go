package registry

import (
	"bytes"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

func TestAccount_IsReadAsJavaReadsIt(t *testing.T) {
	for address, want := range map[string][2]string{ // docker-registry.md 11, rows 1 and 10
		"https://index.docker.io":              {"https://index.docker.io", "index.docker.io"},
		"https://index.docker.io/":             {"https://index.docker.io", "index.docker.io"},
		"https://index.docker.io/v2":           {"https://index.docker.io", "index.docker.io"},
		"https://index.docker.io/v2/":          {"https://index.docker.io", "index.docker.io"},
		"docker.io":                            {"https://docker.io", "docker.io"},
		"http://registry.local:5000":           {"http://registry.local:5000", "registry.local:5000"},
		"https://x.example/artifactory/docker": {"https://x.example/artifactory/docker", "x.example/artifactory/docker"},
	} {
		a, err := NewAccount(config.RegistryAccount{Name: "a", Address: address}, nil)
		if err != nil {
			t.Fatal(address, err)
		}
		if a.Address != want[0] || a.Registry != want[1] {
			t.Errorf("%s: %s and %s", address, a.Address, a.Registry)
		}
		if a.CacheIntervalSeconds != 30 || a.CacheThreads != 1 || a.ClientTimeoutMillis != 60000 || a.PaginateSize != 100 || a.Environment != "a" || a.AccountType != "a" || a.Roles == nil {
			t.Errorf("defaults: %+v", a.RegistryAccount)
		}
	}
}

func TestAccount_ThatCannotBeUsedNamesTheKey(t *testing.T) {
	good := config.RegistryAccount{Name: "a", Address: "https://x.example"}
	for key, change := range map[string]func(*config.RegistryAccount){
		"name":                                     func(c *config.RegistryAccount) { c.Name = "" },
		"address":                                  func(c *config.RegistryAccount) { c.Address = "" },
		"address: ftp":                             func(c *config.RegistryAccount) { c.Address = "ftp://x.example" },
		"address: it holds a user":                 func(c *config.RegistryAccount) { c.Address = "https://u:p@x.example" },
		"address: it has a query":                  func(c *config.RegistryAccount) { c.Address = "https://x.example?a=b" },
		"address: it is no address":                func(c *config.RegistryAccount) { c.Address = "https://" },
		"password, passwordFile":                   func(c *config.RegistryAccount) { c.Password, c.PasswordFile = "p", "f" },
		"passwordCommand, passwordFile":            func(c *config.RegistryAccount) { c.PasswordCommand, c.PasswordFile = "p", "f" },
		"dockerconfigFile, password":               func(c *config.RegistryAccount) { c.DockerconfigFile, c.Password = "d", "p" },
		"repositories, repositoriesRegex":          func(c *config.RegistryAccount) { c.Repositories, c.RepositoriesRegex = []string{"a"}, "b" },
		"catalogFile, repositories":                func(c *config.RegistryAccount) { c.Repositories, c.CatalogFile = []string{"a"}, "b" },
		"catalogFile, repositoriesRegex":           func(c *config.RegistryAccount) { c.RepositoriesRegex, c.CatalogFile = "a", "b" },
		"repositoriesRegex":                        func(c *config.RegistryAccount) { c.RepositoriesRegex = "(" },
		"cacheIntervalSeconds: -1":                 func(c *config.RegistryAccount) { c.CacheIntervalSeconds = -1 },
		"cacheThreads: 1000":                       func(c *config.RegistryAccount) { c.CacheThreads = 1000 },
		"paginateSize: 100000 is not between 0":    func(c *config.RegistryAccount) { c.PaginateSize = 100000 },
		"clientTimeoutMillis: -5 is not between 0": func(c *config.RegistryAccount) { c.ClientTimeoutMillis = -5 },
	} {
		c := good
		change(&c)
		if _, err := NewAccount(c, nil); err == nil || !strings.HasPrefix(err.Error(), key) {
			t.Errorf("%s: %v", key, err)
		}
	}
	c := good
	c.Password, c.PasswordFile = "", "f" // an empty one says nothing
	if _, err := NewAccount(c, nil); err != nil {
		t.Error(err)
	}
}

func TestAccounts_ABadOneHarmsNoOther(t *testing.T) {
	var log bytes.Buffer
	as := NewAccounts(slog.New(slog.NewTextHandler(&log, nil)))
	settings := []config.RegistryAccount{{Name: "z", Address: "https://z.example"}, {Name: "bad"}, {Name: "a", Address: "https://a.example"}, {Name: "a", Address: "https://other.example"}}
	as.Configure(settings)
	all, changed := as.List()
	if len(all) != 2 || all[0].Name != "a" || all[0].Registry != "a.example" || all[1].Name != "z" {
		t.Errorf("%+v", all)
	}
	if !strings.Contains(log.String(), "dockerRegistry.accounts[1]") || !strings.Contains(log.String(), "address: must be given") {
		t.Error(log.String())
	}
	settings[0].CacheThreads = 5
	as.Configure(settings)
	now, _ := as.List()
	if now[0] != all[0] || now[1] == all[1] {
		t.Error("what has not changed stays as it is, and what has is another")
	}
	select {
	case <-changed:
	default:
		t.Error("nobody was told")
	}
}

// shownTo is what a registry is shown with the first request of a new account.
func shownTo(t *testing.T, change func(*config.RegistryAccount)) (header string, a *Account, err error) {
	t.Helper()
	s := newScript(t)
	s.tags["a"] = []string{"1"}
	s.does(func(_ http.ResponseWriter, r *http.Request) bool {
		header = r.Header.Get("Authorization")
		if _, password, ok := r.BasicAuth(); ok {
			header = "Basic " + password
		}
		return false
	})
	a = s.account(t, change)
	_, err = a.client.tags(t.Context(), "a")
	return header, a, err
}

func TestPassword_IsShownWithTheFirstRequest(t *testing.T) { // row 2
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "p")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for what, c := range map[string]struct {
		change func(*config.RegistryAccount)
		want   string
	}{
		"none":            {nil, ""},
		"a user alone":    {func(c *config.RegistryAccount) { c.Username = "u" }, ""},
		"plain":           {func(c *config.RegistryAccount) { c.Username, c.Password = "u", "p w" }, "Basic p w"},
		"without a user":  {func(c *config.RegistryAccount) { c.Password = "p" }, "Basic p"},
		"a file":          {func(c *config.RegistryAccount) { c.Username, c.PasswordFile = "u", file(" p\n") }, "Basic p"},
		"a key in a file": {func(c *config.RegistryAccount) { c.Username, c.PasswordFile = "_json_key", file("{\n \"a\": 1\n}\n") }, "Basic {\n \"a\": 1\n}"},
		"a command":       {func(c *config.RegistryAccount) { c.Username, c.PasswordCommand = "AWS", "echo tok; echo noise >&2" }, "Basic tok"},
		"docker's": {func(c *config.RegistryAccount) {
			c.DockerconfigFile = file(`{"auths":{"` + strings.TrimPrefix(c.Address, "http://") + `":{"auth":"dTpkb2NrZXI="}}}`)
		}, "Basic docker"},
		"docker's, others": {func(c *config.RegistryAccount) {
			c.DockerconfigFile = file(`{"auths":{"else.example":{"auth":"dTpkb2NrZXI="}}}`)
		}, ""},
	} {
		got, _, err := shownTo(t, c.change)
		if err != nil || got != c.want {
			t.Errorf("%s: %q %v", what, got, err)
		}
	}
	for what, c := range map[string]struct {
		change func(*config.RegistryAccount)
		want   string
	}{
		"no file":              {func(c *config.RegistryAccount) { c.PasswordFile = "/nowhere/x" }, "passwordFile: the file /nowhere/x cannot be read"},
		"an empty file":        {func(c *config.RegistryAccount) { c.PasswordFile = file("") }, "is empty"},
		"a folder":             {func(c *config.RegistryAccount) { c.PasswordFile = t.TempDir() }, "is no file"},
		"a command that fails": {func(c *config.RegistryAccount) { c.PasswordCommand = "echo hush; exit 3" }, "passwordCommand: exit status 3"},
		"one that is silent":   {func(c *config.RegistryAccount) { c.PasswordCommand = "true" }, "passwordCommand: it printed nothing"},
		"one that talks":       {func(c *config.RegistryAccount) { c.PasswordCommand = "yes hush" }, "passwordCommand: it printed more than"},
		"no docker's":          {func(c *config.RegistryAccount) { c.DockerconfigFile = file("hush") }, "dockerconfigFile: it is no configuration of docker"},
	} {
		_, _, err := shownTo(t, c.change)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestPassword_OfAHelperOfDocker(t *testing.T) {
	folder := t.TempDir()
	helper := "#!/bin/sh\ncat >/dev/null\necho '{\"Username\":\"u\",\"Secret\":\"helped\"}'\n"
	if err := os.WriteFile(filepath.Join(folder, "docker-credential-test"), []byte(helper), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
	path := filepath.Join(folder, "config.json")
	if err := os.WriteFile(path, []byte(`{"credsStore":"test"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, _, err := shownTo(t, func(c *config.RegistryAccount) { c.DockerconfigFile = path }); err != nil || got != "Basic helped" {
		t.Error(got, err)
	}
}

func TestPassword_ACommandRunsOnceAMinuteUnlessItIsRefused(t *testing.T) {
	count := filepath.Join(t.TempDir(), "count")
	p := &password{host: "h", account: config.RegistryAccount{Username: "u", PasswordCommand: "echo x >>" + count + "; wc -l <" + count}}
	for _, want := range []string{"1", "1"} {
		if c, err := p.credential(t.Context(), "h"); err != nil || c.Password != want {
			t.Error(c, err)
		}
	}
	p.refused()
	if c, err := p.credential(t.Context(), "h"); err != nil || c.Password != "2" {
		t.Error(c, err)
	}
	if c, err := p.credential(t.Context(), "other"); err != nil || c.Password != "" {
		t.Error("another host is shown something", c, err)
	}
}

func TestPassword_ACommandThatHangsIsEnded(t *testing.T) {
	p := &password{host: "h", account: config.RegistryAccount{PasswordCommand: "sleep 600 & sleep 600"}}
	begin := time.Now()
	if _, err := run(t.Context(), "true", time.Minute); err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Error(err)
	}
	if _, err := run(t.Context(), p.account.PasswordCommand, 100*time.Millisecond); err == nil || !strings.Contains(err.Error(), "longer than 100ms") {
		t.Error(err)
	}
	if took := time.Since(begin); took > 30*time.Second {
		t.Error(took)
	}
}

func TestPassword_AFileThatRotatesIsReadAgain(t *testing.T) {
	s := newScript(t)
	s.tags["a"] = []string{"1"}
	right := "one"
	s.does(func(w http.ResponseWriter, r *http.Request) bool {
		if _, password, _ := r.BasicAuth(); password == right {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	path := filepath.Join(t.TempDir(), "p")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	a := s.account(t, func(c *config.RegistryAccount) { c.Username, c.PasswordFile = "u", path })
	if _, err := a.client.tags(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	write("two")
	s.mu.Lock()
	right = "two"
	s.mu.Unlock()
	if _, err := a.client.tags(t.Context(), "a"); err != nil {
		t.Error(err)
	}
}
