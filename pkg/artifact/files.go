package artifact

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// defaultVersion is the branch where none is named, whatever the repository's own
// default is.
const defaultVersion = "master"

// file is a file on a web server: http/file, gitlab/file and bitbucket/file
// (artifacts.md 5.7, 5.9).
type file struct {
	web     *web
	account config.ArtifactAccount
	// token puts a token in the header, nil where accounts have none.
	token func(http.Header, string)
	// versioned appends the branch to the reference.
	versioned bool
	cache     *cache
}

func (f file) fetch(ctx context.Context, a spinnaker.Artifact) (Content, error) {
	show, err := shows(f.account, f.token)
	if err != nil {
		return Content{}, err
	}
	reference := a.Reference
	if f.versioned {
		reference = withRef(reference, a.Version)
	}
	return f.cache.get(ctx, wanted{key: "file\x00" + f.account.Name + "\x00" + reference, ask: f.web.fresh(reference, show)})
}

func gitlabToken(h http.Header, token string) { h.Set("Private-Token", token) }

func bitbucketToken(h http.Header, token string) {
	h.Set(authorization, "Bearer "+token)
	h.Set("Accept", "application/json")
}

// withRef appends the branch, which the reference may have a query before.
func withRef(reference, version string) string {
	if version == "" {
		version = defaultVersion
	}
	separator := "?"
	if strings.Contains(reference, "?") {
		separator = "&"
	}
	return reference + separator + "ref=" + url.QueryEscape(version)
}

// github is a file in a repository of GitHub, by the address of its contents API
// (artifacts.md 5.6).
type github struct {
	web     *web
	account config.ArtifactAccount
	app     *app // nil for accounts that are none
	// base is where references of an account of the older rewrite begin, "" for
	// anywhere.
	base string
}

func (g github) fetch(ctx context.Context, a spinnaker.Artifact) (Content, error) {
	if g.base != "" && !sameOrigin(g.base, a.Reference) {
		return Content{}, refused("content URL %s should have base URL %s", withoutSecrets(a.Reference), g.base)
	}
	reference := withRef(a.Reference, a.Version)
	if g.account.UseContentAPI {
		return g.raw(ctx, reference)
	}
	show, err := g.shows(ctx, reference)
	if err != nil {
		return Content{}, err
	}
	got, err := g.web.get(ctx, reference, show)
	if err != nil {
		return Content{}, err
	}
	address, err := downloadURL(got)
	if err != nil {
		return Content{}, err
	}
	if show, err = g.shows(ctx, address); err != nil {
		return Content{}, err
	}
	if !sameSite(reference, address) { // what metadata says is no reason to show a token to somebody else
		show = http.Header{}
	}
	if got, err = g.web.get(ctx, address, show); err != nil {
		return Content{}, err
	}
	return got.Content, nil
}

// raw asks the contents API for the file itself.
func (g github) raw(ctx context.Context, reference string) (Content, error) {
	show, err := g.shows(ctx, reference)
	if err != nil {
		return Content{}, err
	}
	version := g.account.GithubAPIVersion
	if version == "" {
		version = "v3"
	}
	show.Set("Accept", "application/vnd.github."+version+".raw")
	got, err := g.web.get(ctx, reference, show)
	if err != nil {
		return Content{}, err
	}
	return got.Content, nil
}

func (g github) shows(ctx context.Context, address string) (http.Header, error) {
	if g.app == nil {
		return shows(g.account, func(h http.Header, token string) { h.Set(authorization, "token "+token) })
	}
	// Only a host that has been checked decides whether there is a token.
	u, err := g.web.allowed(ctx, address)
	if err != nil {
		return nil, err
	}
	header := http.Header{}
	if !g.app.serves(u.Hostname()) {
		return header, nil
	}
	token, err := g.app.token(ctx, u.Path)
	if errors.Is(err, errNoOwner) {
		return header, nil // a host of raw downloads
	}
	if err != nil {
		return nil, err
	}
	header.Set(authorization, "token "+token)
	return header, nil
}

// mostMetadata bounds what GitHub tells of a file.
const mostMetadata = 16 << 20

func downloadURL(got *answer) (string, error) {
	defer func() { _ = got.Close() }()
	var metadata struct {
		DownloadURL string `json:"download_url"`
	}
	err := json.NewDecoder(io.LimitReader(got, mostMetadata)).Decode(&metadata)
	if err != nil || metadata.DownloadURL == "" {
		return "", errors.New("unable to determine the download URL of the artifact: the answer has no download_url; is the reference that of the contents API, and the authentication right?")
	}
	return metadata.DownloadURL, nil
}

// sameOrigin compares scheme and host once both are parsed.
func sameOrigin(base, reference string) bool {
	one, err := url.Parse(base)
	if err != nil {
		return false
	}
	other, err := url.Parse(reference)
	return err == nil && strings.EqualFold(one.Scheme, other.Scheme) && strings.EqualFold(one.Host, other.Host)
}

// sameSite says whether two addresses are of one installation: equal hosts, or
// those below the domain that an API's host is of, as GitHub's downloads are.
func sameSite(a, b string) bool {
	one, err := url.Parse(a)
	if err != nil {
		return false
	}
	other, err := url.Parse(b)
	if err != nil || one.Scheme == "https" && other.Scheme != "https" {
		return false
	}
	if strings.EqualFold(one.Host, other.Host) {
		return true
	}
	const api, raw = "api.github.com", "raw.githubusercontent.com"
	if strings.EqualFold(one.Host, api) {
		return strings.EqualFold(other.Host, raw)
	}
	of := strings.ToLower(one.Hostname())
	return strings.HasSuffix(strings.ToLower(other.Hostname()), "."+of)
}

// jenkins is a file that a build has kept (artifacts.md 5.14).
type jenkins struct {
	web     *web
	account config.ArtifactAccount
}

func (j jenkins) fetch(ctx context.Context, a spinnaker.Artifact) (Content, error) {
	show, err := shows(j.account, nil)
	if err != nil {
		return Content{}, err
	}
	path := "/job/" + a.Name + "/" + a.Version + "/artifact/" + strings.TrimPrefix(a.Reference, "/")
	escaped, err := escapedPath(path)
	if err != nil {
		return Content{}, err
	}
	got, err := j.web.get(ctx, strings.TrimSuffix(j.account.Address, "/")+escaped, show)
	if err != nil {
		return Content{}, err
	}
	return got.Content, nil
}

// escapedPath escapes the segments of a path that is put together of an artifact's
// texts, which must not lead out of it.
func escapedPath(path string) (string, error) {
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		if segment == ".." || segment == "." || strings.ContainsRune(segment, 0) {
			return "", refused("name, version and reference must not have %q in their path", segment)
		}
		segments[i] = url.PathEscape(segment)
	}
	return strings.Join(segments, "/"), nil
}
