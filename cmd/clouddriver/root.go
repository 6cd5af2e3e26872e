package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/spf13/cobra"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/processors"
	"github.com/datapunchorg/go-clouddriver/pkg/service"
	"github.com/datapunchorg/go-clouddriver/pkg/telemetry"
)

// streams are where commands write: what was asked for, and everything else.
type streams struct{ out, err io.Writer }

// newRoot is the command with all of its sub-commands. Without one of them it
// serves.
func newRoot(std streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "clouddriver",
		Short: "Spinnaker's Clouddriver for Kubernetes",
		Long: `Spinnaker's Clouddriver for Kubernetes: it watches every account's cluster and
answers Gate and Orca from memory.

Without a command it serves. Settings come from --config, the environment and
flags: every key of docs/settings.md is a flag of serve, migrate, account and
doctor (--server.port=7002), though help does not list them all.`,
		Example: `  clouddriver                                   serve every context of KUBECONFIG
  clouddriver --config clouddriver.yml          serve the accounts of a Java Clouddriver
  clouddriver account check                     which accounts can be reached and watched
  clouddriver doctor                            what an operator would look at first
  clouddriver compare --with http://other:7002  what another Clouddriver shows differently`,
		Args:          noneOf,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(std.out)
	root.SetErr(std.err)
	root.RunE = func(c *cobra.Command, _ []string) error { return serving(c, std) }
	addSettings(root)
	root.AddCommand(serveCommand(std), migrateCommand(std), accountCommand(std), doctorCommand(std), compareCommand(std), referenceCommand(std, "settings", printSettings), referenceCommand(std, "metrics", printMetrics), versionCommand(std))
	return root
}

// noneOf refuses a word that is no command.
func noneOf(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("unknown command %q for %q; see %s --help", args[0], c.CommandPath(), c.CommandPath())
}

// addSettings makes every setting a flag. They are many, so that help shows
// --config only, and names the page that lists them.
func addSettings(c *cobra.Command) {
	config.AddFlags(c.Flags())
	for _, s := range config.Settings() {
		_ = c.Flags().MarkHidden(s.Key) // it exists: it was added a line before
	}
}

// settingsOf reads the settings of a command that has them as flags, with a log
// as they want it.
func settingsOf(c *cobra.Command, std streams) (*config.Config, *slog.Logger, error) {
	settings, err := config.Load(c.Flags(), os.Getenv)
	if err != nil {
		return nil, nil, fmt.Errorf("settings:\n%w", err)
	}
	return settings, telemetry.NewLogger(std.err, settings.Log.Level, settings.Log.Format), nil
}

func serveCommand(std streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve the API (what happens without a command)",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return serving(c, std) },
	}
	addSettings(c)
	return c
}

func serving(c *cobra.Command, std streams) error {
	settings, log, err := settingsOf(c, std)
	if err != nil {
		return err
	}
	// Where the container has a limit, the garbage collector knows it; GOMEMLIMIT
	// says another.
	_, _ = memlimit.Set(memlimit.WithRatio(ofMemory)) // there may be none
	processors.BesideCollector()
	environ := environment()
	return service.Serve(c.Context(), settings, service.Options{
		Log: log, Version: version(), Settings: func() (*config.Config, error) { return config.Load(c.Flags(), environ) },
		// Libraries have read theirs by then, and no plugin has run.
		Started: func(*service.Service) { forget(settings.Kubernetes.PluginEnvironment) },
	})
}

// ofMemory is what the heap may take of a container's memory; stacks and buffers of
// the kernel take the rest.
const ofMemory = 0.85

func versionCommand(std streams) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print what this program was built from",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(std.out, version())
			return err
		},
	}
}

// release is set by the linker in builds that have a version.
var release string

// version is what the binary was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	name, revision := info.Main.Version, ""
	if release != "" {
		name = release
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = " " + s.Value
		}
	}
	return name + revision + " " + info.GoVersion
}
