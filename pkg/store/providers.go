package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// Provider is an account as the provider API keeps it
// (homedepot/go-clouddriver, pkg/kubernetes.Provider; accounts.md 3.1).
type Provider struct {
	Name string
	Host string
	// CAData is base64 of a PEM bundle; the system's authorities when empty.
	CAData string
	// BearerToken is a token in plain text; Sealed is one that only a key that
	// is not in the database opens. At most one is set.
	BearerToken string
	Sealed      Sealed
	// TokenProvider names whoever gives the token; "google" when it was left
	// out.
	TokenProvider string
	// Namespaces limit the account; the whole cluster when empty.
	Namespaces  []string
	ReadGroups  []string
	WriteGroups []string
}

// Sealed is an encrypted token and the key that opens it.
type Sealed struct{ KeyID, Text string }

// DefaultTokenProvider is the database's default.
const DefaultTokenProvider = "google"

const markerProviders = "providers"

// Providers lists all, sorted by name.
func (s *Store) Providers(ctx context.Context) ([]Provider, error) {
	var out []Provider
	err := s.snapshot(ctx, func(ctx context.Context, q queryer) error {
		var err error
		out, err = providers(ctx, q, "", nil)
		return err
	})
	return out, err
}

// Provider finds one by its exact name; ErrNotFound.
func (s *Store) Provider(ctx context.Context, name string) (Provider, error) {
	var found []Provider
	err := s.snapshot(ctx, func(ctx context.Context, q queryer) error {
		var err error
		found, err = providers(ctx, q, " = ?", []any{name})
		return err
	})
	return oneOf(found, err)
}

// providers reads the tables one by one: a join would repeat every namespace
// for every group.
func providers(ctx context.Context, q queryer, where string, args []any) ([]Provider, error) {
	only := func(column string) string {
		if where == "" {
			return ""
		}
		return " WHERE " + column + where
	}
	var out []Provider
	err := each(ctx, q, func(rows *sql.Rows) error {
		var p Provider
		var host, ca, token, namespace sql.NullString
		if err := rows.Scan(&p.Name, &host, &ca, &token, &p.TokenProvider, &namespace); err != nil {
			return err
		}
		p.Host, p.CAData, p.BearerToken = host.String, ca.String, token.String
		if strings.TrimSpace(namespace.String) != "" {
			p.Namespaces = []string{namespace.String} // not moved yet
		}
		out = append(out, p)
		return nil
	}, "SELECT name, host, ca_data, bearer_token, token_provider, namespace FROM kubernetes_providers"+only("name"), args...)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b Provider) int { return cmp.Compare(a.Name, b.Name) })
	byName := make(map[string]*Provider, len(out))
	for i := range out {
		byName[out[i].Name] = &out[i]
	}
	texts := func(table, column string, add func(p *Provider, text string)) error {
		return each(ctx, q, func(rows *sql.Rows) error {
			var account, text sql.NullString
			if err := rows.Scan(&account, &text); err != nil {
				return err
			}
			if p := byName[account.String]; p != nil && text.Valid {
				add(p, text.String)
			}
			return nil
		}, "SELECT account_name, "+column+" FROM "+table+only("account_name"), args...)
	}
	err = errors.Join(
		texts("kubernetes_providers_namespaces", "namespace", func(p *Provider, t string) { p.Namespaces = append(p.Namespaces, t) }),
		texts("provider_read_permissions", "read_group", func(p *Provider, t string) { p.ReadGroups = append(p.ReadGroups, t) }),
		texts("provider_write_permissions", "write_group", func(p *Provider, t string) { p.WriteGroups = append(p.WriteGroups, t) }),
		each(ctx, q, func(rows *sql.Rows) error {
			var account string
			var sealed Sealed
			if err := rows.Scan(&account, &sealed.KeyID, &sealed.Text); err != nil {
				return err
			}
			// A plain token is newer: the older rewrite wrote it afterwards.
			if p := byName[account]; p != nil && p.BearerToken == "" {
				p.Sealed = sealed
			}
			return nil
		}, "SELECT account_name, key_id, sealed FROM clouddriver_tokens"+only("account_name"), args...),
	)
	for i := range out {
		out[i].Namespaces = sortedSet(out[i].Namespaces)
		out[i].ReadGroups, out[i].WriteGroups = sortedSet(out[i].ReadGroups), sortedSet(out[i].WriteGroups)
	}
	return out, err
}

func sortedSet(texts []string) []string {
	slices.Sort(texts)
	return slices.Compact(texts)
}

// CreateProvider adds one; ErrExists.
func (s *Store) CreateProvider(ctx context.Context, p Provider) error {
	return s.inTx(ctx, func(ctx context.Context, q queryer) error {
		// The key decides: of several at once, one inserts.
		if err := insertProvider(ctx, q, p); err != nil {
			return err
		}
		return s.insertDetails(ctx, q, p)
	})
}

