package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
)

// olderTable is a table of homedepot/go-clouddriver as its newest version
// makes it (accounts.md 4.2); older ones lack columns and indexes.
type olderTable struct {
	name    string
	columns []olderColumn
	indexes []olderIndex
}

type olderColumn struct {
	name string
	size int    // 0 for text
	rest string // constraint, when the column is added
}

type olderIndex struct {
	name, otherName string // otherName where SQLite's global names collide
	unique          bool
	columns         []string
	// prefixes are the lengths that fit in four bytes per character; 0 for a
	// whole column.
	prefixes []int
}

var olderTables = []olderTable{
	{name: "kubernetes_providers", columns: []olderColumn{
		{"name", 256, ""}, {"host", 256, ""}, {"ca_data", 0, ""}, {"bearer_token", 2048, ""},
		{"token_provider", 128, "NOT NULL DEFAULT 'google'"}, {"namespace", 253, ""},
	}},
	{name: "kubernetes_resources", columns: []olderColumn{
		{"account_name", 256, ""}, {"id", 256, ""}, {"timestamp", -1, ""}, {"task_id", 256, ""}, {"task_type", 256, ""},
		{"api_group", 256, ""}, {"name", 256, ""}, {"artifact_name", 256, ""}, {"namespace", 256, ""}, {"resource", 256, ""},
		{"version", 256, ""}, {"kind", 256, ""}, {"spinnaker_app", 256, ""}, {"cluster", 256, ""},
	}, indexes: []olderIndex{
		{name: "account_name_kind_name_spinnaker_app_idx", columns: []string{"account_name", "kind", "name", "spinnaker_app"}, prefixes: []int{128, 64, 253, 128}},
		{name: "task_id_idx", columns: []string{"task_id"}},
		{name: "kind_idx", columns: []string{"kind"}},
		// Ours: what a replica of the older rewrite has written lately.
		{name: "clouddriver_recent_idx", columns: []string{"account_name", "timestamp"}, prefixes: []int{128, 0}},
	}},
	{name: "kubernetes_providers_namespaces", columns: []olderColumn{{"account_name", 256, ""}, {"namespace", 256, ""}}, indexes: []olderIndex{
		{name: "account_name_namespace_idx", unique: true, columns: []string{"account_name", "namespace"}},
	}},
	{name: "provider_read_permissions", columns: []olderColumn{{"id", 256, ""}, {"account_name", 256, ""}, {"read_group", 256, ""}}, indexes: []olderIndex{
		{name: "account_name_idx", otherName: "read_account_name_idx", columns: []string{"account_name"}},
	}},
	{name: "provider_write_permissions", columns: []olderColumn{{"id", 256, ""}, {"account_name", 256, ""}, {"write_group", 256, ""}}, indexes: []olderIndex{
		{name: "account_name_idx", otherName: "write_account_name_idx", columns: []string{"account_name"}},
	}},
}

// accountColumns name accounts. Their collation becomes binary: account names
// are case-sensitive.
var accountColumns = map[string]string{
	"kubernetes_providers": "name", "kubernetes_resources": "account_name", "kubernetes_providers_namespaces": "account_name",
	"provider_read_permissions": "account_name", "provider_write_permissions": "account_name",
}

