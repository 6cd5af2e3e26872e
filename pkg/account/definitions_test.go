package account

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// kubeconfigOf is one with a user's section.
func kubeconfigOf(server, user string) string {
	return "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: k, cluster: {server: '" + server + "'}}]\ncontexts: [{name: c, context: {cluster: k, user: u}}]\nusers: [{name: u, user: " + user + "}]\n"
}

func definition(name, kubeconfig, more string) store.Definition {
	return store.Definition{Name: name, Type: KindKubernetes, Body: fmt.Sprintf(`{"type":"kubernetes","name":%q,"kubeconfigContents":%q%s}`, name, kubeconfig, more)}
}

func defined(t *testing.T) (*Definitions, *Registry, *store.Store) {
	t.Helper()
	db, err := store.Open(t.Context(), store.Options{Path: t.TempDir() + "/c.db", Timeout: 5e9, MigrationTimeout: 30e9, LockWait: 1e9, MaxOpen: 4, MaxIdle: 2, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	registry := NewRegistry(SourceDefinitions, SourceKubeconfig)
	fence, err := NewFence(config.Accounts{})
	if err != nil {
		t.Fatal(err)
	}
	files := NewKubeconfig(config.Kubernetes{}, registry, slog.New(slog.DiscardHandler))
	resolve := func(_ context.Context, value string) (string, error) {
		if text, ok := strings.CutPrefix(value, "secret://"); ok {
			if text == "none" {
				return "", errors.New("it is not there")
			}
			return kubeconfigOf("https://api.example", "{token: t}"), nil
		}
		return value, nil
	}
	return NewDefinitions(db, registry, files.FromEntry, resolve, fence, Trust{}, 1e6, slog.New(slog.DiscardHandler)), registry, db
}

// TestDefinitions_OneBadOneHarmsNoOther is row 7 of accounts.md 11.
func TestDefinitions_OneBadOneHarmsNoOther(t *testing.T) {
	d, registry, db := defined(t)
	good := kubeconfigOf("https://api.example", "{token: t}")
	for _, row := range []store.Definition{
		definition("a-good", good, `,"namespaces":["x"],"permissions":{"READ":["Devs"],"write":[" ops "]},"unknown":1`),
		{Name: "b-json", Type: KindKubernetes, Body: `[1]`}, {Name: "c-other-name", Type: KindKubernetes, Body: `{"name":"x"}`},
		definition("d-none", "secret://none", ""), definition("e-both", good, `,"kinds":["pod"],"omitKinds":["job"]`),
		definition("f-local", kubeconfigOf("https://127.0.0.1:1", "{token: t}"), ""), definition("g-plain", kubeconfigOf("http://api.example", "{token: t}"), ""),
		definition("h-plugin", kubeconfigOf("https://api.example", "{exec: {apiVersion: client.authentication.k8s.io/v1, command: sh, interactiveMode: Never}}"), ""),
		definition("i-file", kubeconfigOf("https://api.example", "{tokenFile: /etc/shadow}"), ""),
		{Name: "i-path", Type: KindKubernetes, Body: `{"name":"i-path","kubeconfigFile":"/etc/kubeconfig"}`}, {Name: "i-secret", Type: KindKubernetes, Body: `{"name":"i-secret","kubeconfigFile":"encryptedFile:noop!v:x"}`},
		{Name: "i-context", Type: KindKubernetes, Body: `{"name":"i-context","kubeconfigContents":"secret://k8s","context":"secret://k8s"}`}, {Name: "i-nothing", Type: KindKubernetes, Body: `{"name":"i-nothing"}`}, {Name: "i-pod", Type: KindKubernetes, Body: `{"name":"i-pod","serviceAccount":true}`},
		definition("i-proxy", strings.Replace(good, "server:", "proxy-url: 'http://127.0.0.1:3128', server:", 1), ""),
		{Name: "j-docker", Type: "dockerRegistry", Body: `{"name":"j-docker"}`}, definition("k-secret", "secret://k8s", ""), definition("z-good", good, ""),
	} {
		if err := db.SaveDefinition(t.Context(), row, store.Creating, "me"); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	var names []string
	all, _ := registry.List()
	for _, a := range all {
		names = append(names, a.Name)
	}
	if want := []string{"a-good", "k-secret", "z-good"}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q; failed: %q", names, want, d.failed)
	}
	a, _ := registry.Get("a-good")
	if a == nil || !slices.Equal(a.Namespaces, []string{"x"}) || !slices.Equal(a.Permissions["READ"], []string{"devs"}) || !slices.Equal(a.Permissions["WRITE"], []string{"ops"}) {
		t.Errorf("%+v", a)
	}
	for name, why := range d.failed {
		if strings.Contains(why, "token") && name != "i-file" && name != "g-plain" {
			t.Errorf("%s: %s", name, why)
		}
	}
}

func TestDefinitions_FollowTheDatabase(t *testing.T) {
	d, registry, db := defined(t)
	if err := d.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	has := func(name string) bool { _, ok := registry.Get(name); return ok }
	good := definition("a", kubeconfigOf("https://api.example", "{token: t}"), "")
	// Another replica, or Java, has written it.
	if err := db.SaveDefinition(t.Context(), good, store.Creating, "me"); err != nil {
		t.Fatal(err)
	}
	if err := d.follow(t.Context()); err != nil || !has("a") {
		t.Errorf("%v, there: %t", err, has("a"))
	}
	if err := d.Save(t.Context(), definition("b", kubeconfigOf("https://api.example", "{token: t}"), ""), store.Upserting, "me"); err != nil || !has("b") {
		t.Errorf("%v, there: %t", err, has("b"))
	}
	if err := d.Delete(t.Context(), "a"); err != nil || has("a") {
		t.Errorf("%v, there: %t", err, has("a"))
	}
	if err := d.Delete(t.Context(), "a"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	history, err := d.DefinitionHistory(t.Context(), "a")
	if err != nil || len(history) != 2 || history[0].Body != "" || history[0].Version != 2 || history[1].Version != 1 {
		t.Errorf("%+v, %v", history, err)
	}
}

func TestDefinitions_PagesBeginWithTheNameThatIsAskedFor(t *testing.T) {
	_, _, db := defined(t)
	for i := range 250 {
		if err := db.SaveDefinition(t.Context(), store.Definition{Name: fmt.Sprintf("a%03d", i), Type: KindKubernetes, Body: "{}"}, store.Creating, "me"); err != nil {
			t.Fatal(err)
		}
	}
	for from, want := range map[string][]string{"": {"a000", "a099"}, "a099": {"a099", "a198"}, "a0995": {"a100", "a199"}, "a240": {"a240", "a249"}, "b": nil} {
		rows, err := db.Definitions(t.Context(), KindKubernetes, from, 100)
		if err != nil {
			t.Fatal(err)
		}
		if (len(rows) == 0) != (want == nil) || want != nil && (rows[0].Name != want[0] || rows[len(rows)-1].Name != want[1]) {
			t.Errorf("from %q: %d rows", from, len(rows))
		}
	}
}

func FuzzParseDefinition(f *testing.F) {
	f.Add("a", `{"type":"kubernetes","name":"a","permissions":{"READ":["x"]},"customResources":[{"kubernetesKind":"a.b"}]}`)
	f.Fuzz(func(t *testing.T, name, body string) {
		entry, err := Parse(store.Definition{Name: name, Body: body})
		if err == nil && entry.Name != name {
			t.Errorf("%q is taken for %q", entry.Name, name)
		}
	})
}
