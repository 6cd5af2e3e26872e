// Command clouddriver is Spinnaker's Clouddriver for Kubernetes: it watches
// every account's cluster and answers the API from memory.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/service"
	"github.com/datapunchorg/go-clouddriver/pkg/telemetry"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	err := run(ctx, os.Args[1:])
	stop()
	if err == nil || errors.Is(err, pflag.ErrHelp) {
		return
	}
	fmt.Fprintln(os.Stderr, "clouddriver:", err)
	os.Exit(1)
}

// run is main with its inputs as parameters.
func run(ctx context.Context, args []string) error {
	command := "serve"
	if len(args) > 0 && len(args[0]) > 0 && args[0][0] != '-' {
		command, args = args[0], args[1:]
	}
	flags := pflag.NewFlagSet("clouddriver "+command, pflag.ContinueOnError)
	config.AddFlags(flags)
	switch command {
	case "serve", "migrate":
	case "version":
		fmt.Println(version())
		return nil
	case "settings":
		return printSettings(os.Stdout)
	default:
		return fmt.Errorf("unknown command %q; there are serve (the default), migrate, settings and version", command)
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	settings, err := config.Load(flags, os.Getenv)
	if err != nil {
		return fmt.Errorf("settings:\n%w", err)
	}
	log := telemetry.NewLogger(os.Stderr, settings.Log.Level, settings.Log.Format)
	if command == "migrate" {
		return migrateCommand(ctx, flags.Args(), settings, log, os.Stdout)
	}
	return service.Serve(ctx, settings, service.Options{Log: log, Version: version()})
}

// version is what the binary was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision := ""
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = " " + s.Value
		}
	}
	return info.Main.Version + revision + " " + info.GoVersion
}
