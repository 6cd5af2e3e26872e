package registry

import (
	"context"
	"errors"
	"fmt"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/secret"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// KindDockerRegistry is the type of the definitions that become registries.
const KindDockerRegistry = "dockerRegistry"

// Definitions are the registries that are managed by /credentials (accounts.md 2).
// They may name no files and programs of this machine, unless Plugins is set.
type Definitions struct {
	Accounts *Accounts
	Fence    *account.Fence
	Resolve  func(context.Context, string) (string, error)
	Plugins  bool
}

// entry reads a definition. The error names the field.
func (d *Definitions) entry(row store.Definition) (config.RegistryAccount, error) {
	values, err := account.Values(row)
	if err != nil {
		return config.RegistryAccount{}, err
	}
	c, err := config.ParseRegistry(values)
	if err != nil {
		return c, err
	}
	if key := OfThisMachine(c); key != "" && !d.Plugins {
		return c, fmt.Errorf("%s: definitions may not name files and programs of this machine, unless account.storage.allowPlugins is set", key)
	}
	address, err := addressOf(c.Address)
	if err != nil {
		return c, fmt.Errorf("address: %w", err)
	}
	if secret.Is(c.Username) {
		return c, errors.New("username: it cannot be a secret; put the reference into password")
	}
	if err := d.Fence.Check(address.String()); err != nil {
		return c, fmt.Errorf("address: %w", err)
	}
	return c, nil
}

// Check says what is wrong with a definition before it is kept. Secrets are not
// looked for: they may come later.
func (d *Definitions) Check(row store.Definition) error {
	c, err := d.entry(row)
	if err == nil {
		_, err = NewAccount(c, nil)
	}
	return err
}

// Take has all definitions, and says which cannot be used. One whose secret cannot
// be read for a moment stays as it was.
func (d *Definitions) Take(ctx context.Context, rows []store.Definition) map[string]error {
	failed := map[string]error{}
	var out []*Account
	for _, row := range rows {
		a, err := d.account(ctx, row)
		if err == nil {
			out = append(out, a)
			continue
		}
		failed[row.Name] = err
		if before, ok := d.Accounts.of(FromDefinitions, row.Name); ok && errors.Is(err, errSecret) {
			out = append(out, before)
		}
	}
	d.Accounts.Replace(FromDefinitions, out)
	return failed
}

var errSecret = errors.New("its secret cannot be read")

func (d *Definitions) account(ctx context.Context, row store.Definition) (*Account, error) {
	c, err := d.entry(row)
	if err != nil {
		return nil, err
	}
	if c.Password, err = d.Resolve(ctx, c.Password); err != nil {
		return nil, fmt.Errorf("password: %w: %w", errSecret, err)
	}
	address, err := addressOf(c.Address)
	if err != nil {
		return nil, err
	}
	return d.Accounts.again(FromDefinitions, c, d.Fence.Near(address.String()))
}
