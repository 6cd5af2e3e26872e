package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5"
	gitconfig "github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	gitcache "github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"golang.org/x/crypto/ssh"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/secret"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// repository fetches a repository, or a part of it, as a gzip tar (artifacts.md
// 5.8). Git is spoken in this process: nothing of an artifact is ever part of a
// command.
type repository struct {
	account config.ArtifactAccount
	app     *app
	valid   *regexp.Regexp
	// folder is where clones are while they are fetched, "" for the system's.
	folder string
	most   int64
	object int64
	near   *restrictions
}

// defaultGitURL is what a reference may be: no file, no query, no blanks, nothing
// that a shell knows.
const defaultGitURL = `^(?:(?:https?|git|ssh)://[\w.@:/~-]+|git@[\w.-]+:[\w.@:/~-]+)$`

var gitText = regexp.MustCompile(`^[a-zA-Z0-9/_.-]+$`)

// cloneWithin is the deadline of a clone.
const cloneWithin = 8 * time.Minute

func newRepository(c config.ArtifactAccount, g config.GitArtifacts, most int64) (*repository, error) {
	pattern := g.ValidGitURLRegex
	if pattern == "" {
		pattern = defaultGitURL
	}
	valid, err := whole(pattern)
	if err != nil {
		return nil, fmt.Errorf("artifacts.gitRepo.validGitUrlRegex: %w", err)
	}
	near, err := newRestrictions(c.Name, "artifacts.gitRepo.accounts[].allowedHosts", config.URLRestrictions{})
	if err != nil {
		return nil, err
	}
	r := &repository{account: c, valid: valid, most: most, object: mostObject, near: near}
	if c.GithubApp != nil {
		if r.app, err = newApp(*c.GithubApp); err != nil {
			return nil, err
		}
	}
	return r, gitTransports()
}

func (r *repository) fetch(ctx context.Context, a spinnaker.Artifact) (Content, error) {
	version, subPath := a.Version, subPathOf(a)
	if version == "" {
		version = defaultVersion
	}
	if err := r.check(ctx, a.Reference, version, subPath); err != nil {
		return Content{}, err
	}
	address, auth, err := r.authOf(ctx, a.Reference)
	if err != nil {
		return Content{}, err
	}
	folder, err := os.MkdirTemp(r.folder, "clouddriver-clone-")
	if err != nil {
		return Content{}, fmt.Errorf("a folder for a clone (TMPDIR must be writable): %w", err)
	}
	tree, commit, err := r.files(ctx, folder, address, auth, version, subPath)
	if err != nil {
		_ = os.RemoveAll(folder)
		return Content{}, err
	}
	reader, writer := io.Pipe()
	go func() {
		var err error
		defer func() {
			if cause := recover(); cause != nil {
				err = fmt.Errorf("the repository cannot be read: %v", cause)
			}
			_ = os.RemoveAll(folder) // the system cleans up what is left
			_ = writer.CloseWithError(err)
		}()
		err = archive(ctx, writer, tree, commit, subPath)
	}()
	return Content{reader, -1}, nil
}

// files clones a version and looks at what is to be sent of it. What a hostile
// repository makes go-git do harms nobody else.
func (r *repository) files(ctx context.Context, folder, address string, auth transport.AuthMethod, version, subPath string) (tree *object.Tree, commit plumbing.Hash, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("the repository cannot be read: %v", cause)
		}
	}()
	ctx, cancel := context.WithTimeout(r.rules(ctx), cloneWithin)
	defer cancel()
	if tree, commit, err = r.clone(ctx, folder, address, auth, version); err != nil {
		return nil, commit, err
	}
	if subPath != "" {
		if err := has(tree, subPath); err != nil {
			return nil, commit, err
		}
	}
	return tree, commit, survey(ctx, tree, subPath, r.most)
}

// subPathOf is the part of the repository that is asked for: newer pipelines have
// it as the location.
func subPathOf(a spinnaker.Artifact) string {
	path := a.Location
	if path == "" {
		path, _ = a.Metadata["subPath"].(string)
	}
	return strings.Trim(path, "/")
}

