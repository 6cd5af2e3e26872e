-- The tables of homedepot/go-clouddriver, which may use the same database
-- during a roll-over: names, columns and index names are its own. In a
-- database that it made, they are there already.
CREATE TABLE IF NOT EXISTS kubernetes_providers (
  name varchar(256) NOT NULL,
  host varchar(256),
  ca_data text,
  bearer_token varchar(2048),
  token_provider varchar(128) NOT NULL DEFAULT 'google',
  namespace varchar(253),
  PRIMARY KEY (name)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE IF NOT EXISTS kubernetes_resources (
  account_name varchar(256),
  id varchar(256) NOT NULL,
  timestamp timestamp NULL DEFAULT current_timestamp,
  task_id varchar(256),
  task_type varchar(256),
  api_group varchar(256),
  name varchar(256),
  artifact_name varchar(256),
  namespace varchar(256),
  resource varchar(256),
  version varchar(256),
  kind varchar(256),
  spinnaker_app varchar(256),
  cluster varchar(256),
  PRIMARY KEY (id),
  -- Whole columns would need more than the 3072 bytes that InnoDB allows.
  INDEX account_name_kind_name_spinnaker_app_idx (account_name(128), kind(64), name(253), spinnaker_app(128)),
  INDEX task_id_idx (task_id),
  INDEX kind_idx (kind),
  -- Ours: what a replica of the older rewrite has written lately.
  INDEX clouddriver_recent_idx (account_name(128), timestamp)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE IF NOT EXISTS kubernetes_providers_namespaces (
  account_name varchar(256),
  namespace varchar(256),
  UNIQUE INDEX account_name_namespace_idx (account_name, namespace)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE IF NOT EXISTS provider_read_permissions (
  id varchar(256) NOT NULL,
  account_name varchar(256),
  read_group varchar(256),
  PRIMARY KEY (id),
  INDEX account_name_idx (account_name)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE IF NOT EXISTS provider_write_permissions (
  id varchar(256) NOT NULL,
  account_name varchar(256),
  write_group varchar(256),
  PRIMARY KEY (id),
  INDEX account_name_idx (account_name)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
