package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/datapunchorg/go-clouddriver/pkg/service"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// migrateCommand is clouddriver migrate up|status|down.
func migrateCommand(std streams) *cobra.Command {
	parent := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the schema of the database up to date, or back",
		Long: `Bring the schema of the database up to date, or back. Serving does the first by
itself; the database is that of the settings (DB_HOST and so on, or DB_PATH).`,
		Args: noneOf,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	for _, step := range []struct {
		name, short string
		act         func(context.Context, *store.Store) error
	}{
		{"up", "Apply what is missing", func(ctx context.Context, s *store.Store) error { return s.Migrate(ctx) }},
		{"status", "Tell which version the schema has", func(context.Context, *store.Store) error { return nil }},
		{"down", "Take the last migration back", func(ctx context.Context, s *store.Store) error { return s.MigrateDown(ctx) }},
	} {
		c := &cobra.Command{Use: step.name, Short: step.short, Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
			settings, log, err := settingsOf(c, std)
			if err != nil {
				return err
			}
			s, err := service.OpenStore(c.Context(), settings, log)
			if err != nil {
				return err
			}
			defer s.Close()
			if err := step.act(c.Context(), s); err != nil {
				return err
			}
			return printSchema(c.Context(), s, std.out)
		}}
		addSettings(c)
		parent.AddCommand(c)
	}
	return parent
}

func printSchema(ctx context.Context, s *store.Store, out io.Writer) error {
	status, err := s.MigrationStatus(ctx)
	if err != nil {
		return err
	}
	state := ""
	if status.Interrupted {
		state = ", interrupted: it is repeated at the next start"
	}
	_, err = fmt.Fprintf(out, "schema version %d of %d%s\n", status.Version, status.Latest, state)
	return err
}
