-- A marker's version grows whenever what it names changes; replicas poll it.
CREATE TABLE IF NOT EXISTS clouddriver_markers (
  name varchar(64) NOT NULL,
  version bigint NOT NULL,
  PRIMARY KEY (name)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
-- A lease lets one replica at a time do a piece of work; its fence grows with
-- every new owner, and expires_at is in milliseconds since 1970.
CREATE TABLE IF NOT EXISTS clouddriver_leases (
  name varchar(64) NOT NULL,
  owner varchar(128) NOT NULL,
  fence bigint NOT NULL,
  expires_at bigint NOT NULL,
  PRIMARY KEY (name)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
-- Bearer tokens of accounts, sealed with a key that is not in the database.
-- They have a table of their own since the older rewrite's column is too
-- short for a sealed one.
CREATE TABLE IF NOT EXISTS clouddriver_tokens (
  account_name varchar(256) NOT NULL,
  key_id varchar(64) NOT NULL,
  sealed text NOT NULL,
  PRIMARY KEY (account_name)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
