package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// What can be wrong, beside a server that fails.
var (
	// ErrRefused is for references and versions that are none, or lead where they
	// must not.
	ErrRefused = errors.New("refused")
	// ErrMissing is for accounts and objects that are not there.
	ErrMissing = errors.New("missing")
	// ErrUnsupported is for what an account of this type cannot do.
	ErrUnsupported = errors.New("not supported")
	// ErrForbidden is for content of the artifact store that the caller may not see,
	// and ErrNobody where nobody says who asks.
	ErrForbidden = errors.New("forbidden")
	ErrNobody    = errors.New("nobody asks")
	// ErrDown is for an artifact store that does not answer.
	ErrDown = errors.New("the artifact store cannot be asked")
)

// problem is an error with the text that callers are shown and nothing else.
type problem struct {
	kind error
	text string
}

func (p *problem) Error() string { return p.text }

func (p *problem) Unwrap() error { return p.kind }

func refused(format string, args ...any) error {
	return &problem{ErrRefused, fmt.Sprintf(format, args...)}
}

func missing(format string, args ...any) error {
	return &problem{ErrMissing, fmt.Sprintf(format, args...)}
}

func unsupported(format string, args ...any) error {
	return &problem{ErrUnsupported, fmt.Sprintf(format, args...)}
}

// Content is what was fetched, as it comes.
type Content struct {
	io.ReadCloser
	// Size is in bytes, -1 while nobody knows.
	Size int64
}

// fetcher fetches artifacts of the types of one account.
type fetcher interface {
	fetch(ctx context.Context, a spinnaker.Artifact) (Content, error)
}

// namer and versioner know what an account has (artifacts.md 2.4).
type namer interface {
	names(ctx context.Context) ([]string, error)
}

type versioner interface {
	versions(ctx context.Context, name string) ([]string, error)
}

// Account is one artifact account.
type Account struct {
	Name string
	// Types are those that it lists; it is found by the pair of name and type.
	Types []string
	// Type is Java's name of the kind of credentials.
	Type string

	by fetcher // nil for accounts that are only listed
	// any are prefixes of types that it fetches without listing them.
	any []string
}

func (a *Account) handles(kind string) bool {
	if slices.Contains(a.Types, kind) {
		return true
	}
	return slices.ContainsFunc(a.any, func(prefix string) bool { return strings.HasPrefix(kind, prefix) })
}

// Accounts are all artifact accounts of an installation. They may be set anew at
// any time; what is being fetched goes on as it began.
type Accounts struct {
	others Others
	log    *slog.Logger
	all    atomic.Pointer[[]*Account]
	most   atomic.Int64 // bytes of an artifact
	cache  *cache
}

// Close gives back what was kept on disk.
func (as *Accounts) Close() { as.cache.close() }

// Others are where artifacts are that are not fetched by their own addresses. Each
// may be nil.
type Others struct {
	Templates  Templates
	Registries Registries
}

// distinct keeps the first of those that have a name and a type in common.
func distinct(all []*Account, log *slog.Logger) []*Account {
	var out []*Account
	for _, a := range all {
		a.Types = slices.DeleteFunc(a.Types, func(kind string) bool {
			if _, taken := find(out, a.Name, kind); taken {
				log.Warn("an artifact account is there already; the first one counts", "account", a.Name, "type", kind)
				return true
			}
			return false
		})
		if len(a.Types) > 0 { // Deck shows an account by its first type
			out = append(out, a)
		}
	}
	return out
}

// List are the accounts, in the order of their configuration; callers must not
// change them.
func (as *Accounts) List() []*Account {
	return append(slices.Clip(*as.all.Load()), as.ofRegistries()...)
}

func find(all []*Account, name, kind string) (*Account, bool) {
	for _, a := range all {
		if a.Name == name && a.handles(kind) {
			return a, true
		}
	}
	return nil, false
}

func (as *Accounts) account(name, kind string) (*Account, error) {
	a, ok := find(as.List(), name, kind)
	if !ok {
		return nil, missing("Credentials '%s' supporting artifact type '%s' cannot be found", name, kind)
	}
	return a, nil
}

// Has says whether an artifact is one of an account here. The embedded account
// need not be named.
func (as *Accounts) Has(name, kind string) bool {
	_, ok := find(as.List(), accountOf(name, kind), kind)
	return ok
}

// accountOf is the account that is asked: what is embedded in a reference needs
// none, as in the older rewrite.
func accountOf(name, kind string) string {
	if name == "" && strings.HasPrefix(kind, embeddedPrefix) {
		return EmbeddedAccount
	}
	return name
}

// Fetch fetches an artifact. The errors are those of this package, and whatever
// the server said.
func (as *Accounts) Fetch(ctx context.Context, a spinnaker.Artifact) (Content, error) {
	name := accountOf(a.ArtifactAccount, a.Type)
	if name == "" {
		return Content{}, refused("An artifact account must be supplied to download this artifact: %s", a.Name)
	}
	account, err := as.account(name, a.Type)
	if err != nil {
		return Content{}, err
	}
	if account.by == nil {
		return Content{}, unsupported("getting artifact of type %s not implemented: artifacts of this type name things, and have no content of their own", a.Type)
	}
	content, err := account.by.fetch(ctx, a)
	if err != nil && !errors.Is(err, ErrRefused) && !errors.Is(err, ErrMissing) && !errors.Is(err, ErrUnsupported) {
		return Content{}, fmt.Errorf("Unable to download the contents of artifact %s: %w", shown(a), err) //nolint:staticcheck // Java's text
	}
	return content, err
}

// shown names an artifact without what its reference may hold of credentials.
func shown(a spinnaker.Artifact) string {
	const most = 200
	name := a.Name
	if name == "" {
		name = withoutSecrets(a.Reference)
	}
	if len(name) > most {
		name = name[:most] + "…"
	}
	return a.Type + " " + name
}

// Names are those of what an account has.
func (as *Accounts) Names(ctx context.Context, account, kind string) ([]string, error) {
	by, err := as.fetcher(account, kind)
	if err != nil {
		return nil, err
	}
	if n, ok := by.(namer); ok {
		return n.names(ctx)
	}
	return nil, unsupported("Artifact names are not supported for artifact types that '%s' account handles", account)
}

// Versions are those of one of them.
func (as *Accounts) Versions(ctx context.Context, account, kind, name string) ([]string, error) {
	by, err := as.fetcher(account, kind)
	if err != nil {
		return nil, err
	}
	if v, ok := by.(versioner); ok {
		return v.versions(ctx, name)
	}
	return nil, unsupported("Artifact versions are not supported for artifact types that '%s' account handles", account)
}

// fetcher is what an account fetches with, nil for one that is only listed.
func (as *Accounts) fetcher(name, kind string) (fetcher, error) {
	account, err := as.account(name, kind)
	if err != nil {
		return nil, err
	}
	if b, is := account.by.(bounded); is {
		return b.fetcher, nil
	}
	return account.by, nil
}
