package artifact

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/sync/singleflight"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/outgoing"
)

// app is a GitHub App, which has a token for each of its installations
// (artifacts.md 4.1).
type app struct {
	id            string
	key           *rsa.PrivateKey
	installation  string // "" to look it up for the owner
	base          string
	organizations []string
	http          *http.Client
	now           func() time.Time

	flight singleflight.Group
	mu     sync.Mutex
	owners map[string]string // installation by owner, lower-case
	tokens map[string]appToken
}

type appToken struct {
	text string
	ends time.Time
}

const (
	// githubAPI is where GitHub's own API is.
	githubAPI = "https://api.github.com"
	// renewBefore is how long before its end a token is not used any more.
	renewBefore = 5 * time.Minute
	// skew is how far our clock may be ahead of GitHub's; a proof may last ten
	// minutes in all.
	skew      = time.Minute
	proofLast = 9 * time.Minute
	appWithin = 20 * time.Second
	// mostOwners bounds what is kept of them.
	mostOwners = 10_000
)

// errNoOwner is returned for an address that names no repository.
var errNoOwner = errors.New("the address names no owner and repository")

// newApp reads an account's app. The error names the key that is wrong.
func newApp(c config.GitHubApp) (*app, error) {
	if c.AppID == "" {
		return nil, errors.New("githubApp.appId is missing")
	}
	if c.PrivateKeyPath == "" {
		return nil, errors.New("githubApp.appPrivateKeyPath is missing")
	}
	if _, err := strconv.ParseUint(c.InstallationID, 10, 64); c.InstallationID != "" && err != nil {
		return nil, fmt.Errorf("githubApp.appInstallationId: %q is no number", c.InstallationID)
	}
	text, err := readFile(c.PrivateKeyPath)
	if err != nil {
		return nil, fmt.Errorf("githubApp.appPrivateKeyPath: %w", err)
	}
	key, err := jwt.ParseRSAPrivateKeyFromPEM(text)
	if err != nil {
		return nil, errors.New("githubApp.appPrivateKeyPath: the file has no RSA key in PEM, PKCS#1 or PKCS#8")
	}
	base := strings.TrimSuffix(c.APIBaseURL, "/")
	if base == "" {
		base = githubAPI
	}
	if u, err := url.Parse(base); err != nil || u.Host == "" {
		return nil, errors.New("githubApp.apiBaseUrl is no address")
	}
	return &app{
		id: c.AppID, key: key, installation: c.InstallationID, base: base, organizations: c.AllowedOrganizations,
		http: outgoing.Client(nil, appWithin), now: time.Now, owners: map[string]string{}, tokens: map[string]appToken{},
	}, nil
}

// reachesAll says whether every organization that has the app can be reached.
func (a *app) reachesAll() bool { return a.installation == "" && len(a.organizations) == 0 }

// repositoryOf finds owner and repository in a path: …/repos/owner/repo/…, or one
// of exactly two segments.
func repositoryOf(path string) (owner, repo string, ok bool) {
	segments := strings.Split(strings.Trim(path, "/"), "/")
	if at := slices.Index(segments, "repos"); at >= 0 && len(segments) > at+2 {
		owner, repo = segments[at+1], segments[at+2]
	} else if len(segments) == 2 {
		owner, repo = segments[0], segments[1]
	}
	repo = strings.TrimSuffix(repo, ".git")
	return owner, repo, owner != "" && repo != "" && owner != ".." && repo != ".."
}

// token is one for the repository of a path; errNoOwner where it names none.
func (a *app) token(ctx context.Context, path string) (string, error) {
	owner, repo, ok := repositoryOf(path)
	if !ok {
		return "", errNoOwner
	}
	if a.installation != "" {
		return a.tokenOf(ctx, a.installation)
	}
	allowed := slices.ContainsFunc(a.organizations, func(o string) bool { return strings.EqualFold(o, owner) })
	if len(a.organizations) > 0 && !allowed {
		return "", refused("Organization '%s' is not among githubApp.allowedOrganizations of the account", owner)
	}
	installation, err := a.installationOf(ctx, owner, repo)
	if err != nil {
		return "", err
	}
	return a.tokenOf(ctx, installation)
}

func (a *app) installationOf(ctx context.Context, owner, repo string) (string, error) {
	name := strings.ToLower(owner)
	a.mu.Lock()
	known := a.owners[name]
	a.mu.Unlock()
	if known != "" {
		return known, nil
	}
	found, err, _ := a.flight.Do("owner "+name+"/"+repo, func() (any, error) {
		var answer struct{ ID json.Number }
		if err := a.ask(context.WithoutCancel(ctx), http.MethodGet, "/repos/"+url.PathEscape(owner)+"/"+url.PathEscape(repo)+"/installation", &answer); err != nil {
			return "", err
		}
		if answer.ID == "" {
			return "", errors.New("GitHub's answer has no installation")
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if len(a.owners) >= mostOwners {
			clear(a.owners)
		}
		a.owners[name] = answer.ID.String()
		return answer.ID.String(), nil
	})
	id, _ := found.(string)
	return id, err
}

func (a *app) tokenOf(ctx context.Context, installation string) (string, error) {
	a.mu.Lock()
	have := a.tokens[installation]
	a.mu.Unlock()
	if have.text != "" && a.now().Before(have.ends.Add(-renewBefore)) {
		return have.text, nil
	}
	made, err, _ := a.flight.Do("token "+installation, func() (any, error) {
		var answer struct {
			Token     string    `json:"token"`
			ExpiresAt time.Time `json:"expires_at"`
		}
		if err := a.ask(context.WithoutCancel(ctx), http.MethodPost, "/app/installations/"+url.PathEscape(installation)+"/access_tokens", &answer); err != nil {
			a.forget(installation) // the app may have been installed anew
			return "", err
		}
		if answer.Token == "" {
			return "", errors.New("GitHub's answer has no token")
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if len(a.tokens) >= mostOwners {
			clear(a.tokens)
		}
		a.tokens[installation] = appToken{answer.Token, answer.ExpiresAt}
		return answer.Token, nil
	})
	text, _ := made.(string)
	return text, err
}

// forget drops whose installation it was.
func (a *app) forget(installation string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.owners, func(_, of string) bool { return of == installation })
}

// serves says whether a host is of the installation of GitHub that the app is
// of.
func (a *app) serves(host string) bool {
	base, err := url.Parse(a.base)
	if err != nil {
		return false
	}
	own := strings.ToLower(base.Hostname())
	host = strings.ToLower(host)
	return host == own || "api."+host == own
}

// ask calls GitHub's API as the app.
func (a *app) ask(ctx context.Context, method, path string, into any) error {
	now := a.now()
	proof, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.RegisteredClaims{
		Issuer: a.id, IssuedAt: jwt.NewNumericDate(now.Add(-skew)), ExpiresAt: jwt.NewNumericDate(now.Add(proofLast)),
	}).SignedString(a.key)
	if err != nil {
		return fmt.Errorf("sign for GitHub: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set(authorization, "Bearer "+proof)
	req.Header.Set("Accept", "application/vnd.github+json")
	res, err := a.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask GitHub: %w", plain(err))
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("ask GitHub for the installation: %s", res.Status)
	}
	return json.NewDecoder(io.LimitReader(res.Body, mostMetadata)).Decode(into)
}
