package helm

import (
	"testing"

	"github.com/spf13/pflag"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// flagsOf are the service's flags with a settings file.
func flagsOf(t *testing.T, path string) *pflag.FlagSet {
	t.Helper()
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.AddFlags(flags)
	if err := flags.Parse([]string{"--config=" + path}); err != nil {
		t.Fatal(err)
	}
	return flags
}
