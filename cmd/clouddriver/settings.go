package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// referenceCommand prints a page of docs/ that is made from the code.
func referenceCommand(std streams, name string, write func(io.Writer) error) *cobra.Command {
	return &cobra.Command{
		Use:   name,
		Short: "Print the reference of all " + name + " (docs/" + name + ".md)",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return write(std.out) },
	}
}

// printSettings writes the reference page of all settings, docs/settings.md.
func printSettings(w io.Writer) error {
	if _, err := fmt.Fprint(w, `# Settings

Defaults are overridden by the file that --config names, that by the environment, that by flags
(`+"`--server.port=7002`"+`). Keys of the file may be written in camelCase or kebab-case; keys that are
not listed here are ignored. Accounts with settings of their own are listed under
`+"`kubernetes.accounts`"+` with Java Clouddriver's keys.

| Key | Environment | Default | Meaning |
| --- | --- | --- | --- |
`); err != nil {
		return err
	}
	for _, s := range config.Settings() {
		if _, err := fmt.Fprintf(w, "| `%s` | `%s` | %s | %s |\n", s.Key, s.Env, s.Default, s.Doc); err != nil {
			return err
		}
	}
	return nil
}