// adopt brings the tables that the older rewrite has made, in whichever of
// its versions, to what this one needs. Each step looks at the database first
// and does what is missing, so that it can be repeated from anywhere. The
// older rewrite goes on working: nothing is dropped or renamed.
func (s *Store) adopt(ctx context.Context, q queryer) error {
	for _, t := range olderTables {
		have, err := s.dialect.columns(ctx, q, t.name)
		if err != nil {
			return err
		}
		if len(have) == 0 {
			continue // the migrations make it
		}
		if err := s.adoptColumns(ctx, q, t, have); err != nil {
			return err
		}
		if err := s.adoptIndexes(ctx, q, t); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) adoptColumns(ctx context.Context, q queryer, t olderTable, have map[string]column) error {
	for _, c := range t.columns {
		is, ok := have[c.name]
		switch {
		case !ok && c.size < 0:
			return fmt.Errorf("table %s has no column %s, so it is not the older rewrite's: use another database", t.name, c.name)
		case !ok:
			if err := s.alter(ctx, q, t.name, "ADD COLUMN "+c.name+" "+s.dialect.textOf(c.size)+" "+c.rest); err != nil {
				return err
			}
		case c.name == "ca_data" && is.dataType == "varchar" && is.charset != "":
			// It was too narrow for a bundle of authorities.
			if err := s.alter(ctx, q, t.name, "MODIFY COLUMN ca_data text CHARACTER SET "+is.charset+" COLLATE "+is.collation); err != nil {
				return err
			}
		case accountColumns[t.name] == c.name && is.charset != "" && is.collation != is.charset+"_bin":
			null := " NULL"
			if is.notNull {
				null = " NOT NULL"
			}
			if err := s.alter(ctx, q, t.name, "MODIFY COLUMN "+c.name+" "+is.fullType+" CHARACTER SET "+is.charset+" COLLATE "+is.charset+"_bin"+null); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) alter(ctx context.Context, q queryer, table, change string) error {
	s.options.Log.Info("adopting a database of the older rewrite", "table", table, "change", change)
	return exec(ctx, q, "ALTER TABLE "+table+" "+change)
}

func (s *Store) adoptIndexes(ctx context.Context, q queryer, t olderTable) error {
	have, err := s.dialect.indexes(ctx, q, t.name)
	if err != nil {
		return err
	}
	for _, want := range t.indexes {
		// Its README had people make them by hand, under other names, too.
		if slices.ContainsFunc(have, func(i tableIndex) bool {
			return slices.Equal(i.columns, want.columns) && (i.unique || !want.unique)
		}) {
			continue
		}
		name := want.name
		if taken, err := s.nameTaken(ctx, q, t.name, name, have); err != nil {
			return err
		} else if taken {
			name = want.otherName
		}
		kind := "INDEX "
		if want.unique {
			kind = "UNIQUE INDEX "
			if err := s.withoutDuplicates(ctx, q, t.name, want.columns); err != nil {
				return err
			}
		}
		columns := slices.Clone(want.columns)
		if s.dialect.name() == "mysql" {
			for i, length := range want.prefixes {
				if length > 0 {
					columns[i] = fmt.Sprintf("%s(%d)", columns[i], length)
				}
			}
		}
		s.options.Log.Info("adopting a database of the older rewrite", "table", t.name, "index", name)
		if err := exec(ctx, q, "CREATE "+kind+name+" ON "+t.name+" ("+strings.Join(columns, ", ")+")"); err != nil {
			return err
		}
	}
	return nil
}

// nameTaken says whether an index of that name is in the way: on the table
// itself or, in SQLite, on any.
func (s *Store) nameTaken(ctx context.Context, q queryer, table, name string, have []tableIndex) (bool, error) {
	if slices.ContainsFunc(have, func(i tableIndex) bool { return i.name == name }) {
		return true, nil
	}
	if s.dialect.name() != "sqlite" {
		return false, nil
	}
	// The read table's index keeps the name even when it is not made yet.
	if table == "provider_write_permissions" && name == "account_name_idx" {
		return true, nil
	}
	return exists(ctx, q, "SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = ?", name)
}

// withoutDuplicates leaves one of several equal rows, which a table without
// its unique index may hold.
func (s *Store) withoutDuplicates(ctx context.Context, q queryer, table string, columns []string) error {
	type group struct {
		values []any
		extra  int
	}
	var groups []group
	list := strings.Join(columns, ", ")
	err := each(ctx, q, func(rows *sql.Rows) error {
		texts, n := make([]sql.NullString, len(columns)), 0
		into := make([]any, 0, len(columns)+1)
		for i := range texts {
			into = append(into, &texts[i])
		}
		if err := rows.Scan(append(into, &n)...); err != nil {
			return err
		}
		g := group{extra: n - 1}
		for _, t := range texts {
			g.values = append(g.values, t.String)
		}
		groups = append(groups, g)
		return nil
	}, "SELECT "+list+", COUNT(*) FROM "+table+" WHERE "+strings.Join(columns, " IS NOT NULL AND ")+" IS NOT NULL GROUP BY "+list+" HAVING COUNT(*) > 1")
	if err != nil {
		return err
	}
	where := strings.Join(columns, " = ? AND ") + " = ?"
	for _, g := range groups {
		query := fmt.Sprintf("DELETE FROM %s WHERE %s LIMIT %d", table, where, g.extra)
		if s.dialect.name() == "sqlite" {
			query = fmt.Sprintf("DELETE FROM %s WHERE rowid IN (SELECT rowid FROM %s WHERE %s LIMIT %d)", table, table, where, g.extra)
		}
		if err := exec(ctx, q, query, g.values...); err != nil {
			return err
		}
	}
	return nil
}

// moveLegacyNamespaces moves the single namespace of accounts from before
// 2023-09 to the table of namespaces. Both queries may be repeated; readers
// merge the two places in the meantime.
func (s *Store) moveLegacyNamespaces(ctx context.Context, q queryer) error {
	const set = "namespace IS NOT NULL AND TRIM(namespace) <> ''"
	type pair struct{ account, namespace string }
	var all []pair
	err := each(ctx, q, func(rows *sql.Rows) error {
		var p pair
		if err := rows.Scan(&p.account, &p.namespace); err != nil {
			return err
		}
		all = append(all, p)
		return nil
	}, "SELECT name, namespace FROM kubernetes_providers WHERE "+set)
	if err != nil {
		return err
	}
	for _, p := range all {
		there, err := exists(ctx, q, "SELECT 1 FROM kubernetes_providers_namespaces WHERE account_name = ? AND namespace = ?", p.account, p.namespace)
		if err != nil {
			return err
		}
		if !there {
			if err := exec(ctx, q, "INSERT INTO kubernetes_providers_namespaces (account_name, namespace) VALUES (?, ?)", p.account, p.namespace); err != nil && !duplicate(err) {
				return err
			}
		}
		if err := exec(ctx, q, "UPDATE kubernetes_providers SET namespace = NULL WHERE name = ? AND namespace = ?", p.account, p.namespace); err != nil {
			return err
		}
	}
	return nil
}
