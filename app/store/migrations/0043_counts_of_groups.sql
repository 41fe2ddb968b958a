-- All that is counted of visitors is counted of each product, version, device and language, too
-- (app/counts/cells.py). The release before reads `cells` alone, and finds in it what it knows. 0045
-- has each shop counted again.
ALTER TABLE report_counts
    ADD COLUMN more  bytea,  -- of a group: what `cells` has not
    ADD COLUMN times bytea;  -- of a group: seconds from step to step, and over spans
