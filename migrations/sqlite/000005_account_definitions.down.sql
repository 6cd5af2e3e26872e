-- The tables hold accounts: they stay.
SELECT 1;
