package artifact

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/go-git/go-billy/v5/memfs"
	"github.com/go-git/go-billy/v5/util"
	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

func gitAccount(t *testing.T, c config.ArtifactAccount, g config.GitArtifacts) *repository {
	t.Helper()
	c.Name = "acct"
	r, err := newRepository(c, g, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	r.near.names = dns(t, public)
	return r
}

// TestGit_Validation iterates 8.5, row 4: nothing of it is ever asked.
func TestGit_Validation(t *testing.T) {
	r := gitAccount(t, config.ArtifactAccount{}, config.GitArtifacts{})
	const good = "https://example.com/o/r.git"
	for _, reference := range []string{
		good, "http://example.com:8080/o/r", "ssh://git@example.com:22/~o/r.git", "git@example.com:o/r.git", "git@private.example.com:o/my-repo_1.git",
	} {
		if err := r.check(t.Context(), reference, "feature/x_1.2-3", "a/b-c"); err != nil {
			t.Errorf("%s: %v", reference, err)
		}
	}
	for name, c := range map[string]struct{ reference, version, subPath, want string }{
		"file":                  {"file:///x", "master", "", "Unable to determine the repository host"},
		"file with a host":      {"file://example.com/x", "master", "", "no valid git reference"},
		"a path":                {"/etc/passwd", "master", "", "Unable to determine the repository host"},
		"git":                   {"git://example.com/r", "master", "", "not encrypted"},
		"query":                 {good + "?x=y", "master", "", "no valid git reference"},
		"blank":                 {"https://example.com/o r", "master", "", "no valid git reference"},
		"semicolon":             {good + ";id", "master", "", "no valid git reference"},
		"substitution":          {"https://example.com/$(id)", "master", "", "no valid git reference"},
		"ext":                   {"ext::sh -c id", "master", "", "Unable to determine the repository host"},
		"an option":             {"--upload-pack=id", "master", "", "Unable to determine the repository host"},
		"an option as host":     {"ssh://-oProxyCommand=id/x", "master", "", "no valid git reference"},
		"upwards":               {"https://example.com/../r", "master", "", "no valid git reference"},
		"NUL":                   {good + "\x00", "master", "", "Unable to determine the repository host"},
		"version, an option":    {good, "--upload-pack=id", "", "The version contains invalid characters"},
		"version, a short one":  {good, "-x", "", "The version contains invalid characters"},
		"version, upwards":      {good, "a/../b", "", "The version contains invalid characters"},
		"version, shell":        {good, "a;id", "", "The version contains invalid characters"},
		"version, substitution": {good, "$(id)", "", "The version contains invalid characters"},
		"version, line":         {good, "a\nb", "", "The version contains invalid characters"},
		"version, NUL":          {good, "a\x00", "", "The version contains invalid characters"},
		"sub path, upwards":     {good, "master", "../x", "The sub path contains invalid characters"},
		"sub path, within":      {good, "master", "a/../../x", "The sub path contains invalid characters"},
		"sub path, an option":   {good, "master", "--output=x", "The sub path contains invalid characters"},
		"sub path, NUL":         {good, "master", "a\x00", "The sub path contains invalid characters"},
		"metadata":              {"http://169.254.169.254/o/r", "master", "", "Host not allowed"},
		"metadata, decimal":     {"http://2852039166/o/r", "master", "", "Host not allowed"},
		"metadata by name":      {"http://metadata.example.com/o/r", "master", "", "Host not allowed"},
		"this machine":          {"http://localhost.example.com/o/r", "master", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := r.check(t.Context(), c.reference, c.version, c.subPath)
			if c.want == "" {
				return
			}
			if !errors.Is(err, ErrRefused) || !strings.HasPrefix(strings.TrimPrefix(err.Error(), "The reference "+withoutSecrets(c.reference)+" is "), c.want) {
				t.Error(err)
			}
		})
	}
	own := gitAccount(t, config.ArtifactAccount{}, config.GitArtifacts{ValidGitURLRegex: `https://example\.com/only/.*`})
	if own.check(t.Context(), "https://example.com/only/r", "master", "") != nil || own.check(t.Context(), good, "master", "") == nil {
		t.Error("another validGitUrlRegex does not count")
	}
	if _, err := newRepository(config.ArtifactAccount{}, config.GitArtifacts{ValidGitURLRegex: "("}, 1); err == nil || !strings.Contains(err.Error(), "validGitUrlRegex") {
		t.Error(err)
	}
}

