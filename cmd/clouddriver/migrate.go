package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// openStore connects to the database of the settings.
func openStore(ctx context.Context, c *config.Config, log *slog.Logger) (*store.Store, error) {
	d := c.Database
	o := store.Options{
		Path: d.Path, Timeout: d.Timeout, MigrationTimeout: d.MigrationTimeout,
		MaxOpen: d.MaxOpen, MaxIdle: d.MaxIdle, Lifetime: d.ConnLifetime, Log: log,
	}
	switch {
	case d.MySQL():
		o.MySQL = &store.MySQL{
			Host: d.Host, Port: d.Port, Name: d.Name, User: d.User, Password: d.Password,
			TLS: d.TLS, TLSCA: d.TLSCA, ConnectTimeout: d.ConnectTimeout,
		}
	case d.Host != "":
		log.Warn("DB_HOST is set but one of DB_NAME, DB_USER and DB_PASS is not: SQLite is used", "path", d.Path)
	}
	return store.Open(ctx, o)
}

// migrateCommand is clouddriver migrate up|status|down.
func migrateCommand(ctx context.Context, args []string, c *config.Config, log *slog.Logger, out io.Writer) error {
	if len(args) != 1 {
		return errors.New("migrate: say one of up, status and down")
	}
	s, err := openStore(ctx, c, log)
	if err != nil {
		return err
	}
	defer s.Close()
	switch args[0] {
	case "up":
		err = s.Migrate(ctx)
	case "down":
		err = s.MigrateDown(ctx)
	case "status":
	default:
		return fmt.Errorf("migrate: %q is none of up, status and down", args[0])
	}
	if err != nil {
		return err
	}
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
