-- Account definitions in Java Clouddriver's own tables (clouddriver-sql,
-- 20210927-accounts.yml and 20240111-accounts-indexes.yml): one that has used
-- the database before has made them.
CREATE TABLE IF NOT EXISTS accounts (
  id varchar(255) NOT NULL,
  type varchar(50) NOT NULL,
  body json NOT NULL,
  created_at bigint NOT NULL,
  last_modified_at bigint NOT NULL,
  last_modified_by varchar(255) NOT NULL,
  PRIMARY KEY (id),
  KEY accounts_type_index (type)
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
CREATE TABLE IF NOT EXISTS accounts_history (
  id varchar(255) NOT NULL,
  type varchar(50),
  body json,
  last_modified_at bigint NOT NULL,
  version int NOT NULL,
  is_deleted boolean NOT NULL DEFAULT false,
  PRIMARY KEY (id, version)
) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
