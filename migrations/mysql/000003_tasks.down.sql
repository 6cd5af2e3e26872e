DROP TABLE IF EXISTS clouddriver_writes;
DROP TABLE IF EXISTS clouddriver_task_steps;
DROP TABLE IF EXISTS clouddriver_task_history;
DROP TABLE IF EXISTS clouddriver_tasks;
