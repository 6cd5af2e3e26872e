package artifact

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

func accounts(t *testing.T, c config.Artifacts, templates Templates) (*Accounts, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	if c.MaxBytes == 0 {
		c.MaxBytes = 1 << 20
	}
	all, err := New(c, config.Jenkins{}, Others{Templates: templates}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return all, &log
}

// fetchedText is the content that an account has of a reference.
func fetchedText(t *testing.T, all *Accounts, kind, account, reference string) (string, error) {
	t.Helper()
	got, err := all.Fetch(t.Context(), spinnaker.Artifact{Type: kind, ArtifactAccount: account, Reference: reference})
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(got)
	return string(body), errors.Join(err, got.Close())
}

func listing(all *Accounts) string {
	var out []string
	for _, a := range all.List() {
		out = append(out, fmt.Sprint(a.Name, a.Types, a.Type))
	}
	return strings.Join(out, "\n")
}

const builtInListing = `custom-artifact[custom/object]artifacts-custom
docker-registry[docker/image]artifacts-docker
embedded-artifact[embedded/base64 remote/base64]artifacts-embedded
front50ArtifactCredentials[front50/pipelineTemplate]artifacts-front50
kubernetes[kubernetes/configMap kubernetes/deployment kubernetes/replicaSet kubernetes/secret]artifacts-kubernetes`

func TestAccounts_AreThereWithoutConfiguration(t *testing.T) {
	all, _ := accounts(t, config.Artifacts{}, nil)
	if got := listing(all); got != builtInListing {
		t.Error(got)
	}
	all, _ = accounts(t, config.Artifacts{HTTP: config.ArtifactAccounts{Enabled: true}}, nil)
	if got := listing(all); !strings.HasPrefix(got, "no-auth-http-account[http/file]artifacts-http\n") {
		t.Error(got)
	}
}

// TestAccounts_OfBothPredecessors reads Java's block beside the older rewrite's
// folder (artifacts.md 3 and 8.2).
func TestAccounts_OfBothPredecessors(t *testing.T) {
	folder := t.TempDir()
	for name, text := range map[string]string{
		"a": `{"name":"helm-stable","types":["helm/chart"],"repository":"https://charts.example.org","username":"u","password":"never-shown"}`,
		"b": `{"name":"github.com","types":["github/file","git/repo"],"token":"never-shown"}`,
		"c": `{"name":"embedded-artifact","types":["embedded/base64"]}`, "d": `{"name":"images","types":["docker/image"]}`,
		"e": `{"name":"http","types":["http/file"]}`, "f": `not json`, "g": `{"types":["http/file"]}`, "h": `{"name":"HTTP","types":["http/file"]}`,
		"i": `{"name":"ghe","types":["github/file"],"enterprise":true}`, "j": `{"name":"norepo","types":["helm/chart"]}`, "k": ``,
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(folder, "..data"), 0o700); err != nil {
		t.Fatal(err)
	}
	all, log := accounts(t, config.Artifacts{
		CredentialsDir: folder,
		GitHub:         config.ArtifactAccounts{Enabled: true, Accounts: []config.ArtifactAccount{{Name: "gh", Token: "never-shown"}, {Name: "bad", GithubApp: &config.GitHubApp{}}, {}}},
		GitRepo:        config.GitArtifacts{ArtifactAccounts: config.ArtifactAccounts{Enabled: true, Accounts: []config.ArtifactAccount{{Name: "gh"}}}},
		GitLab:         config.ArtifactAccounts{Accounts: []config.ArtifactAccount{{Name: "switched-off"}}},
		Helm:           config.ArtifactAccounts{Enabled: true, Accounts: []config.ArtifactAccount{{Name: "nowhere", Repository: "charts"}}},
	}, nil)
	want := `gh[github/file]artifacts-github
gh[git/repo]git/repo
helm-stable[helm/chart helm/index]artifacts-helm
github.com[github/file]artifacts-github
github.com[git/repo]git/repo
images[docker/image]
http[http/file]artifacts-http
` + builtInListing
	if got := listing(all); got != want {
		t.Error(got)
	}
	for _, text := range []string{
		"githubApp.appId is missing", "name is missing", "repository: is no http or https address", "it is no JSON object", `no \"name\" found`,
		"duplicate artifact credential listed: HTTP", `github file ghe missing required \"baseURL\"`, `helm chart norepo missing required \"repository\"`, "is empty", "set allowedHosts",
	} {
		if !strings.Contains(strings.ReplaceAll(log.String(), `\\\"`, `\"`), text) {
			t.Errorf("the log has nothing of %s:\n%s", text, log)
		}
	}
	if strings.Contains(log.String(), "never-shown") {
		t.Error("the log has a secret")
	}
	if _, err := New(config.Artifacts{CredentialsDir: "/not/there"}, config.Jenkins{}, Others{}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "artifacts.credentialsDir") {
		t.Error(err)
	}
}

// TestFetch_Refusals iterates artifacts.md 2.3 and 8.1.
func TestFetch_Refusals(t *testing.T) {
	all, _ := accounts(t, config.Artifacts{HTTP: config.ArtifactAccounts{Enabled: true, Accounts: []config.ArtifactAccount{{Name: "http"}}}}, nil)
	for name, c := range map[string]struct {
		of   spinnaker.Artifact
		kind error
		want string
	}{
		"no account":      {spinnaker.Artifact{Name: "foo"}, ErrRefused, "An artifact account must be supplied to download this artifact: foo"},
		"unknown":         {spinnaker.Artifact{Type: "http/file", ArtifactAccount: "x"}, ErrMissing, "Credentials 'x' supporting artifact type 'http/file' cannot be found"},
		"of another type": {spinnaker.Artifact{Type: "s3/object", ArtifactAccount: "http"}, ErrMissing, "Credentials 'http' supporting artifact type 's3/object' cannot be found"},
		"an image":        {spinnaker.Artifact{Type: "docker/image", ArtifactAccount: "docker-registry", Reference: "nginx:1"}, ErrUnsupported, "docker/image"},
		"metadata":        {spinnaker.Artifact{Type: "http/file", ArtifactAccount: "http", Reference: "http://169.254.169.254/latest"}, ErrRefused, "Verbatim IP addresses are not allowed"},
		"no base64":       {spinnaker.Artifact{Type: "embedded/base64", Reference: "a*b"}, ErrRefused, "reference is not base64"},
		"stored":          {spinnaker.Artifact{Type: "remote/base64", ArtifactAccount: "embedded-artifact", Reference: "ref://app/hash"}, ErrUnsupported, "no artifact store"},
		"no template":     {spinnaker.Artifact{Type: "front50/pipelineTemplate", ArtifactAccount: "front50ArtifactCredentials", Reference: "x"}, ErrRefused, "spinnaker://"},
		"no Front50":      {spinnaker.Artifact{Type: "front50/pipelineTemplate", ArtifactAccount: "front50ArtifactCredentials", Reference: "spinnaker://x"}, errNoFront50, "services.front50.baseUrl"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := all.Fetch(t.Context(), c.of); !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
				t.Error(err)
			}
		})
	}
}

