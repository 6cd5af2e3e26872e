package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/checkup"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/service"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

func accountCommand(std streams) *cobra.Command {
	parent := &cobra.Command{
		Use:   "account",
		Short: "List, check and import accounts",
		Args:  noneOf,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	parent.AddCommand(accountListCommand(std), accountCheckCommand(std), accountImportCommand(std))
	return parent
}

// accountsOf are the accounts of a command that has settings as flags.
func accountsOf(c *cobra.Command, std streams, names []string) ([]*account.Account, error) {
	settings, _, err := settingsOf(c, std)
	if err != nil {
		return nil, err
	}
	return withAccounts(c.Context(), settings, std, names)
}

// withAccounts reads the accounts that a service of the same settings would
// have. They are sorted by name; names limits them.
func withAccounts(ctx context.Context, c *config.Config, std streams, names []string) ([]*account.Account, error) {
	log := quietLog(std)
	db, note := openExisting(ctx, c, log)
	if note != "" {
		_, _ = fmt.Fprintln(std.err, "accounts of the database are left out:", note)
	}
	if db != nil {
		defer db.Close()
	}
	all, err := service.Accounts(ctx, c, db, log)
	if err != nil || len(names) == 0 {
		return all, err
	}
	byName := map[string]*account.Account{}
	for _, a := range all {
		byName[a.Name] = a
	}
	var out []*account.Account
	for _, name := range names {
		if byName[name] == nil {
			return nil, fmt.Errorf("there is no account %q; see clouddriver account list", name)
		}
		out = append(out, byName[name])
	}
	return out, nil
}

// openExisting opens the database to read from it. It makes no SQLite file, and
// does not wait for one that a service has.
func openExisting(ctx context.Context, c *config.Config, log *slog.Logger) (db *store.Store, note string) {
	if !c.Database.MySQL() {
		if _, err := os.Stat(c.Database.Path); err != nil {
			return nil, "" // there is none yet
		}
	}
	settings := *c
	settings.Database.LockWait = 0
	db, err := service.OpenStore(ctx, &settings, log)
	if err != nil {
		return nil, err.Error()
	}
	status, err := db.MigrationStatus(ctx)
	switch {
	case err != nil:
		note = err.Error()
	case status.Version > status.Latest:
		note = fmt.Sprintf("its schema has version %d, and this program knows %d: it is older than what runs there", status.Version, status.Latest)
	case status.Version != status.Latest:
		note = fmt.Sprintf("its schema has version %d of %d; clouddriver migrate up brings it up to date", status.Version, status.Latest)
	default:
		return db, ""
	}
	db.Close()
	return nil, note
}

func accountListCommand(std streams) *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "list",
		Short: "List the accounts of the settings and of the database",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			accounts, err := accountsOf(c, std, nil)
			if err != nil {
				return err
			}
			return printAccounts(std.out, accounts, format)
		},
	}
	addSettings(c)
	c.Flags().StringVarP(&format, "output", "o", "table", "table or json")
	return c
}

// listed is an account as account list shows it.
type listed struct {
	Name       string   `json:"name"`
	Server     string   `json:"server,omitempty"`
	From       string   `json:"from"`
	Namespaces []string `json:"namespaces,omitempty"`
	Selector   string   `json:"selector,omitempty"`
	Problem    string   `json:"problem,omitempty"`
}

func listedOf(a *account.Account) listed {
	out := listed{Name: a.Name, From: "settings", Namespaces: a.Namespaces, Selector: a.LabelSelector}
	if a.FromProviders {
		out.From = "database"
	}
	if a.REST != nil {
		out.Server = a.REST.Host
	}
	if a.Invalid != nil {
		out.Problem = a.Invalid.Error()
	}
	return out
}

func printAccounts(out io.Writer, accounts []*account.Account, format string) error {
	rows := make([]listed, 0, len(accounts))
	for _, a := range accounts {
		rows = append(rows, listedOf(a))
	}
	if format == "json" {
		return printJSON(out, rows)
	}
	lines := [][]string{{"ACCOUNT", "SERVER", "FROM", "NAMESPACES", "WATCHES", "PROBLEM"}}
	for _, r := range rows {
		lines = append(lines, []string{r.Name, r.Server, r.From, orText(strings.Join(r.Namespaces, ","), "all"), orText(r.Selector, "everything"), r.Problem})
	}
	return printTable(out, lines)
}

func orText(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func printTable(out io.Writer, lines [][]string) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, line := range lines {
		if _, err := fmt.Fprintln(t, strings.TrimRight(strings.Join(line, "\t"), "\t")); err != nil {
			return err
		}
	}
	return t.Flush()
}

func accountCheckCommand(std streams) *cobra.Command {
	var format string
	var within time.Duration
	c := &cobra.Command{
		Use:   "check [account ...]",
		Short: "Ask each account's cluster who we are and what may be watched",
		Long: `Ask each account's cluster for its version, who we are to it, which kinds may be
watched and which not and why, how far its clock is off, and how long a small
request takes. The exit code is 1 when there is something to do.`,
		RunE: func(c *cobra.Command, names []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			accounts, err := accountsOf(c, std, names)
			if err != nil {
				return err
			}
			rows := checked(c.Context(), accounts, within, std)
			if err := printChecked(std.out, rows, format); err != nil {
				return err
			}
			for _, row := range rows {
				if !row.OK() {
					return found
				}
			}
			return nil
		},
	}
	addSettings(c)
	c.Flags().DurationVar(&within, "timeout", 10*time.Second, "how long one account may take")
	c.Flags().StringVarP(&format, "output", "o", "table", "table or json")
	return c
}

func checked(ctx context.Context, accounts []*account.Account, within time.Duration, std streams) []checkup.Account {
	bar := newProgress(std.err, "accounts")
	defer bar.end()
	return checkup.Accounts(ctx, accounts, within, func(ready int) { bar.at(ready, len(accounts)) })
}

func printChecked(out io.Writer, rows []checkup.Account, format string) error {
	if format == "json" {
		return printJSON(out, rows)
	}
	lines := [][]string{{"ACCOUNT", "REACHABLE", "VERSION", "WHO AM I", "WATCHED", "NOT WATCHED", "SKEW", "LATENCY"}}
	for _, r := range rows {
		reachable := "no"
		if r.Reachable {
			reachable = "yes"
		}
		lines = append(lines, []string{
			r.Name, reachable, orText(r.Version, "-"), orText(r.User, "-"), strconv.Itoa(len(r.Watched)), strconv.Itoa(len(r.Denied)),
			(time.Duration(r.SkewMs) * time.Millisecond).String(), fmt.Sprintf("%.1f ms", r.LatencyMs),
		})
	}
	if err := printTable(out, lines); err != nil {
		return err
	}
	for _, r := range rows {
		if err := printTrouble(out, r); err != nil {
			return err
		}
	}
	return nil
}

// printTrouble tells what is wrong with an account and what to do.
func printTrouble(out io.Writer, r checkup.Account) error {
	if r.OK() {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s\n", r.Name)
	if r.Problem != "" {
		fmt.Fprintf(&b, "  %s\n", r.Problem)
	}
	for _, d := range r.Denied {
		fmt.Fprintf(&b, "  %s: %s\n", strings.TrimSpace(d.Kind+" "+d.Namespace), d.Why)
	}
	if r.Advice != "" {
		fmt.Fprintf(&b, "  → %s\n", r.Advice)
	}
	_, err := io.WriteString(out, b.String())
	return err
}
