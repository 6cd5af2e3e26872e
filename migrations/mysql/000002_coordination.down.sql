DROP TABLE IF EXISTS clouddriver_markers;
DROP TABLE IF EXISTS clouddriver_leases;
DROP TABLE IF EXISTS clouddriver_tokens;