func TestEmbedded_TakesWhatBothPredecessorsTake(t *testing.T) {
	all, _ := accounts(t, config.Artifacts{}, nil)
	for _, reference := range []string{"aGVsbG8=", "aGVsbG8", "aGVs\r\nbG8="} {
		for _, account := range []string{"", EmbeddedAccount} {
			got, err := all.Fetch(t.Context(), spinnaker.Artifact{Type: "embedded/base64", Reference: reference, ArtifactAccount: account})
			if text := content(t, got, err); text != "hello" || got.Size != 5 {
				t.Error(text, got.Size)
			}
		}
	}
	for _, kind := range []string{"embedded/other", "remote/base64"} {
		got, err := all.Fetch(t.Context(), spinnaker.Artifact{Type: kind, Reference: "", ArtifactAccount: EmbeddedAccount})
		if content(t, got, err) != "" {
			t.Error(kind)
		}
	}
}

func TestAFailure_NamesTheArtifactAndNoSecret(t *testing.T) {
	s := server(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	all, _ := accounts(t, config.Artifacts{HTTP: config.ArtifactAccounts{Enabled: true, Accounts: []config.ArtifactAccount{{Name: "http", URLRestrictions: near}}}}, nil)
	_, err := all.Fetch(t.Context(), spinnaker.Artifact{Type: "http/file", ArtifactAccount: "http", Reference: s.URL + "/a?token=never"})
	if err == nil || !strings.HasPrefix(err.Error(), "Unable to download the contents of artifact http/file "+s.URL+"/a: Received 418 status code from") || strings.Contains(err.Error(), "never") {
		t.Error(err)
	}
}

type templates struct{ asked string }

func (p *templates) Template(_ context.Context, id, tag, digest string) (json.RawMessage, error) {
	p.asked = id + "|" + tag + "|" + digest
	return json.RawMessage(`{"id":"x"}`), nil
}

func (p *templates) Templates(context.Context) ([]map[string]any, error) {
	global := map[string]any{"scopes": []any{"a", "global"}}
	return []map[string]any{{"id": "one", "metadata": global}, {"id": "two", "metadata": map[string]any{"scopes": []any{"a"}}}, {"id": "one", "metadata": global}, {}}, nil
}

func TestTemplates_ByTagAndDigest(t *testing.T) {
	p := &templates{}
	all, _ := accounts(t, config.Artifacts{}, p)
	const account, kind = "front50ArtifactCredentials", "front50/pipelineTemplate"
	for reference, want := range map[string]string{"spinnaker://x": "x||", "spinnaker://x:v1": "x|v1|", "spinnaker://x@sha256:ab": "x||ab"} {
		got, err := all.Fetch(t.Context(), spinnaker.Artifact{Type: kind, ArtifactAccount: account, Reference: reference})
		if content(t, got, err) != `{"id":"x"}` || p.asked != want {
			t.Error(reference, p.asked)
		}
	}
	for _, reference := range []string{"spinnaker://x:a:b", "spinnaker://x@sha256:a@b", "spinnaker://x@md5:a:b", "spinnaker://", "spinnaker://x:"} {
		if _, err := all.Fetch(t.Context(), spinnaker.Artifact{Type: kind, ArtifactAccount: account, Reference: reference}); !errors.Is(err, ErrRefused) {
			t.Error(reference, err)
		}
	}
	if names, err := all.Names(t.Context(), account, kind); err != nil || len(names) != 1 || names[0] != "one" {
		t.Error(names, err)
	}
	if _, err := all.Versions(t.Context(), account, kind, "one"); !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
	if _, err := all.Names(t.Context(), EmbeddedAccount, "embedded/base64"); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "Artifact names are not supported for artifact types that 'embedded-artifact' account handles") {
		t.Error(err)
	}
}