// TestGit_AllowedHosts iterates 8.5, row 5.
func TestGit_AllowedHosts(t *testing.T) {
	r := gitAccount(t, config.ArtifactAccount{AllowedHosts: []string{"GitHub.com", "git.example.com"}}, config.GitArtifacts{})
	for reference, ok := range map[string]bool{
		"https://github.com/o/r": true, "https://GITHUB.COM/o/r": true, "https://sub.github.com/o/r": true, "git@github.com:o/r": true, "ssh://git@git.example.com/o/r": true,
		"https://evilgithub.com/o/r": false, "https://github.com.evil.com/o/r": false, "git@evil.com:o/r": false, "https://github.com@evil.com/o/r": false,
	} {
		err := r.check(t.Context(), reference, "master", "")
		if ok && err != nil {
			t.Errorf("%s: %v", reference, err)
		}
		if !ok && (!errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "is not in the allowed hosts list: [GitHub.com, git.example.com]")) {
			t.Errorf("%s: %v", reference, err)
		}
	}
}

// lockedKey is a private key with a passphrase, in a file.
func lockedKey(t *testing.T, passphrase string) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestGit_APassphraseIsWrittenOrPrinted(t *testing.T) {
	key := lockedKey(t, "open sesame")
	program := filepath.Join(t.TempDir(), "askpass")
	if err := os.WriteFile(program, []byte("#!/bin/sh\ncase \"$1\" in *\""+key+"\"*) echo 'open sesame';; esac\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		account config.ArtifactAccount
		want    string
	}{
		"written":        {config.ArtifactAccount{SSHPrivateKeyPassphrase: "open sesame", SSHPrivateKeyPassphraseCmd: "/not/there"}, ""},
		"printed":        {config.ArtifactAccount{SSHPrivateKeyPassphraseCmd: program}, ""},
		"none":           {config.ArtifactAccount{}, "is its passphrase right?"},
		"another":        {config.ArtifactAccount{SSHPrivateKeyPassphrase: "x"}, "is its passphrase right?"},
		"no program":     {config.ArtifactAccount{SSHPrivateKeyPassphraseCmd: "/not/there"}, "sshPrivateKeyPassphraseCmd: "},
		"prints nothing": {config.ArtifactAccount{SSHPrivateKeyPassphraseCmd: "/bin/true"}, "sshPrivateKeyPassphraseCmd: it printed nothing"},
	} {
		c.account.SSHPrivateKeyFilePath, c.account.SSHTrustUnknownHosts = key, true
		_, _, err := gitAccount(t, c.account, config.GitArtifacts{}).authOf(t.Context(), "git@example.com:o/r")
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestGit_EachModeHasItsReferences iterates the modes of 5.8, and 8.5, row 3.
func TestGit_EachModeHasItsReferences(t *testing.T) {
	path, key := appKey(t, false)
	s, _ := playGitHub(t, key, time.Hour)
	app := &config.GitHubApp{AppID: "7", PrivateKeyPath: path, APIBaseURL: s.URL}
	for name, c := range map[string]struct {
		account         config.ArtifactAccount
		reference, want string
	}{
		"none":                {config.ArtifactAccount{}, "git@example.com:o/r", "git@example.com:o/r <nil>"},
		"password":            {config.ArtifactAccount{Username: "u", Password: "p", Token: "t"}, "https://x:y@example.com/o/r", "https://example.com/o/r http-basic-auth - u:*******"},
		"password, ssh":       {config.ArtifactAccount{Username: "u", Password: "p"}, "git@example.com:o/r", `Git reference "git@example.com:o/r" is invalid for credentials with auth type USER_PASS`},
		"user and token":      {config.ArtifactAccount{Username: "u", Token: "t"}, "https://example.com/o/r", "https://example.com/o/r http-basic-auth - u:*******"},
		"token":               {config.ArtifactAccount{Token: "t"}, "https://example.com/o/r", "https://example.com/o/r http-basic-auth - token:*******"},
		"token, ssh":          {config.ArtifactAccount{Token: "t"}, "ssh://example.com/o/r", `auth type TOKEN`},
		"ssh, http":           {config.ArtifactAccount{SSHPrivateKeyFilePath: path}, "https://example.com/o/r", `auth type SSH`},
		"ssh":                 {config.ArtifactAccount{SSHPrivateKeyFilePath: path, SSHTrustUnknownHosts: true}, "ssh://me@example.com/o/r", "ssh://me@example.com/o/r user: me, name: ssh-public-keys"},
		"app":                 {config.ArtifactAccount{GithubApp: app, Token: "loses", AllowedHosts: []string{"example.com"}}, "https://example.com/o/r.git", "https://example.com/o/r.git http-basic-auth - x-access-token:*******"},
		"app, without suffix": {config.ArtifactAccount{GithubApp: app, AllowedHosts: []string{"example.com"}}, "https://example.com/o/r", "https://example.com/o/r http-basic-auth - x-access-token:*******"},
		"app, ssh":            {config.ArtifactAccount{GithubApp: app}, "git@example.com:o/r", "auth type GITHUB_APP"},
		"app, another host":   {config.ArtifactAccount{GithubApp: app}, "https://example.com/o/r", "name the host in allowedHosts"},
		"app, pinned":         {config.ArtifactAccount{GithubApp: &config.GitHubApp{AppID: "7", PrivateKeyPath: path, APIBaseURL: s.URL, InstallationID: "9"}, AllowedHosts: []string{"example.com"}}, "https://example.com/a/b/c", "http-basic-auth - x-access-token:*******"},
		"app, three segments": {config.ArtifactAccount{GithubApp: app, AllowedHosts: []string{"example.com"}}, "https://example.com/a/b/c", "githubApp.appInstallationId"},
	} {
		t.Run(name, func(t *testing.T) {
			address, auth, err := gitAccount(t, c.account, config.GitArtifacts{}).authOf(t.Context(), c.reference)
			got := fmt.Sprint(address, " ", auth)
			if err != nil {
				got = err.Error()
				if !errors.Is(err, ErrRefused) {
					t.Error(err)
				}
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// commitOf is a commit with files; one that begins with -> is a link.
func commitOf(t *testing.T, files map[string]string) *object.Commit {
	t.Helper()
	work := memfs.New()
	repo, err := git.Init(memory.NewStorage(), work)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if target, link := strings.CutPrefix(text, "->"); link {
			err = work.Symlink(target, name)
		} else {
			err = util.WriteFile(work, name, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	tree, err := repo.Worktree()
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.AddWithOptions(&git.AddOptions{All: true}); err != nil {
		t.Fatal(err)
	}
	hash, err := tree.Commit("files", &git.CommitOptions{Author: &object.Signature{Name: "a", Email: "a@example.com", When: time.Unix(0, 0)}})
	if err != nil {
		t.Fatal(err)
	}
	commit, err := repo.CommitObject(hash)
	if err != nil {
		t.Fatal(err)
	}
	return commit
}

// listed is what a gzip tar has, a line for each.
func listed(t *testing.T, from io.Reader) []string {
	t.Helper()
	zip, err := gzip.NewReader(from)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for archive := tar.NewReader(zip); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s%s", header.Name, header.Linkname, text)))
	}
}

// TestArchive_IsWhatGitArchiveMakes is golden for the properties of artifacts.md
// 5.8.
func TestArchive_IsWhatGitArchiveMakes(t *testing.T) {
	commit := commitOf(t, map[string]string{"README": "r", "kust": "k", "kustomize/a/f": "1", "kustomize/b": "2", "kustomize/link": "->a/f"})
	tree, err := commit.Tree()
	if err != nil {
		t.Fatal(err)
	}
	for subPath, want := range map[string]string{
		"":            "pax_global_header|README r|kust k|kustomize/|kustomize/a/|kustomize/a/f 1|kustomize/b 2|kustomize/link a/f",
		"kustomize/a": "pax_global_header|kustomize/|kustomize/a/|kustomize/a/f 1",
		"kust":        "pax_global_header|kust k",
	} {
		var out bytes.Buffer
		if err := survey(t.Context(), tree, subPath, 100); err != nil {
			t.Fatal(err)
		}
		if err := archive(t.Context(), &out, tree, commit.Hash, subPath); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(listed(t, &out), "|"); got != want {
			t.Errorf("%q: %s", subPath, got)
		}
	}
	if err := has(tree, "kustom"); err == nil || err.Error() != "pathspec 'kustom' did not match any files" {
		t.Error(err)
	}
}

func TestSurvey_RefusesWhatWouldHarmWhoeverUnpacksIt(t *testing.T) {
	for want, files := range map[string]map[string]string{
		"a link that leads out of the repository": {"a/b": "->../../etc/passwd"},
		"link that leads out":                     {"a/b": "->/etc/passwd"},
		"a/b/e is a link that leads out":          {"a/b/d": "->../..", "a/b/e": "->d/../etc"},
		"more than 100 bytes":                     {"large": strings.Repeat("x", 101)},
	} {
		tree, err := commitOf(t, files).Tree()
		if err != nil {
			t.Fatal(err)
		}
		if err := survey(t.Context(), tree, "", 100); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	tree, err := commitOf(t, map[string]string{"a": "b"}).Tree()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := survey(ctx, tree, "", 100); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// What git archive leaves out is written in the repository (gitattributes(5)).
func TestArchive_LeavesOutWhatTheRepositorySays(t *testing.T) {
	commit := commitOf(t, map[string]string{
		".gitattributes": "docs export-ignore\n*.secret export-ignore\n/keep.secret -export-ignore\n", "docs/a.md": "x", "a.yml": "x", "b.secret": "x", "keep.secret": "x",
		"in/.gitattributes": "*.tmp export-ignore\n", "in/c.tmp": "x", "in/d.secret": "x", "in/e.yml": "x", "f.tmp": "x",
	})
	tree, err := commit.Tree()
	if err != nil {
		t.Fatal(err)
	}
	for subPath, want := range map[string][]string{
		"":   {"pax_global_header", ".gitattributes", "a.yml", "f.tmp", "in/", "in/.gitattributes", "in/e.yml", "keep.secret"},
		"in": {"pax_global_header", "in/", "in/.gitattributes", "in/e.yml"},
	} {
		var out bytes.Buffer
		if err := errors.Join(survey(t.Context(), tree, subPath, 10_000), archive(t.Context(), &out, tree, commit.Hash, subPath)); err != nil {
			t.Fatal(err)
		}
		zip, err := gzip.NewReader(&out)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for all := tar.NewReader(zip); ; {
			header, err := all.Next()
			if err != nil {
				break
			}
			names = append(names, header.Name)
		}
		if !slices.Equal(names, want) {
			t.Errorf("%q: %q", subPath, names)
		}
	}
	many := commitOf(t, map[string]string{".gitattributes": strings.Repeat("a export-ignore\n", mostPatterns+1)})
	if tree, err = many.Tree(); err != nil {
		t.Fatal(err)
	}
	if err := survey(t.Context(), tree, "", 100_000); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
}
