-- The tables may be Java Clouddriver's, with its accounts: they stay.
SELECT 1;
