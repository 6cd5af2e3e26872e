package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/service"
)

// migrateCommand is clouddriver migrate up|status|down.
func migrateCommand(ctx context.Context, args []string, c *config.Config, log *slog.Logger, out io.Writer) error {
	if len(args) != 1 {
		return errors.New("migrate: say one of up, status and down")
	}
	s, err := service.OpenStore(ctx, c, log)
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
