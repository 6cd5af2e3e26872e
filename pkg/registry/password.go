package registry

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/secret"
)

const (
	// mostSecret bounds a file.
	mostSecret = 1 << 20
	// commandWithin is the deadline of a command, and commandEvery how long its
	// output is good for while the registry takes it.
	commandWithin = 10 * time.Second
	commandEvery  = time.Minute
)

// password finds the credentials of an account. Files are read anew each time, so
// that they can rotate.
type password struct {
	account config.RegistryAccount
	host    string

	mu     sync.Mutex
	ran    time.Time // of the command; zero once its output was refused
	found  string
	failed error
}

// anonymous says that there is nothing to show.
func (p *password) anonymous() bool {
	c := p.account
	return c.Password == "" && c.PasswordFile == "" && c.PasswordCommand == "" && c.DockerconfigFile == ""
}

// refused has a command run again.
func (p *password) refused() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ran = time.Time{}
}

// credential is what is shown to a host, nothing to any but the registry's own. It
// is auth.CredentialFunc.
func (p *password) credential(ctx context.Context, hostport string) (auth.Credential, error) {
	if p.anonymous() || hostport != p.host {
		return auth.EmptyCredential, nil
	}
	if p.account.DockerconfigFile != "" {
		return p.ofDocker(ctx)
	}
	text, err := p.text(ctx)
	if err != nil {
		return auth.EmptyCredential, err
	}
	return auth.Credential{Username: p.account.Username, Password: text}, nil
}

func (p *password) text(ctx context.Context) (string, error) {
	switch {
	case p.account.PasswordFile != "":
		content, err := secret.ReadFile(p.account.PasswordFile, mostSecret)
		if err != nil {
			return "", fmt.Errorf("passwordFile: %w", err)
		}
		return strings.TrimSpace(string(content)), nil
	case p.account.PasswordCommand != "":
		return p.ofCommand(ctx)
	}
	return p.account.Password, nil
}

// padded says that there is white space around the password, which is often not
// meant to be there.
func (p *password) padded() bool {
	return p.account.Password != strings.TrimSpace(p.account.Password)
}

// ofCommand runs the command, or has its last output. What it prints is never told.
func (p *password) ofCommand(ctx context.Context) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.ran) < commandEvery {
		return p.found, p.failed
	}
	found, err := run(ctx, p.account.PasswordCommand, commandWithin)
	if err != nil {
		err = fmt.Errorf("passwordCommand: %w", err)
	}
	if ctx.Err() == nil { // else it is not the command's fault
		p.ran, p.found, p.failed = time.Now(), found, err
	}
	return found, err
}

func run(ctx context.Context, command string, within time.Duration) (string, error) {
	shell, err := exec.LookPath("bash")
	if err != nil {
		if shell, err = exec.LookPath("sh"); err != nil {
			return "", errors.New("there is no shell here: use passwordFile, and a container beside this one that renews it")
		}
	}
	return secret.Printed(ctx, within, shell, "-c", command)
}

// hub is what Docker's own files call Docker Hub.
const hub = "https://index.docker.io/v1/"

// ofDocker asks docker's configuration, and the helpers that it names.
func (p *password) ofDocker(ctx context.Context) (auth.Credential, error) {
	if _, err := secret.ReadFile(p.account.DockerconfigFile, mostSecret); err != nil {
		return auth.EmptyCredential, fmt.Errorf("dockerconfigFile: %w", err)
	}
	store, err := credentials.NewStore(p.account.DockerconfigFile, credentials.StoreOptions{})
	if err != nil {
		return auth.EmptyCredential, errors.New("dockerconfigFile: it is no configuration of docker")
	}
	ctx, cancel := context.WithTimeout(ctx, commandWithin)
	defer cancel()
	name := p.host
	switch name {
	case "docker.io", "index.docker.io", "registry-1.docker.io":
		name = hub
	}
	found, err := store.Get(ctx, name)
	if err != nil {
		return auth.EmptyCredential, errors.New("dockerconfigFile: its credentials cannot be had")
	}
	return found, nil
}
