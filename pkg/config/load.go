package config

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"

	"github.com/datapunchorg/go-clouddriver/pkg/secret"
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
		case f.Tag.Get("koanf") == "-":
			// no setting
		case f.Tag.Get("koanf") == squashed:
			out = append(out, settingsOf(f.Type, prefix)...)
		case f.Type.Kind() == reflect.Struct:
			out = append(out, settingsOf(f.Type, key+".")...)
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
			// a list of objects has no flag
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

// squashed is the tag of a struct whose keys are those of the one it is in.
const squashed = ",squash"

// objectLists are the keys whose values are lists of objects, which have no flag, and
// what those are.
func objectLists(t reflect.Type, prefix string) map[string]reflect.Type {
	out := map[string]reflect.Type{}
	for f := range t.Fields() {
		tag := f.Tag.Get("koanf")
		switch {
		case tag == squashed:
			maps.Copy(out, objectLists(f.Type, prefix))
		case tag == "-":
		case f.Type.Kind() == reflect.Struct:
			maps.Copy(out, objectLists(f.Type, prefix+tag+"."))
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
			out[prefix+tag] = f.Type.Elem()
		}
	}
	return out
}

// AddFlags defines --config and a flag for every setting.
func AddFlags(flags *pflag.FlagSet) {
	flags.String("config", os.Getenv("CLOUDDRIVER_CONFIG"), "settings file, for example clouddriver.yml, or the folder that has it and spinnaker.yml, with the variants of SPRING_PROFILES_ACTIVE (or CLOUDDRIVER_CONFIG)")
	for _, s := range Settings() {
		flags.String(s.Key, s.Default, s.Doc+" ("+s.Env+")")
	}
}

// Load merges defaults, the files, the environment and the flags, the later
// ones winning, and validates the result. Keys of the files that are not ours
// are ignored: a Java Clouddriver's file has many. Secret references are resolved.
func Load(flags *pflag.FlagSet, environ func(string) string) (*Config, error) {
	return LoadWith(flags, environ, secret.NewResolver(map[string]secret.Engine{"k8s": secret.Kubernetes(rest.InClusterConfig)}).Resolve)
}

// resolveWithin is the deadline of one secret reference.
const resolveWithin = 15 * time.Second