// PutProvider adds or replaces one. What is recorded of the account's
// resources stays: they have not changed.
func (s *Store) PutProvider(ctx context.Context, p Provider) error {
	return s.inTx(ctx, func(ctx context.Context, q queryer) error {
		if err := deleteDetails(ctx, q, p.Name); err != nil {
			return err
		}
		if _, err := q.ExecContext(ctx, "DELETE FROM kubernetes_providers WHERE name = ?", p.Name); err != nil {
			return err
		}
		if err := insertProvider(ctx, q, p); err != nil {
			return err
		}
		return s.insertDetails(ctx, q, p)
	})
}

// DeleteProvider removes one with what is recorded of its resources;
// ErrNotFound.
func (s *Store) DeleteProvider(ctx context.Context, name string) error {
	return s.inTx(ctx, func(ctx context.Context, q queryer) error {
		result, err := q.ExecContext(ctx, "DELETE FROM kubernetes_providers WHERE name = ?", name)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return cmp.Or(err, ErrNotFound)
		}
		if err := deleteDetails(ctx, q, name); err != nil {
			return err
		}
		if err := exec(ctx, q, "DELETE FROM kubernetes_resources WHERE account_name = ?", name); err != nil {
			return err
		}
		return s.bump(ctx, q, markerProviders)
	})
}

func insertProvider(ctx context.Context, q queryer, p Provider) error {
	return exec(ctx, q, "INSERT INTO kubernetes_providers (name, host, ca_data, bearer_token, token_provider) VALUES (?, ?, ?, ?, ?)",
		p.Name, p.Host, p.CAData, sql.NullString{String: p.BearerToken, Valid: p.BearerToken != ""}, cmp.Or(p.TokenProvider, DefaultTokenProvider))
}

func (s *Store) insertDetails(ctx context.Context, q queryer, p Provider) error {
	for _, namespace := range sortedSet(slices.Clone(p.Namespaces)) {
		if err := exec(ctx, q, "INSERT INTO kubernetes_providers_namespaces (account_name, namespace) VALUES (?, ?)", p.Name, namespace); err != nil {
			return err
		}
	}
	for _, g := range []struct {
		table, column string
		groups        []string
	}{{"provider_read_permissions", "read_group", p.ReadGroups}, {"provider_write_permissions", "write_group", p.WriteGroups}} {
		for _, group := range sortedSet(slices.Clone(g.groups)) {
			if err := exec(ctx, q, "INSERT INTO "+g.table+" (id, account_name, "+g.column+") VALUES (?, ?, ?)", uuid.NewString(), p.Name, group); err != nil {
				return err
			}
		}
	}
	if p.Sealed.Text != "" {
		if err := exec(ctx, q, "INSERT INTO clouddriver_tokens (account_name, key_id, sealed) VALUES (?, ?, ?)", p.Name, p.Sealed.KeyID, p.Sealed.Text); err != nil {
			return err
		}
	}
	return s.bump(ctx, q, markerProviders)
}

func deleteDetails(ctx context.Context, q queryer, name string) error {
	for _, table := range []string{"kubernetes_providers_namespaces", "provider_read_permissions", "provider_write_permissions", "clouddriver_tokens"} {
		if err := exec(ctx, q, "DELETE FROM "+table+" WHERE account_name = ?", name); err != nil {
			return err
		}
	}
	return nil
}

// SealToken replaces a provider's token by a sealed one, unless the token has
// changed in the meantime. It serves the rotation of keys.
func (s *Store) SealToken(ctx context.Context, before Provider, sealed Sealed) error {
	return s.inTx(ctx, func(ctx context.Context, q queryer) error {
		found, err := providers(ctx, q, " = ?", []any{before.Name})
		if err != nil {
			return err
		}
		if len(found) == 0 || found[0].BearerToken != before.BearerToken || found[0].Sealed != before.Sealed {
			return nil
		}
		if err := exec(ctx, q, "DELETE FROM clouddriver_tokens WHERE account_name = ?", before.Name); err != nil {
			return err
		}
		if err := exec(ctx, q, "INSERT INTO clouddriver_tokens (account_name, key_id, sealed) VALUES (?, ?, ?)", before.Name, sealed.KeyID, sealed.Text); err != nil {
			return err
		}
		if err := exec(ctx, q, "UPDATE kubernetes_providers SET bearer_token = NULL WHERE name = ?", before.Name); err != nil {
			return err
		}
		return s.bump(ctx, q, markerProviders)
	})
}

// bump makes the replicas look again.
func (s *Store) bump(ctx context.Context, q queryer, marker string) error {
	return exec(ctx, q, "INSERT INTO clouddriver_markers (name, version) VALUES (?, 1)"+s.dialect.upsert("name")+"version = clouddriver_markers.version + 1", marker)
}

// ProvidersVersion is a text that changes whenever a provider does, also when
// the older rewrite changed it.
func (s *Store) ProvidersVersion(ctx context.Context) (string, error) {
	var version sql.NullInt64
	var digest sql.NullString
	err := s.read(ctx, func(ctx context.Context, q queryer) error {
		if err := each(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&version) },
			"SELECT version FROM clouddriver_markers WHERE name = ?", markerProviders); err != nil {
			return err
		}
		query := s.dialect.digest()
		if query == "" {
			return nil
		}
		return each(ctx, q, func(rows *sql.Rows) error { return rows.Scan(&digest) }, query)
	})
	return fmt.Sprint(version.Int64, " ", digest.String), err
}
