package account

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/secret"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// SourceDefinitions is the Definitions source's name in the registry.
const SourceDefinitions = "definitions"

// KindKubernetes is the type of the definitions that become accounts here.
const KindKubernetes = "kubernetes"

// DefinitionDatabase is what Definitions need of a store.Store.
type DefinitionDatabase interface {
	Definitions(ctx context.Context, kind, from string, most int) ([]store.Definition, error)
	Definition(ctx context.Context, name string) (store.Definition, error)
	SaveDefinition(ctx context.Context, d store.Definition, how store.Saving, by string) error
	DeleteDefinition(ctx context.Context, name string) error
	DefinitionHistory(ctx context.Context, name string) ([]store.DefinitionVersion, error)
	DefinitionsVersion(ctx context.Context) (string, error)
}

// Definitions is the source of accounts that are managed by /credentials and kept
// in Java Clouddriver's tables (accounts.md 2). Every replica follows them.
type Definitions struct {
	DefinitionDatabase
	registry *Registry
	make     func(config.Account) (*Account, error)
	resolve  func(context.Context, string) (string, error)
	fence    *Fence
	trust    Trust
	log      *slog.Logger
	// kinds are those of other providers, by type.
	kinds map[string]Kind

	follower
	// Guarded by the follower's lock:
	failed map[string]string // why a definition is not loaded, as it was logged
	made   map[string]madeOf
	loaded time.Time
}

// madeOf is an account and the definition that it was made of.
type madeOf struct {
	body    string
	account *Account
}

// Kind takes definitions of another provider, which are no accounts of clusters.
type Kind interface {
	// Check says what is wrong with a definition before it is kept.
	Check(row store.Definition) error
	// Take has all of them, and says which cannot be used.
	Take(ctx context.Context, rows []store.Definition) map[string]error
}

// Also has definitions of a type taken by somebody else. It must be called before
// the first load.
func (d *Definitions) Also(kind string, by Kind) { d.kinds[kind] = by }

// Kinds are the types of definitions that are taken.
func (d *Definitions) Kinds() []string {
	return append([]string{KindKubernetes}, slices.Sorted(maps.Keys(d.kinds))...)
}

// Trust is what definitions may use beside what is in them.
type Trust struct {
	// Plugins are programs and files of this machine, and InCluster is its own
	// identity in the cluster that it runs in.
	Plugins, InCluster bool
}

// NewDefinitions makes the source. make is how an account of the settings file is
// made, and resolve how its secrets are.
func NewDefinitions(db DefinitionDatabase, registry *Registry, makeAccount func(config.Account) (*Account, error), resolve func(context.Context, string) (string, error), fence *Fence, trust Trust, poll time.Duration, log *slog.Logger) *Definitions {
	d := &Definitions{DefinitionDatabase: db, registry: registry, make: makeAccount, resolve: resolve, fence: fence, trust: trust, log: log, kinds: map[string]Kind{}}
	d.follower = follower{asked: db.DefinitionsVersion, read: d.read, due: d.due, poll: poll, log: log}
	return d
}

const (
	// definitionsPage is how many rows are read at once, and mostDefinitions how
	// many become accounts.
	definitionsPage = 500
	mostDefinitions = 10_000
	// retryEvery is how often all are made again: a secret may be there by then,
	// or another.
	retryEvery = 30 * time.Second
)

