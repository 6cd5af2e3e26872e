package artifact

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// New makes the accounts of the settings, of the older rewrite's folder, and those
// that are built in. One that cannot be used is left out, with a line in the log.
func New(c config.Artifacts, masters config.Jenkins, others Others, log *slog.Logger) (*Accounts, error) {
	kept, err := newCache(c.CacheBytes)
	if err != nil {
		return nil, fmt.Errorf("artifacts.cacheBytes: %w", err)
	}
	out := &Accounts{others: others, log: log, cache: kept}
	return out, out.Set(c, masters)
}

// Set makes the accounts anew, of other settings. After an error they are as they
// were.
func (as *Accounts) Set(c config.Artifacts, masters config.Jenkins) error {
	b := builder{settings: c, log: as.log, cache: as.cache}
	b.add("artifacts.github", c.GitHub, "artifacts-github", b.github, "github/file")
	b.add("artifacts.gitlab", c.GitLab, "artifacts-gitlab", b.file("artifacts.gitlab", gitlabToken, true), "gitlab/file")
	b.add("artifacts.bitbucket", c.Bitbucket, "artifacts-bitbucket", b.file("artifacts.bitbucket", bitbucketToken, false), "bitbucket/file")
	b.add("artifacts.http", c.HTTP, "artifacts-http", b.file("artifacts.http", nil, false), "http/file")
	b.add("artifacts.gitRepo", c.GitRepo.ArtifactAccounts, "git/repo", b.git, "git/repo")
	b.add("artifacts.helm", c.Helm, "artifacts-helm", b.helm, helmChart, helmIndex)
	b.add("artifacts.maven", c.Maven, "artifacts-maven", b.maven, "maven/file")
	b.add("artifacts.ivy", c.Ivy, "artifacts-ivy", b.ivy, "ivy/file")
	b.add("artifacts.oracle", c.Oracle, "artifacts-oracle", b.oracle, "oracle/object")
	b.add("artifacts.s3", c.S3, "artifacts-s3", func(a config.ArtifactAccount) (fetcher, error) { return newS3(a), nil }, "s3/object")
	b.add("artifacts.gcs", c.GCS, "artifacts-gcs", func(a config.ArtifactAccount) (fetcher, error) { return newGCS(a), nil }, "gcs/object")
	b.add("jenkins", config.ArtifactAccounts{Enabled: masters.Enabled, Accounts: masters.Masters}, "artifacts-jenkins", b.jenkins, "jenkins/file")
	if c.HTTP.Enabled && !b.showsItself() {
		b.add("artifacts.http", config.ArtifactAccounts{Enabled: true, Accounts: []config.ArtifactAccount{{Name: "no-auth-http-account"}}}, "artifacts-http", b.file("artifacts.http", nil, false), "http/file")
	}
	if c.CredentialsDir != "" {
		if err := b.folder(c.CredentialsDir); err != nil {
			return fmt.Errorf("artifacts.credentialsDir: %w", err)
		}
	}
	for _, a := range builtIn(as.others.Templates) {
		if !b.named(a.Name) {
			b.accounts = append(b.accounts, a)
		}
	}
	all := distinct(b.accounts, as.log)
	as.most.Store(c.MaxBytes)
	as.all.Store(&all)
	return nil
}

type builder struct {
	settings config.Artifacts
	cache    *cache
	log      *slog.Logger
	accounts []*Account
}

// maker makes what fetches for an account. The error names the key that is wrong.
type maker func(config.ArtifactAccount) (fetcher, error)

func (b *builder) add(key string, of config.ArtifactAccounts, kind string, with maker, types ...string) {
	if !of.Enabled {
		return
	}
	for i, c := range of.Accounts {
		if err := b.one(c, kind, with, types...); err != nil {
			b.log.Error("an artifact account cannot be used, and is left out", "key", fmt.Sprintf("%s.accounts[%d]", key, i), "account", c.Name, "error", err)
		}
	}
}

func (b *builder) one(c config.ArtifactAccount, kind string, with maker, types ...string) error {
	if c.Name == "" {
		return errors.New("name is missing")
	}
	by, err := with(c)
	if err != nil {
		return err
	}
	b.accounts = append(b.accounts, &Account{Name: c.Name, Types: types, Type: kind, by: bounded{by, b.settings.MaxBytes}})
	return nil
}

// showsItself says whether an account of http/file has credentials.
func (b *builder) showsItself() bool {
	return slices.ContainsFunc(b.settings.HTTP.Accounts, func(c config.ArtifactAccount) bool {
		return c.UsernamePasswordFile != "" || c.Username != "" && c.Password != ""
	})
}

func (b *builder) named(name string) bool {
	return slices.ContainsFunc(b.accounts, func(a *Account) bool { return a.Name == name })
}

// restricted is a client for references that users write.
func restricted(key string, c config.ArtifactAccount) (*web, error) {
	rules, err := newRestrictions(c.Name, key+".accounts[].urlRestrictions", c.URLRestrictions)
	if err != nil {
		return nil, fmt.Errorf("urlRestrictions.%w", err)
	}
	return newWeb(rules, ""), nil
}

func (b *builder) file(key string, withToken func(http.Header, string), versioned bool) maker {
	return func(c config.ArtifactAccount) (fetcher, error) {
		w, err := restricted(key, c)
		if err != nil {
			return nil, err
		}
		return file{w, c, withToken, versioned, b.cache}, nil
	}
}

func (b *builder) github(c config.ArtifactAccount) (fetcher, error) {
	w, err := restricted("artifacts.github", c)
	if err != nil {
		return nil, err
	}
	g := github{web: w, account: c}
	if c.GithubApp != nil {
		if g.app, err = newApp(*c.GithubApp); err != nil {
			return nil, err
		}
		b.warnOfReach(c, g.app)
	}
	return g, nil
}

