-- What is counted of an event, and who a visitor is, has changed: each shop is counted again by the
-- release that counts so (app/counts/README.md). The release before goes on counting in its way
-- while it runs; what it has counted or announced marks its shop, which it does not know of.
CREATE TABLE report_outdated (
    shop_id integer PRIMARY KEY
);
INSERT INTO report_outdated (shop_id) SELECT id FROM shops;

ALTER TABLE report_news ADD COLUMN definition smallint NOT NULL DEFAULT 1;

CREATE FUNCTION report_outdated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO report_outdated (shop_id) VALUES (NEW.shop_id) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER report_outdated AFTER INSERT OR UPDATE ON report_counts
    FOR EACH ROW WHEN (current_setting('genlook.definition', true) IS DISTINCT FROM '2')
    EXECUTE FUNCTION report_outdated();

-- The days of which retention has deleted events keep their numbers when a shop is counted again.
CREATE TABLE report_kept (
    shop_id integer PRIMARY KEY,
    before  integer NOT NULL  -- the first day that is not kept, in the shop's time zone
);

-- Those of which it has done so already: before the first month with a partition, where more was
-- counted than the DEFAULT partition holds.
INSERT INTO report_kept (shop_id, before)
SELECT shop_id, max(day) + 1 FROM (
    SELECT shop_id, day,
        ('x' || encode(substring(cells FROM 8 FOR 4), 'hex'))::bit(32)::integer AS counted
    FROM report_counts WHERE dimension = 5 AND octet_length(cells) = 11
) AS days
LEFT JOIN (
    SELECT shop_id, (occurred_at AT TIME ZONE coalesce(time_zone, 'UTC'))::date - date '1970-01-01'
        AS day, count(*) AS stored
    FROM events_default LEFT JOIN report_shops USING (shop_id) GROUP BY 1, 2
) AS stored USING (shop_id, day)
WHERE counted > coalesce(stored, 0) AND day < (
    SELECT min(to_date(substring(relname FROM 8), 'YYYY_MM')) - date '1970-01-01' + 1
    FROM pg_class WHERE relispartition AND relkind = 'r' AND relname ~ '^events_\d{4}_\d\d$'
    AND pg_table_is_visible(oid)
)
GROUP BY shop_id;