// each goes through the definitions of a type.
func (d *Definitions) each(ctx context.Context, kind string, take func(store.Definition)) error {
	from := ""
	for taken := 0; taken < mostDefinitions; {
		page, err := d.Definitions(ctx, kind, from, definitionsPage)
		if err != nil {
			return err
		}
		for _, row := range page {
			if row.Name == from {
				continue // the page begins with the last one of the page before
			}
			taken++
			take(row)
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		if len(page) < definitionsPage {
			break
		}
		from = page[len(page)-1].Name
	}
	return nil
}

// read takes all definitions over. One that cannot be loaded harms no other: it is
// named in the log, and tried again.
func (d *Definitions) read(ctx context.Context) error {
	var accounts []*Account
	failed, made := map[string]string{}, map[string]madeOf{}
	err := d.each(ctx, KindKubernetes, func(row store.Definition) {
		a, err := d.Account(ctx, row)
		if err != nil {
			failed[row.Name] = err.Error()
			// A secret that cannot be read for a moment takes no account away.
			before, ok := d.made[row.Name]
			if !ok || before.body != row.Body {
				return
			}
			a = before.account
		}
		accounts, made[row.Name] = append(accounts, a), madeOf{row.Body, a}
	})
	if err != nil {
		return err
	}
	for kind, by := range d.kinds {
		var rows []store.Definition
		if err := d.each(ctx, kind, func(row store.Definition) { rows = append(rows, row) }); err != nil {
			return err
		}
		for name, why := range by.Take(ctx, rows) {
			failed[name] = why.Error()
		}
	}
	for name, why := range failed {
		if d.failed[name] != why {
			d.log.Error("an account definition cannot be loaded; it is tried again", "account", name, "error", why)
		}
	}
	d.failed, d.made, d.loaded = failed, made, time.Now()
	d.registry.Replace(SourceDefinitions, accounts)
	return nil
}

// due says that it is time to try those again that could not be loaded.
func (d *Definitions) due() bool {
	return len(d.failed) > 0 && time.Since(d.loaded) >= retryEvery
}

// Account makes the account of a definition.
func (d *Definitions) Account(ctx context.Context, row store.Definition) (*Account, error) {
	entry, err := Parse(row)
	if err != nil {
		return nil, err
	}
	if err := d.source(entry); err != nil {
		return nil, err
	}
	if entry.KubeconfigContents, err = d.resolve(ctx, entry.KubeconfigContents); err != nil {
		return nil, fmt.Errorf("kubeconfigContents: %w", err)
	}
	if err := d.contents(entry); err != nil {
		return nil, err
	}
	a, err := d.make(entry)
	if err != nil {
		return nil, err
	}
	if entry.KubeconfigContents != "" {
		if err := d.fence.Check(a.REST.Host); err != nil {
			return nil, fmt.Errorf("kubeconfigContents: %w", err)
		}
		d.fence.Guard(a.REST)
	}
	return a, nil
}

// source refuses what would make an account of something that whoever has written
// the definition need not be allowed to use: files of this machine, its own
// identity, and its own kubeconfig.
func (d *Definitions) source(entry config.Account) error {
	pods := entry.ServiceAccount && d.trust.InCluster
	switch {
	case entry.KubeconfigFile != "" && entry.KubeconfigContents != "":
		return errors.New("kubeconfigFile: only one of it and kubeconfigContents can be given")
	case secret.Is(entry.KubeconfigFile), secret.Is(entry.Context):
		return errors.New("kubeconfigFile, context: they cannot be secrets; put the reference into kubeconfigContents")
	case entry.KubeconfigFile != "" && !d.trust.Plugins:
		return errors.New("kubeconfigFile: definitions may not name files of this machine, unless account.storage.allowPlugins is set; put the kubeconfig into kubeconfigContents, as a secret reference for example")
	case entry.KubeconfigFile == "" && entry.KubeconfigContents == "" && !pods:
		return errors.New("kubeconfigContents: must be given, or serviceAccount where accounts.allowInCluster is set")
	case entry.KubeconfigContents != "" && entry.ServiceAccount:
		return errors.New("serviceAccount: only one of it and kubeconfigContents can be given")
	}
	return nil
}

// contents refuses what a kubeconfig may not do that came over the network: run
// programs, and read files.
func (d *Definitions) contents(entry config.Account) error {
	if d.trust.Plugins || entry.KubeconfigContents == "" {
		return nil
	}
	raw, err := clientcmd.Load([]byte(entry.KubeconfigContents))
	if err != nil {
		return errors.New("kubeconfigContents: it is no kubeconfig") // the parser quotes what it cannot read
	}
	for name, user := range raw.AuthInfos {
		if user.Exec != nil || user.AuthProvider != nil {
			return fmt.Errorf("kubeconfigContents: user %s runs a credential plugin; put it into a kubeconfigFile, or set account.storage.allowPlugins", name)
		}
		if user.TokenFile != "" || user.ClientCertificate != "" || user.ClientKey != "" {
			return fmt.Errorf("kubeconfigContents: user %s names files of this machine; put the data in, or set account.storage.allowPlugins", name)
		}
	}
	for name, cluster := range raw.Clusters {
		if cluster.ProxyURL != "" {
			return fmt.Errorf("kubeconfigContents: cluster %s names a proxy, which is not allowed, unless account.storage.allowPlugins is set", name)
		}
		if cluster.CertificateAuthority != "" {
			return fmt.Errorf("kubeconfigContents: cluster %s names a file of this machine; put the data in, or set account.storage.allowPlugins", name)
		}
	}
	return nil
}

// definitionName is what Deck lets accounts be called.
var definitionName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,255}$`)

// Values are the members of a definition. The error names the field.
func Values(row store.Definition) (map[string]any, error) {
	var values map[string]any
	if err := json.Unmarshal([]byte(row.Body), &values); err != nil || values == nil {
		return nil, errors.New("the definition is no JSON object")
	}
	if !definitionName.MatchString(row.Name) {
		return nil, errors.New("name: only letters, digits, dots, dashes and underscores, at most 255")
	}
	if values["name"] != row.Name {
		return nil, errors.New("name: it is not that of the row")
	}
	return values, nil
}

// Parse reads a definition of a cluster. The error names the field.
func Parse(row store.Definition) (config.Account, error) {
	values, err := Values(row)
	if err != nil {
		return config.Account{}, err
	}
	return config.ParseAccount(values)
}

// Check says what is wrong with a definition before it is kept. Secrets are not
// looked for: they may come later.
func (d *Definitions) Check(row store.Definition) error {
	if by, ok := d.kinds[row.Type]; ok {
		return by.Check(row)
	}
	entry, err := Parse(row)
	if err != nil {
		return err
	}
	if err := d.source(entry); err != nil {
		return err
	}
	return d.contents(config.Account{KubeconfigContents: literal(entry.KubeconfigContents)})
}

// literal is a text that is no reference to a secret.
func literal(text string) string {
	if secret.Is(text) {
		return ""
	}
	return text
}

// Save keeps a definition that has been checked, and shows the account at once.
func (d *Definitions) Save(ctx context.Context, row store.Definition, how store.Saving, by string) error {
	if err := d.SaveDefinition(ctx, row, how, by); err != nil {
		return err
	}
	d.written(ctx)
	return nil
}

// Delete removes one; store.ErrNotFound.
func (d *Definitions) Delete(ctx context.Context, name string) error {
	if err := d.DeleteDefinition(ctx, name); err != nil {
		return err
	}
	d.written(ctx)
	return nil
}
