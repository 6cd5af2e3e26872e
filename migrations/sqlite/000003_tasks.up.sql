-- A task is one request with its operations. Its owner holds it until
-- expires_at and writes with its fence, which grows with every new owner.
-- Times are milliseconds since 1970.
CREATE TABLE IF NOT EXISTS clouddriver_tasks (
  id text NOT NULL PRIMARY KEY,
  request_id text NOT NULL,
  state text NOT NULL,
  owner text NOT NULL,
  fence integer NOT NULL,
  expires_at integer NOT NULL,
  started_at integer NOT NULL,
  ended_at integer NOT NULL DEFAULT 0,
  context text NOT NULL,
  -- What is left to do, sealed when there is a key; dropped at the end.
  key_id text NOT NULL DEFAULT '',
  request text,
  result text
);
CREATE UNIQUE INDEX IF NOT EXISTS clouddriver_tasks_request_idx ON clouddriver_tasks (request_id);
CREATE INDEX IF NOT EXISTS clouddriver_tasks_state_idx ON clouddriver_tasks (state, expires_at);
CREATE INDEX IF NOT EXISTS clouddriver_tasks_ended_idx ON clouddriver_tasks (ended_at);
CREATE TABLE IF NOT EXISTS clouddriver_task_history (
  task_id text NOT NULL,
  position integer NOT NULL,
  phase text NOT NULL,
  status text NOT NULL,
  PRIMARY KEY (task_id, position)
);
-- The plan of an operation has the step -1. Rows go when the task ends.
CREATE TABLE IF NOT EXISTS clouddriver_task_steps (
  task_id text NOT NULL,
  operation integer NOT NULL,
  step integer NOT NULL,
  key_id text NOT NULL DEFAULT '',
  body text NOT NULL,
  PRIMARY KEY (task_id, operation, step)
);
-- The ledger: every object that was written, with the version it got.
CREATE TABLE IF NOT EXISTS clouddriver_writes (
  seq integer PRIMARY KEY AUTOINCREMENT,
  written_at integer NOT NULL,
  task_id text NOT NULL,
  operation text NOT NULL,
  account text NOT NULL,
  kind text NOT NULL,
  namespace text NOT NULL,
  name text NOT NULL,
  uid text NOT NULL,
  resource_version text NOT NULL,
  deleted integer NOT NULL,
  application text NOT NULL,
  cluster text NOT NULL
);
CREATE INDEX IF NOT EXISTS clouddriver_writes_object_idx ON clouddriver_writes (account, name, namespace);
CREATE INDEX IF NOT EXISTS clouddriver_writes_application_idx ON clouddriver_writes (application, account);
CREATE INDEX IF NOT EXISTS clouddriver_writes_written_idx ON clouddriver_writes (written_at);
