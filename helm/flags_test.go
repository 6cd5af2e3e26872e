package helm

import (
	"testing"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

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

// keysOf are the keys of a settings file, joined by dots.
func keysOf(prefix, text string, t *testing.T) []string {
	t.Helper()
	var tree map[string]any
	if err := yaml.Unmarshal([]byte(text), &tree); err != nil {
		t.Fatal(err)
	}
	return leaves(prefix, tree)
}

func leaves(prefix string, tree map[string]any) (out []string) {
	for key, value := range tree {
		if inner, ok := value.(map[string]any); ok {
			out = append(out, leaves(prefix+key+".", inner)...)
			continue
		}
		out = append(out, prefix+key)
	}
	return out
}
