package service

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// settingsEvery is how often the settings files are looked at.
const settingsEvery = 5 * time.Second

// followSettings takes over accounts of the settings files that have changed.
// Files that cannot be read, or hold a mistake, change nothing.
func (s *Service) followSettings(ctx context.Context) error {
	if s.again == nil || len(watched(s.settings)) == 0 {
		return nil
	}
	tick := time.NewTicker(settingsEvery)
	defer tick.Stop()
	seen, current, failed := contentOf(watched(s.settings)), s.settings, ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := contentOf(watched(current))
		if now == seen {
			continue
		}
		changed, err := s.again()
		if err != nil {
			if failed != now { // it is tried again: a secret may be there by then
				s.log.Error("accounts stay as they were: the settings cannot be used", "error", err)
			}
			failed = now
			continue
		}
		seen, failed = now, ""
		if !reflect.DeepEqual(current.Kubernetes.Accounts, changed.Kubernetes.Accounts) {
			s.kubeconfig.SetAccounts(changed.Kubernetes.Accounts)
		}
		if !reflect.DeepEqual(current.Registries.Accounts, changed.Registries.Accounts) {
			s.registries.Configure(changed.Registries.Accounts)
		}
		if changed.Artifacts.CredentialsDir != "" || !reflect.DeepEqual(current.Artifacts, changed.Artifacts) || !reflect.DeepEqual(current.Jenkins, changed.Jenkins) {
			if err := s.artifacts.Set(changed.Artifacts, changed.Jenkins); err != nil {
				s.log.Error("artifact accounts stay as they were", "error", err)
			}
		}
		if !reflect.DeepEqual(others(current), others(changed)) {
			s.log.Warn("settings have changed that take effect at the next start only; accounts are taken over at once")
		}
		current = changed
	}
}

// watched are the files whose change is one of accounts.
func watched(c *config.Config) []string {
	out := slices.Clone(c.Files)
	entries, err := os.ReadDir(c.Artifacts.CredentialsDir)
	if c.Artifacts.CredentialsDir == "" || err != nil {
		return out
	}
	for _, entry := range entries {
		out = append(out, filepath.Join(c.Artifacts.CredentialsDir, entry.Name()))
	}
	return out
}

// others are the settings but for their accounts.
func others(c *config.Config) config.Config {
	out := *c
	out.Registries.Accounts = nil
	out.Kubernetes.Accounts, out.Files, out.Ignored = nil, nil, nil
	out.Artifacts, out.Jenkins = config.Artifacts{MaxFetches: c.Artifacts.MaxFetches, CacheBytes: c.Artifacts.CacheBytes}, config.Jenkins{}
	return out
}

func contentOf(files []string) string {
	sum := sha256.New()
	for _, path := range files {
		content, err := os.ReadFile(path) //nolint:gosec // the operator's own files
		if err != nil {
			content = []byte(err.Error())
		}
		_, _ = sum.Write(content) // a hash takes everything
		_, _ = sum.Write([]byte{0})
	}
	return hex.EncodeToString(sum.Sum(nil))
}
