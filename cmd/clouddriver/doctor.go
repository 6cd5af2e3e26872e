package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/datapunchorg/go-clouddriver/pkg/checkup"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

func doctorCommand(std streams) *cobra.Command {
	var format string
	var within time.Duration
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Make the checks that an operator would make first",
		Long: `Make the checks that an operator would make before a start, or when something is
wrong: settings, database, folders, limits, the services beside this one, and every
account. Nothing is changed. The exit code is 1 when something keeps the service
from its work.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			settings, err := config.Load(c.Flags(), os.Getenv)
			findings := []checkup.Finding{{Check: "settings", Verdict: checkup.Fine, Seen: "they can be read and make sense"}}
			if err != nil {
				findings[0] = checkup.Finding{Check: "settings", Verdict: checkup.Wrong, Seen: err.Error(), Advice: "correct what is named; docs/settings.md lists all keys"}
			} else {
				findings = append(findings, examined(c.Context(), settings, within, std)...)
			}
			return printFindings(findings, format, std)
		},
	}
	addSettings(c)
	c.Flags().DurationVar(&within, "timeout", 10*time.Second, "how long one service or account may take")
	c.Flags().StringVarP(&format, "output", "o", "table", "table or json")
	return c
}

func examined(ctx context.Context, c *config.Config, within time.Duration, std streams) []checkup.Finding {
	out := []checkup.Finding{database(ctx, c, quietLog(std))}
	if c.Server.SSL.Enabled {
		out = append(out, checkup.KeyPair(c.Server.SSL.Certificate, c.Server.SSL.PrivateKey))
	}
	if c.Kubernetes.UseDiskCache {
		out = append(out, checkup.Folder("discovery cache", c.Kubernetes.DiskCache, "what clusters serve (kubernetes.diskCache)"))
	}
	out = append(out,
		checkup.Address(ctx, "Front50", c.Services.Front50.URL, "/health", within, checkup.Doubt),
		checkup.Address(ctx, "Arcade", c.Services.Arcade.URL, "/health", within, checkup.Doubt),
		checkup.Address(ctx, "fallback", c.Fallback.URL, "/health", within, checkup.Doubt),
	)
	accounts, err := withAccounts(ctx, c, streams{out: std.out, err: std.err}, nil)
	if err != nil {
		return append(out, checkup.Finding{Check: "accounts", Verdict: checkup.Wrong, Seen: err.Error(), Advice: "correct the kubeconfig or the entry that is named"})
	}
	out = append(out, checkup.Files(len(accounts)))
	return append(out, checkup.Of(checked(ctx, accounts, within, std))...)
}

// database looks at the schema, or at the folder in which SQLite would make the
// file.
func database(ctx context.Context, c *config.Config, log *slog.Logger) checkup.Finding {
	out := checkup.Finding{Check: "database"}
	db, note := openExisting(ctx, c, log)
	if db != nil {
		db.Close()
	}
	switch {
	case c.Database.Host != "" && !c.Database.MySQL():
		out.Verdict, out.Seen = checkup.Wrong, "DB_HOST is set, and one of DB_NAME, DB_USER and DB_PASS is not, so that SQLite would be used"
		out.Advice = "set all four for MySQL, or none"
	case db != nil:
		out.Verdict, out.Seen = checkup.Fine, "it answers, and its schema is up to date"
	case note != "" && c.Database.MySQL():
		out.Verdict, out.Seen, out.Advice = checkup.Wrong, note, "look at DB_HOST, DB_USER, DB_PASS and DB_TLS, and whether MySQL runs there; a schema that is behind is brought up to date by the next start"
	case note != "":
		out.Verdict, out.Seen, out.Advice = checkup.Doubt, note, "a service that runs holds its SQLite file; else look at database.path"
	default:
		return checkup.Folder("database", filepath.Dir(c.Database.Path), "the SQLite database (DB_PATH)")
	}
	return out
}

func printFindings(findings []checkup.Finding, format string, std streams) error {
	if format == "json" {
		if err := printJSON(std.out, findings); err != nil {
			return err
		}
	} else {
		lines := [][]string{{"CHECK", "VERDICT", "SEEN"}}
		for _, f := range findings {
			lines = append(lines, []string{f.Check, string(f.Verdict), f.Seen})
			if f.Advice != "" {
				lines = append(lines, []string{"", "", "→ " + f.Advice})
			}
		}
		if err := printTable(std.out, lines); err != nil {
			return err
		}
	}
	for _, f := range findings {
		if f.Verdict == checkup.Wrong {
			return found
		}
	}
	return nil
}

// quietLog is for commands whose result is a table: it tells of mistakes only.
func quietLog(std streams) *slog.Logger {
	return slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: slog.LevelError}))
}
