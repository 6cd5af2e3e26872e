package account

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// SourceKubeconfig is the Kubeconfig source's name in the registry.
const SourceKubeconfig = "kubeconfig"

// Kubeconfig is the source of accounts that are described by files: the
// entries of kubernetes.accounts or, when there are none, every context of
// the kubeconfig. The files are watched.
type Kubeconfig struct {
	registry *Registry
	log      *slog.Logger

	mu       sync.Mutex // one look at a time
	settings config.Kubernetes
	content  map[string][]byte
}

// NewKubeconfig makes the source.
func NewKubeconfig(settings config.Kubernetes, registry *Registry, log *slog.Logger) *Kubeconfig {
	return &Kubeconfig{settings: settings, registry: registry, log: log}
}

// Load reads the files once and fills the registry. The error names every
// account that could not be made; the others are there.
func (k *Kubeconfig) Load() error {
	k.content = k.read()
	accounts, err := k.accounts()
	if len(accounts) > 0 || err == nil {
		k.registry.Replace(SourceKubeconfig, accounts)
	}
	return err
}

// pollEvery is the fallback for file systems without notifications; it also
// bounds how long an event that was missed goes unnoticed.
const pollEvery = 5 * time.Second

// Run follows the files until the context is over. A file that became
// unreadable or broken leaves the accounts as they were.
func (k *Kubeconfig) Run(ctx context.Context) error {
	events := make(chan fsnotify.Event)
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		k.log.Warn("kubeconfig files are polled, since notifications are not to be had", "error", err)
	} else {
		defer func() { _ = watcher.Close() }()
		events = watcher.Events
		for _, path := range k.files() {
			// Editors and mounted Secrets replace files, so the folder is watched.
			if err := watcher.Add(filepath.Dir(path)); err != nil {
				k.log.Debug("folder is polled instead of watched", "folder", filepath.Dir(path), "error", err)
			}
		}
	}
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-events:
		case <-poll.C:
		}
		k.mu.Lock()
		k.reload(false)
		k.mu.Unlock()
	}
}

// reload looks at the files, and makes the accounts anew if they have changed, or
// the settings have. The lock is held.
func (k *Kubeconfig) reload(changed bool) {
	before, now := k.content, k.read()
	if !changed && len(before) == len(now) {
		same := true
		for path, content := range now {
			same = same && bytes.Equal(before[path], content)
		}
		if same {
			return
		}
	}
	for path, content := range now {
		if len(bytes.TrimSpace(content)) == 0 && len(bytes.TrimSpace(before[path])) > 0 {
			return // it is being written: an empty file would take every account away
		}
	}
	k.content = now
	accounts, err := k.accounts()
	if err != nil {
		// A file is often seen half written: keep what works.
		k.log.Error("accounts stay as they were: a kubeconfig cannot be used", "error", err)
		return
	}
	k.log.Info("accounts of the files have changed", "accounts", len(accounts))
	k.registry.Replace(SourceKubeconfig, accounts)
}

func (k *Kubeconfig) files() []string {
	files := filepath.SplitList(k.settings.Kubeconfig)
	for _, entry := range k.settings.Accounts {
		if entry.KubeconfigFile != "" {
			files = append(files, entry.KubeconfigFile)
		}
	}
	slices.Sort(files)
	return slices.Compact(files)
}

func (k *Kubeconfig) read() map[string][]byte {
	out := map[string][]byte{}
	for _, path := range k.files() {
		if content, err := os.ReadFile(path); err == nil { //nolint:gosec // the operator's own files
			out[path] = content
		}
	}
	return out
}

func (k *Kubeconfig) accounts() ([]*Account, error) {
	var accounts []*Account
	var errs []error
	if len(k.settings.Accounts) > 0 {
		for _, entry := range k.settings.Accounts {
			a, err := k.FromEntry(entry)
			if err != nil {
				errs = append(errs, fmt.Errorf("account %s: %w", entry.Name, err))
				continue
			}
			accounts = append(accounts, a)
		}
		return accounts, errors.Join(errs...)
	}
	if k.settings.Kubeconfig == "" {
		return nil, nil
	}
	raw, err := loadFiles(filepath.SplitList(k.settings.Kubeconfig))
	if err != nil {
		return nil, err
	}
	for name := range raw.Contexts {
		c, err := restConfig(raw, name)
		if err != nil {
			errs = append(errs, fmt.Errorf("kubeconfig context %q: %w", name, err))
			continue
		}
		a := &Account{Name: name, Environment: name, AccountType: name, CacheThreads: 1, REST: c, ContextNamespace: raw.Contexts[name].Namespace, DeriveNames: k.settings.WatchAll, Metrics: true, Held: heldOf(k.settings.Cache)}
		if !k.settings.WatchAll {
			a.LabelSelector = spinnaker.ManagedSelectorFor(k.settings.V2.ManagedBySuffix)
		}
		accounts = append(accounts, a)
	}
	slices.SortFunc(accounts, func(a, b *Account) int { return cmp.Compare(a.Name, b.Name) })
	return accounts, errors.Join(errs...)
}

