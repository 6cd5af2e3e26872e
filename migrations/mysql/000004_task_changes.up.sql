-- What a task did to each object, field by field, for people. The diff is JSON
-- without the content of secrets.
CREATE TABLE IF NOT EXISTS clouddriver_task_changes (
  task_id varchar(36) NOT NULL,
  operation int NOT NULL,
  step int NOT NULL,
  account varchar(256) NOT NULL,
  kind varchar(255) NOT NULL,
  namespace varchar(253) NOT NULL,
  name varchar(253) NOT NULL,
  action varchar(32) NOT NULL,
  diff mediumtext NOT NULL,
  PRIMARY KEY (task_id, operation, step)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
