package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/checkup"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

func accountImportCommand(std streams) *cobra.Command {
	o := checkup.ImportOptions{}
	c := &cobra.Command{
		Use:   "import [account ...]",
		Short: "Put accounts of a kubeconfig or settings file into a running service's database",
		Long: `Put accounts of KUBECONFIG, or of kubernetes.accounts of the settings file, into
the database of a running service, by its provider API. The table tells of each
what becomes of it. An account that the database cannot hold as it is (client
certificates, credential plugins, lists of kinds) stays where it is, and is named.
Accounts of a file win over those of the database: take them out of it afterwards.
A service on another machine wants its admin.token (CLOUDDRIVER_ADMIN_TOKEN).`,
		Example: `  clouddriver account import --dry-run
  clouddriver account import prod-1 prod-2 --to http://spin-clouddriver:7002`,
		RunE: func(c *cobra.Command, names []string) error {
			settings, _, err := settingsOf(c, std)
			if err != nil {
				return err
			}
			if o.Token, err = adminToken(settings.Admin); err != nil {
				return err
			}
			accounts, err := withAccounts(c.Context(), settings, std, names)
			if err != nil {
				return err
			}
			accounts = slices.DeleteFunc(accounts, func(a *account.Account) bool { return a.FromProviders })
			return importAll(c.Context(), accounts, o, std)
		},
	}
	addSettings(c)
	f := c.Flags()
	f.StringVar(&o.To, "to", "http://localhost:7002", "address of the running service")
	f.BoolVar(&o.DryRun, "dry-run", false, "only tell what would be done")
	f.BoolVar(&o.Replace, "replace", false, "replace accounts that are there")
	f.DurationVar(&o.Timeout, "timeout", 30*time.Second, "deadline of one account")
	return c
}

// adminToken is the token of the provider API that the settings have, "" for none.
func adminToken(c config.Admin) (string, error) {
	if c.Token != "" || c.TokenFile == "" {
		return c.Token, nil
	}
	content, err := os.ReadFile(c.TokenFile)
	if err != nil {
		return "", fmt.Errorf("admin.tokenFile: %w", err)
	}
	return strings.TrimSpace(string(content)), nil
}

func importAll(ctx context.Context, accounts []*account.Account, o checkup.ImportOptions, std streams) error {
	bar := newProgress(std.err, "accounts")
	lines := [][]string{{"ACCOUNT", "RESULT", "WHY"}}
	var end error
	for i, a := range accounts {
		result := checkup.Import(ctx, a, o)
		lines = append(lines, []string{a.Name, string(result.Outcome), result.Why})
		if result.Outcome == checkup.Failed {
			end = found
		}
		if result.Outcome == checkup.Skipped && end == nil {
			end = unsure
		}
		bar.at(i+1, len(accounts))
	}
	bar.end()
	if err := printTable(std.out, lines); err != nil {
		return err
	}
	if len(accounts) == 0 {
		return fmt.Errorf("there is no account to import: set KUBECONFIG or --config")
	}
	return end
}