func heldOf(c config.KubernetesCache) Held {
	return Held{All: c.CacheAll, Kinds: c.CacheKinds, Omit: c.CacheOmitKinds}
}

// SetAccounts goes on with other entries of the settings file.
func (k *Kubeconfig) SetAccounts(entries []config.Account) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.settings.Accounts = entries
	k.reload(true)
}

// FromEntry makes the account of one entry. Entries come from Java
// Clouddriver's file and keep its default: without onlySpinnakerManaged they
// watch everything.
func (k *Kubeconfig) FromEntry(e config.Account) (*Account, error) {
	c, namespace, err := k.restFor(e)
	if err != nil {
		return nil, err
	}
	a := &Account{
		Name: e.Name, Environment: cmp.Or(e.Environment, e.Name), AccountType: cmp.Or(e.AccountType, e.Name),
		Permissions: NormalRoles(e.Permissions), RequiredGroupMembership: e.RequiredGroupMembership,
		CacheThreads: cmp.Or(e.CacheThreads, 1), CacheIntervalSeconds: e.CacheIntervalSeconds,
		Namespaces: e.Namespaces, OmitNamespaces: e.OmitNamespaces, Kinds: e.Kinds, OmitKinds: e.OmitKinds,
		LabelSelector: e.LabelSelector, DeriveNames: true, REST: c, ContextNamespace: namespace,
		Metrics: e.Metrics == nil || *e.Metrics, AllRelationships: e.CacheAllApplicationRelationships, Held: heldOf(k.settings.Cache),
		CustomResources: map[string]spinnaker.Class{}, VersionedKinds: map[string]bool{}, DeployPriorities: map[string]int{},
	}
	if e.OnlySpinnakerManaged != nil && *e.OnlySpinnakerManaged {
		a.DeriveNames = false
		a.LabelSelector = cmp.Or(e.LabelSelector, spinnaker.ManagedSelectorFor(k.settings.V2.ManagedBySuffix))
	}
	for list, expressions := range map[*[]*regexp.Regexp][]string{&a.RawKinds: e.RawResources.KindExpressions, &a.RawOmitKinds: e.RawResources.OmitKindExpressions} {
		for _, text := range expressions {
			e, err := regexp.Compile("^(?:" + text + ")$")
			if err != nil {
				return nil, fmt.Errorf("rawResourcesEndpointConfig: %w", err)
			}
			*list = append(*list, e)
		}
	}
	for _, r := range e.CustomResources {
		a.CustomResources[r.KubernetesKind] = cmp.Or(r.SpinnakerKind, spinnaker.Unclassified)
		a.VersionedKinds[r.KubernetesKind] = r.Versioned
		a.DeployPriorities[r.KubernetesKind] = r.Priority()
	}
	return a, nil
}

func (k *Kubeconfig) restFor(e config.Account) (_ *rest.Config, namespace string, _ error) {
	files := filepath.SplitList(k.settings.Kubeconfig)
	switch {
	case e.KubeconfigFile != "":
		files = []string{e.KubeconfigFile}
	case e.KubeconfigContents != "":
		raw, err := clientcmd.Load([]byte(e.KubeconfigContents))
		if err != nil {
			return nil, "", fmt.Errorf("kubeconfigContents: %w", err)
		}
		return inContext(raw, cmp.Or(e.Context, raw.CurrentContext))
	case e.ServiceAccount || len(files) == 0:
		c, err := rest.InClusterConfig()
		if err != nil {
			return nil, "", fmt.Errorf("in-cluster credentials: %w (set kubeconfigFile to use a kubeconfig)", err)
		}
		return c, "", nil
	}
	raw, err := loadFiles(files)
	if err != nil {
		return nil, "", err
	}
	return inContext(raw, cmp.Or(e.Context, raw.CurrentContext))
}

func inContext(raw *clientcmdapi.Config, contextName string) (*rest.Config, string, error) {
	c, err := restConfig(raw, contextName)
	if err != nil {
		return nil, "", err
	}
	return c, raw.Contexts[contextName].Namespace, nil
}

func loadFiles(files []string) (*clientcmdapi.Config, error) {
	for _, path := range files {
		if _, err := os.Stat(path); err != nil && len(files) == 1 {
			return nil, fmt.Errorf("read kubeconfig: %w", err)
		}
	}
	rules := &clientcmd.ClientConfigLoadingRules{Precedence: files}
	raw, err := rules.Load()
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	return raw, nil
}

func restConfig(raw *clientcmdapi.Config, contextName string) (*rest.Config, error) {
	if _, ok := raw.Contexts[contextName]; !ok {
		return nil, fmt.Errorf("context %q is not in the kubeconfig", contextName)
	}
	c, err := clientcmd.NewNonInteractiveClientConfig(*raw, contextName, &clientcmd.ConfigOverrides{}, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("use context %q: %w", contextName, err)
	}
	return c, nil
}
