DROP TABLE IF EXISTS clouddriver_task_changes;
