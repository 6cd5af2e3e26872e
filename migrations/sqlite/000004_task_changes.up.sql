-- What a task did to each object, field by field, for people. The diff is JSON
-- without the content of secrets.
CREATE TABLE IF NOT EXISTS clouddriver_task_changes (
  task_id text NOT NULL,
  operation integer NOT NULL,
  step integer NOT NULL,
  account text NOT NULL,
  kind text NOT NULL,
  namespace text NOT NULL,
  name text NOT NULL,
  action text NOT NULL,
  diff text NOT NULL,
  PRIMARY KEY (task_id, operation, step)
);
