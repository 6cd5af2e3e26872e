-- A task is one request with its operations. Its owner holds it until
-- expires_at and writes with its fence, which grows with every new owner.
-- Times are milliseconds since 1970.
CREATE TABLE IF NOT EXISTS clouddriver_tasks (
  id varchar(36) NOT NULL,
  request_id varchar(255) NOT NULL,
  state varchar(16) NOT NULL,
  owner varchar(255) NOT NULL,
  fence bigint NOT NULL,
  expires_at bigint NOT NULL,
  started_at bigint NOT NULL,
  ended_at bigint NOT NULL DEFAULT 0,
  context text NOT NULL,
  -- What is left to do, sealed when there is a key; dropped at the end.
  key_id varchar(64) NOT NULL DEFAULT '',
  request longtext,
  result longtext,
  PRIMARY KEY (id),
  UNIQUE INDEX clouddriver_tasks_request_idx (request_id),
  INDEX clouddriver_tasks_state_idx (state, expires_at),
  INDEX clouddriver_tasks_ended_idx (ended_at)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE IF NOT EXISTS clouddriver_task_history (
  task_id varchar(36) NOT NULL,
  position int NOT NULL,
  phase varchar(128) NOT NULL,
  status text NOT NULL,
  PRIMARY KEY (task_id, position)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
-- The plan of an operation has the step -1. Rows go when the task ends.
CREATE TABLE IF NOT EXISTS clouddriver_task_steps (
  task_id varchar(36) NOT NULL,
  operation int NOT NULL,
  step int NOT NULL,
  key_id varchar(64) NOT NULL DEFAULT '',
  body longtext NOT NULL,
  PRIMARY KEY (task_id, operation, step)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
-- The ledger: every object that was written, with the version it got.
CREATE TABLE IF NOT EXISTS clouddriver_writes (
  seq bigint NOT NULL AUTO_INCREMENT,
  written_at bigint NOT NULL,
  task_id varchar(36) NOT NULL,
  operation varchar(64) NOT NULL,
  account varchar(256) NOT NULL,
  kind varchar(255) NOT NULL,
  namespace varchar(253) NOT NULL,
  name varchar(253) NOT NULL,
  uid varchar(64) NOT NULL,
  resource_version varchar(64) NOT NULL,
  deleted tinyint NOT NULL,
  application varchar(256) NOT NULL,
  cluster varchar(512) NOT NULL,
  PRIMARY KEY (seq),
  INDEX clouddriver_writes_object_idx (account(128), name(128), namespace(64)),
  INDEX clouddriver_writes_application_idx (application(128), account(128)),
  INDEX clouddriver_writes_written_idx (written_at)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
