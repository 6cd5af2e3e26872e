-- Account definitions in Java Clouddriver's own tables (clouddriver-sql,
-- 20210927-accounts.yml and 20240111-accounts-indexes.yml).
CREATE TABLE IF NOT EXISTS accounts (
  id text NOT NULL PRIMARY KEY,
  type text NOT NULL,
  body text NOT NULL,
  created_at bigint NOT NULL,
  last_modified_at bigint NOT NULL,
  last_modified_by text NOT NULL
);
CREATE INDEX IF NOT EXISTS accounts_type_index ON accounts (type);
CREATE TABLE IF NOT EXISTS accounts_history (
  id text NOT NULL,
  type text,
  body text,
  last_modified_at bigint NOT NULL,
  version int NOT NULL,
  is_deleted boolean NOT NULL DEFAULT false,
  PRIMARY KEY (id, version)
);
