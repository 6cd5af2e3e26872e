package service

import (
	"context"
	"log/slog"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// OpenStore connects to the database of the settings.
func OpenStore(ctx context.Context, c *config.Config, log *slog.Logger) (*store.Store, error) {
	d := c.Database
	o := store.Options{
		Path: d.Path, Timeout: d.Timeout, MigrationTimeout: d.MigrationTimeout, LockWait: d.LockWait,
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
