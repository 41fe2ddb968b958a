-- All that is counted of visitors is counted of each product, version, device and language, too, each
-- value of a day in a row of its own. The release before reads `cells` alone, and finds in it what it
-- knows (app/counts/cells.py).
ALTER TABLE report_counts
    ADD COLUMN more  bytea,  -- of a group: what `cells` has not
    ADD COLUMN times bytea;  -- of a group: seconds from step to step

-- Counted by another definition: each shop is counted again by the release that counts so.
DROP TRIGGER report_outdated ON report_counts;
CREATE TRIGGER report_outdated AFTER INSERT OR UPDATE ON report_counts
    FOR EACH ROW WHEN (current_setting('genlook.definition', true) IS DISTINCT FROM '3')
    EXECUTE FUNCTION report_outdated();
INSERT INTO report_outdated (shop_id) SELECT id FROM shops ON CONFLICT DO NOTHING;