// olderGitHub is an account whose token is for one installation of GitHub.
func olderGitHub(base string) maker {
	return func(c config.ArtifactAccount) (fetcher, error) {
		rules, err := configured(c.Name, base)
		if err != nil {
			return nil, fmt.Errorf("baseURL: %w", err)
		}
		return github{web: newWeb(rules, base), account: c, base: base}, nil
	}
}

func (b *builder) warnOfReach(c config.ArtifactAccount, a *app) {
	if a.reachesAll() {
		b.log.Warn("every organization that has installed the GitHub App can be reached: set githubApp.appInstallationId or githubApp.allowedOrganizations", "account", c.Name)
	}
}

func (b *builder) git(c config.ArtifactAccount) (fetcher, error) {
	r, err := newRepository(c, b.settings.GitRepo, b.settings.MaxBytes)
	if err != nil {
		return nil, err
	}
	if r.app != nil {
		b.warnOfReach(c, r.app)
	}
	if len(c.AllowedHosts) == 0 {
		b.log.Warn("an account of git/repo sends its credentials to every host that a reference names: set allowedHosts", "account", c.Name)
	}
	return r, nil
}

func (b *builder) helm(c config.ArtifactAccount) (fetcher, error) {
	rules, err := configured(c.Name, c.Repository)
	if err != nil {
		return nil, fmt.Errorf("repository: %w", err)
	}
	return helm{newWeb(rules, c.Repository), c, b.cache}, nil
}

func (b *builder) maven(c config.ArtifactAccount) (fetcher, error) {
	rules, err := configured(c.Name, c.RepositoryURL)
	if err != nil {
		return nil, fmt.Errorf("repositoryUrl: %w", err)
	}
	return mavenFile{newWeb(rules, c.RepositoryURL), c, b.cache}, nil
}

func (b *builder) jenkins(c config.ArtifactAccount) (fetcher, error) {
	rules, err := configured(c.Name, c.Address)
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	return jenkins{newWeb(rules, c.Address), c}, nil
}

// older is an account as the older rewrite keeps it: a file for each (artifacts.md
// 3; homedepot/go-clouddriver, internal/artifact).
type older struct {
	Name       string   `json:"name"`
	Types      []string `json:"types"`
	Repository string   `json:"repository"`
	Username   string   `json:"username"`
	Password   string   `json:"password"`
	BaseURL    string   `json:"baseURL"`
	Token      string   `json:"token"`
	Enterprise bool     `json:"enterprise"`
	JSONPath   string   `json:"jsonPath"`
	// AllowedHosts are ours: where the token of a git/repo may be shown.
	AllowedHosts []string `json:"allowedHosts"`
}

// folder reads the older rewrite's accounts. What can be read of it is used.
func (b *builder) folder(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		at := filepath.Join(path, entry.Name())
		if info, err := os.Stat(at); err != nil || !info.Mode().IsRegular() {
			continue // the generations of a mounted volume
		}
		if err := b.olderFile(at); err != nil {
			b.log.Error("an artifact account cannot be used, and is left out", "file", at, "error", err)
		}
	}
	return nil
}

func (b *builder) olderFile(path string) error {
	text, err := readFile(path)
	if err != nil {
		return err
	}
	var o older
	if err := json.Unmarshal(text, &o); err != nil {
		return fmt.Errorf("it is no JSON object of an account: %w", err)
	}
	if o.Name == "" {
		return errors.New(`no "name" found in artifact config file`)
	}
	if b.has(o.Name, o.Types) {
		return fmt.Errorf("duplicate artifact credential listed: %s", o.Name)
	}
	c := config.ArtifactAccount{Name: o.Name, Token: o.Token, Repository: o.Repository, Username: o.Username, Password: o.Password, JSONPath: o.JSONPath, AllowedHosts: o.AllowedHosts}
	for _, kind := range o.Types {
		if err := b.ofType(c, o, kind); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) has(name string, types []string) bool {
	return slices.ContainsFunc(b.accounts, func(a *Account) bool {
		return strings.EqualFold(a.Name, name) && slices.ContainsFunc(types, a.handles)
	})
}

// ofType adds one type of an older account.
func (b *builder) ofType(c config.ArtifactAccount, o older, kind string) error {
	switch kind {
	case helmChart:
		if o.Repository == "" {
			return fmt.Errorf("helm chart %s missing required \"repository\" attribute", o.Name)
		}
		return b.one(c, "artifacts-helm", b.helm, helmChart, helmIndex)
	case helmIndex:
		return nil // it comes with the charts
	case "github/file":
		if o.Enterprise && o.BaseURL == "" {
			return fmt.Errorf("github file %s missing required \"baseURL\" attribute", o.Name)
		}
		base := githubAPI
		if o.Enterprise {
			base = o.BaseURL
		}
		return b.one(c, "artifacts-github", olderGitHub(base), kind)
	case "git/repo":
		return b.one(c, "git/repo", b.git, kind)
	case "gcs/object":
		return b.one(c, "artifacts-gcs", func(a config.ArtifactAccount) (fetcher, error) { return newGCS(a), nil }, kind)
	case "http/file":
		return b.one(config.ArtifactAccount{Name: o.Name}, "artifacts-http", b.file("artifacts.http", nil, false), kind)
	}
	for _, known := range builtIn(nil) {
		if known.Name == o.Name && known.handles(kind) {
			return nil // it is there anyway, and can more
		}
	}
	b.accounts = append(b.accounts, &Account{Name: o.Name, Types: []string{kind}})
	return nil
}