// LoadWith is Load with another resolver of secret references.
func LoadWith(flags *pflag.FlagSet, environ func(string) string, resolve func(context.Context, string) (string, error)) (*Config, error) {
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
	var files, ignored []string
	if path, _ := flags.GetString("config"); path != "" {
		var err error
		if files, ignored, err = loadFiles(k, path, known, environ); err != nil {
			return nil, err
		}
	}
	if err := k.Load(confmap.Provider(fromEnv, "."), nil); err != nil {
		return nil, fmt.Errorf("read the environment: %w", err)
	}
	if err := k.Load(posflag.Provider(flags, ".", k), nil); err != nil {
		return nil, fmt.Errorf("read the flags: %w", err)
	}
	r := revealer{resolve}
	for _, s := range settings {
		value, err := r.reveal(s.Key, k.Get(s.Key))
		if err != nil {
			return nil, err
		}
		// A flag or variable is text; lists are written with commas.
		if text, ok := value.(string); ok && listKeys[s.Key] {
			value = splitList(text)
		}
		if err := k.Set(s.Key, value); err != nil {
			return nil, fmt.Errorf("%s: %w", s.Key, err)
		}
	}
	for key, element := range objectLists(reflect.TypeFor[Config](), "") {
		objects := k.Get(key)
		if list := listOf(key, element, environ); list != nil {
			objects = list
		}
		if objects == nil {
			continue
		}
		revealed, err := r.reveal(key, objects)
		if err != nil {
			return nil, err
		}
		if err := k.Set(key, revealed); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	c := &Config{Files: files, Ignored: ignored}
	if err := k.UnmarshalWithConf("", c, koanf.UnmarshalConf{}); err != nil {
		return nil, fmt.Errorf("read the settings: %w", err)
	}
	if c.Services.Arcade.URL == "" && c.Services.Arcade.APIKey != "" {
		c.Services.Arcade.URL = defaultArcade // a sidecar, as the older rewrite assumes
	}
	return c, c.Validate()
}

const accountsKey = "kubernetes.accounts"

// fiatURL is the older rewrite's variable of Fiat's address.
const fiatURL = "FIAT_URL"

// revealer puts secrets in the place of their references.
type revealer struct {
	resolve func(context.Context, string) (string, error)
}

// reveal resolves the texts of a value, in lists and maps, too. The error names
// the key and quotes nothing.
func (r revealer) reveal(key string, value any) (any, error) {
	switch v := value.(type) {
	case string:
		if !secret.Is(v) {
			return v, nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), resolveWithin)
		defer cancel()
		text, err := r.resolve(ctx, v)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		return text, nil
	case []any:
		for i := range v {
			var err error
			if v[i], err = r.reveal(fmt.Sprintf("%s[%d]", key, i), v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for name := range v {
			var err error
			if v[name], err = r.reveal(key+"."+name, v[name]); err != nil {
				return nil, err
			}
		}
	}
	return value, nil
}

// profilesOf are the active profiles, as Spring's variable has them.
func profilesOf(environ func(string) string) []string {
	return splitList(environ("SPRING_PROFILES_ACTIVE"))
}

// loadFiles reads the known keys of the files, in our spelling, since Spring
// takes kebab-case and any case. It returns the files that were read, and the
// keys of Java's Kubernetes provider that have no effect here.
func loadFiles(k *koanf.Koanf, path string, known map[string]string, environ func(string) string) (files, ignored []string, err error) {
	all, files, err := settingsFiles(path, profilesOf(environ))
	if err != nil {
		return nil, nil, err
	}
	merged, spelling := map[string]any{}, map[string]string{}
	for _, values := range all {
		for key, value := range values {
			merged[relaxed(key)], spelling[relaxed(key)] = value, key
		}
	}
	expand := expander{values: merged, environ: environ}
	lists := map[string]string{}
	for key := range objectLists(reflect.TypeFor[Config](), "") {
		lists[relaxed(key)] = key
	}
	gathered(merged, lists)
	spelled := map[string]any{}
	for key, value := range merged {
		ours, is := known[key]
		switch {
		case value == nil:
			continue // an empty key in YAML means "as if not there"
		case lists[key] != "":
			ours, value = lists[key], withoutHyphens(value)
		case !is:
			if javasOwn(key) {
				ignored = append(ignored, spelling[key])
			}
			continue
		}
		if spelled[ours], err = expand.expand(value); err != nil {
			return nil, nil, fmt.Errorf("read settings file %s: %s: %w", path, spelling[key], err)
		}
	}
	if err := k.Load(confmap.Provider(spelled, "."), nil); err != nil {
		return nil, nil, fmt.Errorf("read settings file %s: %w", path, err)
	}
	slices.Sort(ignored)
	return files, append(ignored, ignoredOfAccounts(spelled[accountsKey])...), nil
}

// javasOwn says whether a key is one of the Java service's settings of what is
// done here by other means, so that somebody who has set it wants to know. Other
// keys are of other providers, or of Spring.
func javasOwn(key string) bool {
	for _, prefix := range []string{"kubernetes.", "redis.", "sql.", "credentials.", "account.", "operations.", "default."} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// ignoredOfAccounts are the keys of accounts that mean nothing here (accounts.md
// 7.2), each once.
func ignoredOfAccounts(accounts any) []string {
	known := map[string]bool{}
	for f := range reflect.TypeFor[Account]().Fields() {
		known[strings.ToLower(f.Tag.Get("koanf"))] = true
	}
	found := map[string]bool{}
	list, _ := accounts.([]any)
	for _, one := range list {
		entry, _ := one.(map[string]any)
		for key := range entry {
			if !known[strings.ToLower(key)] {
				found[accountsKey+"[]."+key] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
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
			if f.Tag.Get("koanf") == squashed {
				walk(f.Type, prefix)
				continue
			}
			if f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[time.Duration]() {
				walk(f.Type, key+".")
			}
			if f.Type == reflect.TypeFor[[]string]() && f.Tag.Get("koanf") != "-" {
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

// ParseAccount reads an account as kubernetes.accounts has it from another
// source, in any of Spring's spellings. Keys that are not ours are ignored.
func ParseAccount(values map[string]any) (Account, error) {
	a, err := parsed[Account](values)
	if err != nil {
		return a, err
	}
	k := Kubernetes{Accounts: []Account{a}}
	for _, err := range k.validate() {
		return a, errors.New(strings.TrimPrefix(strings.TrimPrefix(err.Error(), accountsKey+"[0]"), "."))
	}
	return a, nil
}

// ParseRegistry does the same for an account of dockerRegistry.accounts.
func ParseRegistry(values map[string]any) (RegistryAccount, error) {
	return parsed[RegistryAccount](values)
}

func parsed[T any](values map[string]any) (T, error) {
	var out T
	d, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{TagName: "koanf", WeaklyTypedInput: true, Result: &out})
	if err != nil {
		return out, err
	}
	return out, d.Decode(withoutHyphens(values))
}

// PermissionsOf reads those of an account of any provider.
func PermissionsOf(values map[string]any) (map[string][]string, error) {
	of, err := parsed[struct {
		Permissions map[string][]string `koanf:"permissions"`
	}](values)
	return of.Permissions, err
}