// check says what is wrong with an artifact's texts, in Java's order; what begins
// with a hyphen or leads upwards is refused besides.
func (r *repository) check(ctx context.Context, reference, version, subPath string) error {
	host := hostOf(reference)
	if host == "" {
		return refused("Unable to determine the repository host of the git reference %s", withoutSecrets(reference))
	}
	if err := r.host(ctx, host); err != nil {
		return err
	}
	if strings.HasPrefix(reference, "git://") {
		return refused("The reference %s is not encrypted, and is not followed: use https or ssh", withoutSecrets(reference))
	}
	if !r.valid.MatchString(reference) || strings.HasPrefix(reference, "-") || strings.Contains(reference, "..") {
		return refused("The reference %s is no valid git reference (artifacts.gitRepo.validGitUrlRegex)", withoutSecrets(reference))
	}
	if !gitText.MatchString(version) || strings.HasPrefix(version, "-") || strings.Contains(version, "..") {
		return refused("The version contains invalid characters: only letters, digits and / _ . - may be in it, and it must not begin with - or have ..")
	}
	if subPath != "" && (!gitText.MatchString(subPath) || strings.HasPrefix(subPath, "-") || slices.Contains(strings.Split(subPath, "/"), "..")) {
		return refused("The sub path contains invalid characters: only letters, digits and / _ . - may be in it, and it must not begin with - or have ..")
	}
	return nil
}

// hostOf is the host of a reference, also in the form git@host:path.
func hostOf(reference string) string {
	if u, err := url.Parse(reference); err == nil && u.Host != "" {
		return strings.ToLower(u.Hostname())
	}
	if rest, ok := strings.CutPrefix(reference, "git@"); ok {
		host, _, found := strings.Cut(rest, ":")
		if found {
			return strings.ToLower(host)
		}
	}
	return ""
}

// host holds a host against the account's list. Where there is none, every host
// may be asked but this machine and the link.
func (r *repository) host(ctx context.Context, host string) error {
	for _, allowed := range r.account.AllowedHosts {
		allowed = strings.ToLower(allowed)
		if host == allowed || strings.HasSuffix(host, "."+allowed) {
			return nil
		}
	}
	if len(r.account.AllowedHosts) > 0 {
		return refused("Repository host '%s' is not in the allowed hosts list: [%s]", host, strings.Join(r.account.AllowedHosts, ", "))
	}
	addresses := []netip.Addr{}
	if literal, ok := verbatim(host); ok {
		addresses = append(addresses, literal)
	} else if found, err := r.near.names.LookupNetIP(ctx, "ip", host); err == nil { // the clone says what is wrong else
		addresses = found
	}
	for _, ip := range addresses {
		if err := r.near.connects(ip); err != nil {
			return err
		}
	}
	return nil
}

// rules are what holds for the connections of a clone: none where the
// configuration names the hosts.
func (r *repository) rules(ctx context.Context) context.Context {
	if len(r.account.AllowedHosts) > 0 {
		return ctx
	}
	return context.WithValue(ctx, rulesKey{}, r.near)
}

