-- The tables may hold what the older rewrite wrote: they stay.
SELECT 1;
