-- A marker's version grows whenever what it names changes; replicas poll it.
CREATE TABLE IF NOT EXISTS clouddriver_markers (
  name text NOT NULL,
  version integer NOT NULL,
  PRIMARY KEY (name)
);
-- A lease lets one replica at a time do a piece of work; its fence grows with
-- every new owner, and expires_at is in milliseconds since 1970.
CREATE TABLE IF NOT EXISTS clouddriver_leases (
  name text NOT NULL,
  owner text NOT NULL,
  fence integer NOT NULL,
  expires_at integer NOT NULL,
  PRIMARY KEY (name)
);
-- Bearer tokens of accounts, sealed with a key that is not in the database.
-- They have a table of their own since the older rewrite's column is too
-- short for a sealed one.
CREATE TABLE IF NOT EXISTS clouddriver_tokens (
  account_name text NOT NULL,
  key_id text NOT NULL,
  sealed text NOT NULL,
  PRIMARY KEY (account_name)
);
