-- The counts in a smaller form, each shop's on its own (app/counts/README.md). The tables of the
-- form before stay for a release that still runs beside this one; nothing here reads them.

-- What was stored and is not counted yet: a row for each shop of a transaction, written within it.
CREATE TABLE report_news (
    shop_id    integer NOT NULL,
    id         bigint GENERATED ALWAYS AS IDENTITY,
    written_at timestamptz NOT NULL DEFAULT now(),
    batches    integer NOT NULL,
    size       integer NOT NULL,  -- bytes of `packed`
    packed     bytea NOT NULL,  -- app/batch/news.py
    PRIMARY KEY (shop_id, id)
);
ALTER TABLE report_news ALTER COLUMN packed SET STORAGE EXTERNAL;

-- What must be counted anew because events were deleted or a shop's settings changed.
CREATE TABLE report_marks (
    shop_id integer NOT NULL,
    visitor uuid  -- null: the whole shop
);
CREATE INDEX report_marks_by_shop ON report_marks (shop_id);

-- One row for each visitor of a shop with all that is counted of their events, packed.
CREATE TABLE report_visitors (
    shop_id integer NOT NULL,
    visitor uuid NOT NULL,  -- digest of genlook_client_id, or of the session where it is missing
    events  bytea NOT NULL, -- empty: a robot's
    PRIMARY KEY (shop_id, visitor)
);

-- One row for each day of a dimension, and for each product's day, with many numbers in it
-- (app/counts/cells.py). Days are numbered from 1970-01-01 in the shop's time zone.
CREATE TABLE report_counts (
    shop_id   integer NOT NULL,
    dimension smallint NOT NULL,
    part      integer NOT NULL,  -- of the day: a product's value, a scale of time; 0 for the whole
    day       integer NOT NULL,
    cells     bytea NOT NULL,
    PRIMARY KEY (shop_id, dimension, day, part)
);

-- A release that runs beside this one announces and marks in its own tables. Whole shops are then
-- counted again: it is over within a minute.
CREATE FUNCTION report_old_batches() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO report_marks (shop_id) SELECT DISTINCT unnest(NEW.shop_ids);
    RETURN NULL;
END $$;
CREATE TRIGGER report_old_batches AFTER INSERT ON unreported_batches
    FOR EACH ROW EXECUTE FUNCTION report_old_batches();
CREATE FUNCTION report_old_marks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO report_marks (shop_id, visitor) VALUES (NEW.shop_id, NEW.visitor);
    RETURN NULL;
END $$;
CREATE TRIGGER report_old_marks AFTER INSERT ON report_dirty
    FOR EACH ROW EXECUTE FUNCTION report_old_marks();

-- The numbers so far, which readers see until their shop is counted again.
INSERT INTO report_counts (shop_id, dimension, part, day, cells)
SELECT shop_id, dimension, part, day, string_agg(
    int4send(value) || substring(int4send(measure) FROM 4) || substring(int4send(previous) FROM 3)
    || int4send(number), ''::bytea)
FROM (
    SELECT shop_id, 7 AS dimension, 64 * (measure / 1000000) + CASE measure % 1000000 WHEN 0 THEN 0
        ELSE 9 * (length((measure % 1000000)::text) - 1) + left((measure % 1000000)::text, 1)::int
        END AS part, measure % 1000000 AS value, 0 AS measure, previous, day, number
    FROM report_cells WHERE measure >= 1000000
    UNION ALL
    SELECT shop_id, 6, 0, measure / 1000 - 10, measure % 1000, previous, day, number
    FROM report_cells WHERE measure BETWEEN 10000 AND 999999
    UNION ALL
    SELECT shop_id, dimension, CASE dimension WHEN 1 THEN value_id ELSE 0 END,
        CASE dimension WHEN 1 THEN 0 ELSE value_id END, measure, previous, day, number
    FROM report_cells
    WHERE measure < 10000 AND dimension < 5 AND (dimension < 2 OR value_id <> 0)
    UNION ALL
    SELECT shop_id, 5, 0, 0, 20, 0, day, sum(number)::int
    FROM report_cells WHERE dimension = 5 GROUP BY shop_id, day
) AS cells
WHERE previous BETWEEN 0 AND 65535
GROUP BY shop_id, dimension, part, day;

-- What was stored before is counted again.
INSERT INTO report_marks (shop_id) SELECT id FROM shops;
