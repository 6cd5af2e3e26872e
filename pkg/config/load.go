package config

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// Setting is one key as the reference page and the flags show it.
type Setting struct {
	Key, Env, Default, Doc string
}

// Settings lists every key that has a flag and an environment variable, in
// the order of Config.
func Settings() []Setting { return settingsOf(reflect.TypeFor[Config](), "") }

func settingsOf(t reflect.Type, prefix string) []Setting {
	var out []Setting
	for f := range t.Fields() {
		key := prefix + f.Tag.Get("koanf")
		switch {
		case f.Type.Kind() == reflect.Struct:
			out = append(out, settingsOf(f.Type, key+".")...)
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
			// a list of objects can be said in the file only
		default:
			env := f.Tag.Get("env")
			if env == "" {
				env = strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
			}
			out = append(out, Setting{Key: key, Env: env, Default: f.Tag.Get("default"), Doc: f.Tag.Get("doc")})
		}
	}
	return out
}

// AddFlags defines --config and a flag for every setting.
func AddFlags(flags *pflag.FlagSet) {
	flags.String("config", os.Getenv("CLOUDDRIVER_CONFIG"), "settings file, for example clouddriver.yml (or CLOUDDRIVER_CONFIG)")
	for _, s := range Settings() {
		flags.String(s.Key, s.Default, s.Doc+" ("+s.Env+")")
	}
}

// Load merges defaults, the file, the environment and the flags, the later
// ones winning, and validates the result. Keys of the file that are not ours
// are ignored: a Java Clouddriver's file has many.
func Load(flags *pflag.FlagSet, environ func(string) string) (*Config, error) {
	k := koanf.New(".")
	settings := Settings()
	known := map[string]string{}
	defaults, fromEnv := map[string]any{}, map[string]any{}
	for _, s := range settings {
		known[relaxed(s.Key)] = s.Key
		if s.Default != "" {
			defaults[s.Key] = s.Default
		}
		if s.Key == "services.fiat.enabled" && environ(fiatURL) != "" {
			defaults[s.Key] = "true" // the older rewrite, whose variable it is, has no switch for it
		}
		if v := environ(s.Env); v != "" {
			fromEnv[s.Key] = v
		}
	}
	if err := k.Load(confmap.Provider(defaults, "."), nil); err != nil {
		return nil, fmt.Errorf("read the defaults: %w", err)
	}
	if path, _ := flags.GetString("config"); path != "" {
		if err := loadFile(k, path, known); err != nil {
			return nil, err
		}
	}
	if err := k.Load(confmap.Provider(fromEnv, "."), nil); err != nil {
		return nil, fmt.Errorf("read the environment: %w", err)
	}
	if err := k.Load(posflag.Provider(flags, ".", k), nil); err != nil {
		return nil, fmt.Errorf("read the flags: %w", err)
	}
	for _, s := range settings {
		// A flag or variable is text; lists are written with commas.
		if text, ok := k.Get(s.Key).(string); ok && listKeys[s.Key] {
			if err := k.Set(s.Key, splitList(text)); err != nil {
				return nil, fmt.Errorf("%s: %w", s.Key, err)
			}
		}
	}
	c := &Config{}
	if err := k.UnmarshalWithConf("", c, koanf.UnmarshalConf{}); err != nil {
		return nil, fmt.Errorf("read the settings: %w", err)
	}
	if c.Services.Arcade.URL == "" && c.Services.Arcade.APIKey != "" {
		c.Services.Arcade.URL = defaultArcade // a sidecar, as the older rewrite assumes
	}
	return c, c.Validate()
}

// fiatURL is the older rewrite's variable of Fiat's address.
const fiatURL = "FIAT_URL"

// loadFile reads the file twice over: as it is, for the accounts, and with
// its known keys in our spelling, since Spring takes kebab-case and any case.
func loadFile(k *koanf.Koanf, path string, known map[string]string) error {
	raw := koanf.New(".")
	if err := raw.Load(file.Provider(path), yaml.Parser()); err != nil {
		return fmt.Errorf("read settings file %s: %w", path, err)
	}
	spelled := map[string]any{}
	for key, value := range raw.All() {
		if value == nil {
			continue // an empty key in YAML means "as if not there"
		}
		if ours, ok := known[relaxed(key)]; ok {
			spelled[ours] = value
		}
		if relaxed(key) == "kubernetes.accounts" {
			spelled["kubernetes.accounts"] = withoutHyphens(value)
		}
	}
	if err := k.Load(confmap.Provider(spelled, "."), nil); err != nil {
		return fmt.Errorf("read settings file %s: %w", path, err)
	}
	return nil
}

// withoutHyphens spells the keys of nested objects so that kebab-case and
// camelCase meet; their case is ignored anyway.
func withoutHyphens(value any) any {
	switch v := value.(type) {
	case []any:
		for i := range v {
			v[i] = withoutHyphens(v[i])
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, inner := range v {
			out[strings.ReplaceAll(key, "-", "")] = withoutHyphens(inner)
		}
		return out
	}
	return value
}

// relaxed is a key's spelling for comparison.
func relaxed(key string) string { return strings.ToLower(strings.ReplaceAll(key, "-", "")) }

var listKeys = func() map[string]bool {
	m := map[string]bool{}
	var walk func(t reflect.Type, prefix string)
	walk = func(t reflect.Type, prefix string) {
		for f := range t.Fields() {
			key := prefix + f.Tag.Get("koanf")
			if f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[time.Duration]() {
				walk(f.Type, key+".")
			}
			if f.Type == reflect.TypeFor[[]string]() {
				m[key] = true
			}
		}
	}
	walk(reflect.TypeFor[Config](), "")
	return m
}()

func splitList(text string) []string {
	var out []string
	for _, part := range strings.Split(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}
