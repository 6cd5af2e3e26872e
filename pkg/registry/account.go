package registry

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// Account is one registry with the credentials to read it. A value is not changed
// once it is in Accounts.
type Account struct {
	config.RegistryAccount
	// Registry is the address without its scheme: what references begin with.
	Registry string
	// Roles are those of the permissions, by authorization; never nil.
	Roles map[string][]string

	regex  *regexp.Regexp // nil for every repository
	client *client
}

// The defaults of Java Clouddriver (docker-registry.md 2).
const (
	defaultInterval = 30
	defaultThreads  = 1
	defaultTimeout  = 60_000
	defaultPage     = 100
)

// Bounds of what the settings may say.
const (
	mostThreads = 64
	mostPage    = 10_000
)

// NewAccount checks an account of the settings. The error names the key that is
// wrong. fence, which may be nil, says which addresses the registry itself must not
// have.
func NewAccount(c config.RegistryAccount, fence func(netip.Addr) error) (*Account, error) {
	const longest = 128
	switch {
	case c.Name == "":
		return nil, errors.New("name: must be given")
	case len(c.Name) > longest:
		return nil, fmt.Errorf("name: it has more than %d characters", longest)
	}
	base, err := addressOf(c.Address)
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	if err := exclusive(c); err != nil {
		return nil, err
	}
	for _, number := range []struct {
		key             string
		value           int64
		most, byDefault int64
		set             func(int64)
	}{
		{"cacheIntervalSeconds", c.CacheIntervalSeconds, int64(24 * time.Hour / time.Second), defaultInterval, func(n int64) { c.CacheIntervalSeconds = n }},
		{"cacheThreads", int64(c.CacheThreads), mostThreads, defaultThreads, func(n int64) { c.CacheThreads = int(n) }},
		{"clientTimeoutMillis", c.ClientTimeoutMillis, time.Hour.Milliseconds(), defaultTimeout, func(n int64) { c.ClientTimeoutMillis = n }},
		{"paginateSize", int64(c.PaginateSize), mostPage, defaultPage, func(n int64) { c.PaginateSize = int(n) }},
	} {
		switch {
		case number.value < 0 || number.value > number.most:
			return nil, fmt.Errorf("%s: %d is not between 0 and %d", number.key, number.value, number.most)
		case number.value == 0:
			number.set(number.byDefault)
		}
	}
	if c.Environment == "" {
		c.Environment = c.Name
	}
	if c.AccountType == "" {
		c.AccountType = c.Name
	}
	_, registry, _ := strings.Cut(base.String(), "://")
	c.Address = base.String()
	a := &Account{RegistryAccount: c, Registry: registry, Roles: map[string][]string{}}
	maps.Copy(a.Roles, account.NormalRoles(c.Permissions))
	if c.RepositoriesRegex != "" {
		if a.regex, err = regexp.Compile("^(?:" + c.RepositoriesRegex + ")$"); err != nil {
			return nil, fmt.Errorf("repositoriesRegex: %w", err)
		}
	}
	a.client, err = newClient(a, base, fence)
	return a, err
}

// addressOf reads an address as Java does: without a slash, or /v2, at its end.
func addressOf(text string) (*url.URL, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, errors.New("must be given")
	}
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(strings.TrimSuffix(strings.TrimSuffix(text, "/"), "/v2"))
	switch {
	case err != nil || u.Hostname() == "":
		return nil, errors.New("it is no address like https://registry.example.com")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%s is not spoken by registries, only http and https", u.Scheme)
	case u.User != nil:
		return nil, errors.New("it holds a user: set username and password")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("it has a query or a fragment")
	}
	return u, nil
}

// exclusive refuses keys that say the same thing twice.
func exclusive(c config.RegistryAccount) error {
	for _, of := range []struct {
		what string
		keys map[string]bool
	}{
		{"only one of them can say the password", map[string]bool{"password": c.Password != "", "passwordFile": c.PasswordFile != "", "passwordCommand": c.PasswordCommand != "", "dockerconfigFile": c.DockerconfigFile != ""}},
		{"only one of them can say which repositories there are", map[string]bool{"repositories": len(c.Repositories) > 0, "catalogFile": c.CatalogFile != "", "repositoriesRegex": c.RepositoriesRegex != ""}},
	} {
		var said []string
		for key, is := range of.keys {
			if is {
				said = append(said, key)
			}
		}
		if len(said) > 1 {
			slices.Sort(said)
			return fmt.Errorf("%s: %s", strings.Join(said, ", "), of.what)
		}
	}
	return nil
}

// OfThisMachine names a key that has a file read, or a program run, of this
// machine; "" for none.
func OfThisMachine(c config.RegistryAccount) string {
	for _, of := range []struct{ key, value string }{
		{"passwordFile", c.PasswordFile}, {"passwordCommand", c.PasswordCommand}, {"dockerconfigFile", c.DockerconfigFile}, {"catalogFile", c.CatalogFile},
	} {
		if of.value != "" {
			return of.key
		}
	}
	return ""
}

// ID is the account's name.
func (a *Account) ID() string { return a.Name }

func (a *Account) interval() time.Duration {
	return time.Duration(a.CacheIntervalSeconds) * time.Second
}

func (a *Account) timeout() time.Duration {
	return time.Duration(a.ClientTimeoutMillis) * time.Millisecond
}

// dated says that the images of tags are looked into.
func (a *Account) dated() bool { return a.InspectDigests || a.SortTagsByDate }

// ShowsDigests says that readers are shown the digests of tags.
func (a *Account) ShowsDigests() bool { return a.TrackDigests || a.InspectDigests }

// The sources of accounts. The first one wins.
const (
	FromDefinitions = "definitions"
	FromSettings    = "settings"
)

// Accounts is the live set of accounts.
type Accounts struct {
	*account.Set[*Account]
	log *slog.Logger
}

// NewAccounts makes an empty set.
func NewAccounts(log *slog.Logger) *Accounts {
	return &Accounts{account.NewSet[*Account](FromDefinitions, FromSettings), log}
}

// Configure takes over accounts of the settings file. One that cannot be used is left
// out, with its key in the log.
func (as *Accounts) Configure(settings []config.RegistryAccount) {
	var out []*Account
	for i, c := range settings {
		a, err := as.again(FromSettings, c, nil)
		if err != nil {
			as.log.Error("a registry cannot be used, and is left out", "key", fmt.Sprintf("dockerRegistry.accounts[%d]", i), "account", c.Name, "error", err)
			continue
		}
		out = append(out, a)
	}
	as.Replace(FromSettings, out)
}

// again is the account as it was where nothing has changed: it keeps its tokens.
func (as *Accounts) again(from string, c config.RegistryAccount, fence func(netip.Addr) error) (*Account, error) {
	made, err := NewAccount(c, fence)
	if err != nil {
		return nil, err
	}
	if before, ok := as.of(from, made.Name); ok && reflect.DeepEqual(before.RegistryAccount, made.RegistryAccount) {
		return before, nil
	}
	return made, nil
}

// of is an account of one source.
func (as *Accounts) of(from, name string) (*Account, bool) {
	part := as.Part(from)
	at := slices.IndexFunc(part, func(a *Account) bool { return a.Name == name })
	if at < 0 {
		return nil, false
	}
	return part[at], true
}