// authOf is how an account shows itself, and the address without what the
// reference has of that (artifacts.md 5.8, the first mode that is configured).
func (r *repository) authOf(ctx context.Context, reference string) (string, transport.AuthMethod, error) {
	c := r.account
	t, err := token(c)
	if err != nil {
		return "", nil, err
	}
	user, mode := c.Username, "GITHUB_APP"
	switch {
	case r.app != nil:
	case c.Username != "" && c.Password != "":
		mode, t = "USER_PASS", c.Password
	case c.Username != "" && t != "":
		mode = "USER_TOKEN"
	case t != "":
		mode, user = "TOKEN", "token"
	case c.SSHPrivateKeyFilePath != "":
		if !strings.HasPrefix(reference, "ssh://") && !strings.HasPrefix(reference, "git@") {
			return "", nil, wrongMode(reference, "SSH")
		}
		auth, err := r.ssh(ctx, reference)
		return reference, auth, err
	default:
		return reference, nil, nil
	}
	if !strings.HasPrefix(reference, "http") {
		return "", nil, wrongMode(reference, mode)
	}
	u, err := url.Parse(reference)
	if err != nil {
		return "", nil, wrongMode(reference, mode)
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	if r.app != nil {
		user = "x-access-token"
		if !r.app.serves(u.Hostname()) && len(c.AllowedHosts) == 0 {
			return "", nil, refused("the GitHub App of the account %s is none of %s: name the host in allowedHosts", c.Name, u.Hostname())
		}
		t, err = r.app.token(ctx, u.Path)
		if errors.Is(err, errNoOwner) && r.app.installation != "" {
			t, err = r.app.tokenOf(ctx, r.app.installation)
		}
		if errors.Is(err, errNoOwner) {
			return "", nil, refused("the reference names no owner and repository: set githubApp.appInstallationId of the account %s", c.Name)
		}
		if err != nil {
			return "", nil, err
		}
	}
	return u.String(), &githttp.BasicAuth{Username: user, Password: t}, nil
}

func wrongMode(reference, mode string) error {
	return refused("Git reference \"%s\" is invalid for credentials with auth type %s", withoutSecrets(reference), mode)
}

// askpassWithin is the deadline of a program that prints a passphrase.
const askpassWithin = 10 * time.Second

// passphrase is that of the account's key. A program is asked for it as ssh asks
// (SSH_ASKPASS): with what the passphrase is for.
func (r *repository) passphrase(ctx context.Context) (string, error) {
	c := r.account
	if c.SSHPrivateKeyPassphrase != "" || c.SSHPrivateKeyPassphraseCmd == "" {
		return c.SSHPrivateKeyPassphrase, nil
	}
	text, err := secret.Printed(ctx, askpassWithin, c.SSHPrivateKeyPassphraseCmd, fmt.Sprintf("Enter passphrase for key '%s': ", c.SSHPrivateKeyFilePath))
	if err != nil {
		return "", fmt.Errorf("sshPrivateKeyPassphraseCmd: %w", err)
	}
	first, _, _ := strings.Cut(text, "\n")
	return strings.TrimSuffix(first, "\r"), nil
}

// ssh reads the account's key and the hosts that it knows.
func (r *repository) ssh(ctx context.Context, reference string) (transport.AuthMethod, error) {
	key, err := readFile(r.account.SSHPrivateKeyFilePath)
	if err != nil {
		return nil, err
	}
	user := "git"
	if u, err := url.Parse(reference); err == nil && u.User.Username() != "" {
		user = u.User.Username()
	}
	passphrase, err := r.passphrase(ctx)
	if err != nil {
		return nil, err
	}
	auth, err := gitssh.NewPublicKeys(user, append(key, '\n'), passphrase)
	if err != nil {
		return nil, fmt.Errorf("the key in %s cannot be used; is its passphrase right? %w", r.account.SSHPrivateKeyFilePath, err)
	}
	switch {
	case r.account.SSHTrustUnknownHosts:
		auth.HostKeyCallback = ssh.InsecureIgnoreHostKey() //nolint:gosec // the operator's choice
	case r.account.SSHKnownHostsFilePath != "":
		if auth.HostKeyCallback, err = gitssh.NewKnownHostsCallback(r.account.SSHKnownHostsFilePath); err != nil {
			return nil, fmt.Errorf("sshKnownHostsFilePath: %w", err)
		}
	}
	return auth, nil
}

var (
	fullHash  = regexp.MustCompile(`^[0-9a-f]{40}$`)
	shortHash = regexp.MustCompile(`^[0-9a-f]{7}$`)
)

// clone fetches as little as the version lets it, and returns the files of its
// commit.
func (r *repository) clone(ctx context.Context, folder, address string, auth transport.AuthMethod, version string) (*object.Tree, plumbing.Hash, error) {
	const large = 1 << 20 // larger objects are read as they come
	files := filesystem.NewStorageWithOptions(osfs.New(folder, osfs.WithBoundOS()), gitcache.NewObjectLRU(8*gitcache.MiByte), filesystem.Options{LargeObjectThreshold: large})
	defer func() { _ = files.Close() }()
	store := &checkedStore{Storage: files, ctx: ctx, folder: folder, most: r.most, object: r.object}
	repo, err := git.Init(store, nil)
	if err != nil {
		return nil, plumbing.ZeroHash, err
	}
	remote, err := repo.CreateRemote(&gitconfig.RemoteConfig{Name: "origin", URLs: []string{address}})
	if err != nil {
		return nil, plumbing.ZeroHash, refused("the reference is no valid git reference: %v", err)
	}
	hash, err := r.find(ctx, repo, remote, auth, version)
	if err != nil {
		return nil, hash, gitError(err)
	}
	commit, err := repo.CommitObject(hash)
	if err != nil {
		return nil, hash, fmt.Errorf("version %s is no commit: %w", version, err)
	}
	tree, err := commit.Tree()
	return tree, hash, err
}

// find fetches the version and returns its commit.
func (r *repository) find(ctx context.Context, repo *git.Repository, remote *git.Remote, auth transport.AuthMethod, version string) (plumbing.Hash, error) {
	const kept = "refs/heads/fetched"
	if fullHash.MatchString(version) {
		err := r.fetchRefs(ctx, remote, auth, 1, gitconfig.RefSpec(version+":"+kept))
		switch {
		case err == nil:
			return plumbing.NewHash(version), nil
		case ctx.Err() != nil, errors.Is(err, ErrRefused), errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed), errors.Is(err, transport.ErrRepositoryNotFound):
			return plumbing.ZeroHash, err
		}
		return r.everything(ctx, repo, remote, auth, version)
	}
	refs, err := remote.ListContext(ctx, &git.ListOptions{Auth: auth, PeelingOption: git.AppendPeeled, ProxyOptions: r.through(remote.Config().URLs[0])})
	if err != nil {
		return plumbing.ZeroHash, err
	}
	for _, name := range []plumbing.ReferenceName{plumbing.NewBranchReferenceName(version), plumbing.NewTagReferenceName(version)} {
		if !slices.ContainsFunc(refs, func(ref *plumbing.Reference) bool { return ref.Name() == name }) {
			continue
		}
		if err := r.fetchRefs(ctx, remote, auth, 1, gitconfig.RefSpec(name.String()+":"+kept)); err != nil {
			return plumbing.ZeroHash, err
		}
		resolved, err := repo.ResolveRevision(kept)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		return *resolved, nil
	}
	if shortHash.MatchString(version) {
		return r.everything(ctx, repo, remote, auth, version)
	}
	return plumbing.ZeroHash, fmt.Errorf("there is no branch or tag %s in the repository", version)
}

