-- The tables of homedepot/go-clouddriver, which may use the same database
-- during a roll-over: names, columns and index names are its own. In a
-- database that it made, they are there already.
CREATE TABLE IF NOT EXISTS kubernetes_providers (
  name text NOT NULL,
  host text,
  ca_data text,
  bearer_token text,
  token_provider text NOT NULL DEFAULT 'google',
  namespace text,
  PRIMARY KEY (name)
);
CREATE TABLE IF NOT EXISTS kubernetes_resources (
  account_name text,
  id text NOT NULL,
  timestamp timestamp DEFAULT current_timestamp,
  task_id text,
  task_type text,
  api_group text,
  name text,
  artifact_name text,
  namespace text,
  resource text,
  version text,
  kind text,
  spinnaker_app text,
  cluster text,
  PRIMARY KEY (id)
);
CREATE TABLE IF NOT EXISTS kubernetes_providers_namespaces (
  account_name text,
  namespace text
);
CREATE TABLE IF NOT EXISTS provider_read_permissions (
  id text NOT NULL,
  account_name text,
  read_group text,
  PRIMARY KEY (id)
);
CREATE TABLE IF NOT EXISTS provider_write_permissions (
  id text NOT NULL,
  account_name text,
  write_group text,
  PRIMARY KEY (id)
);
CREATE INDEX IF NOT EXISTS account_name_kind_name_spinnaker_app_idx ON kubernetes_resources (account_name, kind, name, spinnaker_app);
CREATE INDEX IF NOT EXISTS task_id_idx ON kubernetes_resources (task_id);
CREATE INDEX IF NOT EXISTS kind_idx ON kubernetes_resources (kind);
CREATE INDEX IF NOT EXISTS clouddriver_recent_idx ON kubernetes_resources (account_name, timestamp);
CREATE UNIQUE INDEX IF NOT EXISTS account_name_namespace_idx ON kubernetes_providers_namespaces (account_name, namespace);
CREATE INDEX IF NOT EXISTS account_name_idx ON provider_read_permissions (account_name);
-- Names of indexes are global in SQLite, which is why the older rewrite could
-- not start on a new file.
CREATE INDEX IF NOT EXISTS write_account_name_idx ON provider_write_permissions (account_name);
