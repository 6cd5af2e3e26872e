package account

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// TestWatchFingerprint_IsOfTheClusterAndNotOfTheCredentials: those are changed
// under way, without a list.
func TestWatchFingerprint_IsOfTheClusterAndNotOfTheCredentials(t *testing.T) {
	base := func() *Account {
		return &Account{Name: "a", REST: &rest.Config{Host: "https://one", BearerToken: "t", TLSClientConfig: rest.TLSClientConfig{CAData: []byte("ca")}}}
	}
	for name, c := range map[string]struct {
		change            func(*Account)
		anew, credentials bool
	}{
		"nothing":      {func(*Account) {}, false, false},
		"a token":      {func(a *Account) { a.REST.BearerToken = "u" }, false, true},
		"an authority": {func(a *Account) { a.REST.CAData = []byte("cb") }, false, true},
		"a provider":   {func(a *Account) { a.Credential = "x" }, false, true},
		"the host":     {func(a *Account) { a.REST.Host = "https://two" }, true, true},
		"for whom":     {func(a *Account) { a.REST.Impersonate.UserName = "x" }, true, true},
		"namespaces":   {func(a *Account) { a.Namespaces = []string{"x"} }, true, false},
		"a selector":   {func(a *Account) { a.LabelSelector = "x" }, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := base(), base()
			c.change(b)
			if got := a.WatchFingerprint() != b.WatchFingerprint(); got != c.anew {
				t.Errorf("set up anew: %v", got)
			}
			if got := a.Identity() != b.Identity(); got != c.credentials {
				t.Errorf("other credentials: %v", got)
			}
		})
	}
}

// TestKubeconfig_AnEmptyFileIsOneThatIsBeingWritten.
func TestKubeconfig_AnEmptyFileIsOneThatIsBeingWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"apiVersion":"v1","kind":"Config","contexts":[{"name":"x","context":{"cluster":"x","user":"x"}}],"clusters":[{"name":"x","cluster":{"server":"https://x"}}],"users":[{"name":"x","user":{"token":"t"}}]}`)
	registry := NewRegistry(SourceKubeconfig)
	k := NewKubeconfig(config.Kubernetes{Kubeconfig: path}, registry, slog.New(slog.DiscardHandler))
	if err := k.Load(); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "\n", "{not yaml"} {
		write(text)
		k.reload(false)
		if all, _ := registry.List(); len(all) != 1 {
			t.Errorf("%q has taken the accounts away", text)
		}
	}
	write(`{"apiVersion":"v1","kind":"Config"}`)
	k.reload(false)
	if all, _ := registry.List(); len(all) != 0 {
		t.Errorf("a file without contexts has %d accounts", len(all))
	}
}
