-- The tables may hold what the older rewrite wrote: they stay.
DO 0;
