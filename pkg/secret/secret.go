// Package secret resolves the secret references that configurations of Spinnaker
// hold in place of secrets (accounts.md 7.1).
package secret

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/client-go/rest"
)

// The forms of references: a value, one whose content becomes a file, and
// Spinnaker's addresses of user secrets.
const (
	valuePrefix = "encrypted:"
	filePrefix  = "encryptedFile:"
	userPrefix  = "secret://"
	bootPrefix  = "boot-secret://"
)

// Reference is a secret that a value stands for.
type Reference struct {
	Engine string
	// Of are the engine's parameters.
	Of map[string]string
	// File says that the value is to be the path of a file with the secret.
	File bool
}

// Is says whether a value is a reference. What looks like one is never a
// password.
func Is(value string) bool {
	return slices.ContainsFunc([]string{valuePrefix, filePrefix, userPrefix, bootPrefix}, func(prefix string) bool { return strings.HasPrefix(value, prefix) })
}

// Parse reads a reference. The error does not quote it.
func Parse(value string) (Reference, error) {
	for _, prefix := range []string{userPrefix, bootPrefix} {
		if strings.HasPrefix(value, prefix) {
			return parseAddress(value)
		}
	}
	text, file := strings.CutPrefix(value, filePrefix)
	if !file {
		var ok bool
		if text, ok = strings.CutPrefix(value, valuePrefix); !ok {
			return Reference{}, errors.New("it is no secret reference")
		}
	}
	parts := strings.Split(text, "!")
	out := Reference{Engine: parts[0], Of: map[string]string{}, File: file}
	for _, pair := range parts[1:] {
		key, of, ok := strings.Cut(pair, ":")
		if !ok || !word(key) {
			return out, errors.New("a secret reference is encrypted:engine!key:value!key:value")
		}
		out.Of[key] = of
	}
	if !word(strings.ReplaceAll(out.Engine, "-", "")) || len(out.Of) == 0 {
		return out, errors.New("a secret reference is encrypted:engine!key:value, with at least one pair")
	}
	return out, nil
}

func parseAddress(value string) (Reference, error) {
	u, err := url.Parse(value)
	if err != nil || u.Host == "" {
		return Reference{}, errors.New("a user secret is secret://engine?key=value")
	}
	out := Reference{Engine: u.Host, Of: map[string]string{}}
	for key, values := range u.Query() {
		out.Of[key] = values[0]
	}
	if len(out.Of) == 0 {
		return out, errors.New("a user secret is secret://engine?key=value, with at least one pair")
	}
	return out, nil
}

func word(text string) bool {
	for _, r := range text {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') {
			return false
		}
	}
	return text != ""
}

// Engine reads secrets.
type Engine interface {
	Read(ctx context.Context, of map[string]string) (string, error)
}

// EngineFunc is a function as an Engine.
type EngineFunc func(ctx context.Context, of map[string]string) (string, error)

// Read implements Engine.
func (f EngineFunc) Read(ctx context.Context, of map[string]string) (string, error) {
	return f(ctx, of)
}

// Resolver resolves references by its engines.
type Resolver struct {
	engines map[string]Engine
	// folder is where the files of encryptedFile are; made when it is needed.
	folder string
}

// NewResolver makes one with the engines that are built in and those that are
// given.
func NewResolver(engines map[string]Engine) *Resolver {
	all := map[string]Engine{"noop": EngineFunc(noop), "file": EngineFunc(readFile)}
	for name, e := range engines {
		all[name] = e
	}
	return &Resolver{engines: all}
}

// OfDefinitions resolves what account definitions may refer to: Secrets of the
// service's own namespace. Whoever writes a definition need not be allowed to read
// other namespaces, or files of this machine.
func OfDefinitions(cluster func() (*rest.Config, error)) *Resolver {
	read := Kubernetes(cluster)
	return &Resolver{engines: map[string]Engine{"k8s": EngineFunc(func(ctx context.Context, of map[string]string) (string, error) {
		if ns := of["ns"]; ns != "" && ns != ownNamespace() {
			return "", errors.New("ns: definitions may refer to Secrets of the service's own namespace only")
		}
		return read.Read(ctx, of)
	})}}
}

func noop(_ context.Context, of map[string]string) (string, error) { return of["v"], nil }

// fileMost bounds a secret.
const fileMost = 1 << 20

// readFile reads a file that is mounted: f is its path.
func readFile(_ context.Context, of map[string]string) (string, error) {
	info, err := os.Stat(of["f"])
	if err != nil {
		return "", errors.New("the file f cannot be read")
	}
	if !info.Mode().IsRegular() || info.Size() > fileMost {
		return "", fmt.Errorf("the file f is none of at most %d bytes", fileMost)
	}
	content, err := os.ReadFile(of["f"])
	if err != nil {
		return "", errors.New("the file f cannot be read")
	}
	return strings.TrimSuffix(string(content), "\n"), nil
}

// ErrNoEngine is returned for an engine that is not there.
var ErrNoEngine = errors.New("there is no such secret engine here")

// Resolve returns what a value stands for; one that is no reference as it is.
// Errors quote no secret.
func (r *Resolver) Resolve(ctx context.Context, value string) (string, error) {
	if !Is(value) {
		return value, nil
	}
	ref, err := Parse(value)
	if err != nil {
		return "", err
	}
	engine := r.engines[ref.Engine]
	if engine == nil {
		return "", fmt.Errorf("%w: %s", ErrNoEngine, ref.Engine)
	}
	text, err := engine.Read(ctx, ref.Of)
	if err != nil {
		return "", fmt.Errorf("secret engine %s: %w", ref.Engine, err)
	}
	if !ref.File {
		return text, nil
	}
	return r.file(text)
}

// file keeps a secret in a file that only we may read.
func (r *Resolver) file(content string) (string, error) {
	if r.folder == "" {
		folder, err := os.MkdirTemp("", "clouddriver-secrets-")
		if err != nil {
			return "", fmt.Errorf("a folder for secrets: %w", err)
		}
		r.folder = folder
	}
	// The same secret has the same file, however often it is resolved.
	sum := sha256.Sum256([]byte(content))
	path := filepath.Join(r.folder, hex.EncodeToString(sum[:]))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return "", fmt.Errorf("a file for a secret: %w", err)
	}
	return path, nil
}

// Close removes the files.
func (r *Resolver) Close() error {
	if r.folder == "" {
		return nil
	}
	return os.RemoveAll(r.folder)
}
