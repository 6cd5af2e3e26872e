-- What Docker registries have, as it was last read: the tags of a repository in
-- parts, and in the row without a repository how its account does. A repository
-- that is gone leaves a row without content, so that other replicas hear of it.
-- version grows with every change of any; updated_at is in milliseconds since 1970.
CREATE TABLE IF NOT EXISTS clouddriver_registries (
  account text NOT NULL,
  family text NOT NULL,
  repository text NOT NULL,
  part int NOT NULL,
  parts int NOT NULL,
  version bigint NOT NULL,
  updated_at bigint NOT NULL,
  body blob NOT NULL,
  PRIMARY KEY (account, family, repository, part)
);
CREATE INDEX IF NOT EXISTS clouddriver_registries_version ON clouddriver_registries (version);
