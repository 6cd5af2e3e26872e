DROP TABLE IF EXISTS clouddriver_registries;