// everything fetches all branches and tags, for a commit that cannot be asked for
// by itself.
func (r *repository) everything(ctx context.Context, repo *git.Repository, remote *git.Remote, auth transport.AuthMethod, version string) (plumbing.Hash, error) {
	err := r.fetchRefs(ctx, remote, auth, 0, "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
	if err != nil {
		return plumbing.ZeroHash, err
	}
	found, err := repo.ResolveRevision(plumbing.Revision(version))
	if err != nil {
		return plumbing.ZeroHash, fmt.Errorf("there is no commit %s in the repository", version)
	}
	return *found, nil
}

func (r *repository) fetchRefs(ctx context.Context, remote *git.Remote, auth transport.AuthMethod, depth int, specs ...gitconfig.RefSpec) error {
	err := remote.FetchContext(ctx, &git.FetchOptions{Auth: auth, RefSpecs: specs, Depth: depth, Tags: git.NoTags, Force: true, ProxyOptions: r.through(remote.Config().URLs[0])})
	if errors.Is(err, git.NoErrAlreadyUpToDate) {
		return nil
	}
	return err
}

// gitError says what to do about what servers say.
func gitError(err error) error {
	switch {
	case errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed):
		return fmt.Errorf("the repository's server wants other credentials: %w", err)
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return fmt.Errorf("there is no such repository, or the account may not read it: %w", err)
	}
	return err
}
