// Package migrations holds the schema of the database as golang-migrate files,
// one folder for each dialect.
//
// Every file can be run again after it was interrupted, at any statement: an
// interrupted migration is repeated at the next start instead of asking a
// person to repair it. No down file drops what the older Go rewrite made.
package migrations

import "embed"

// Files are mysql/*.sql and sqlite/*.sql.
//
//go:embed mysql/*.sql sqlite/*.sql
var Files embed.FS
