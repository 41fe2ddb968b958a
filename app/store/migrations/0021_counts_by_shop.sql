-- The counts in a smaller form, each shop's on its own (app/counts/README.md). The tables of the
-- form before stay for a release that still runs beside this one; nothing here reads them.

-- What was stored and is not counted yet: a row for each shop of a transaction, written within it.
CREATE TABLE report_news (
    shop_id    integer NOT NULL,
    id         bigint GENERATED ALWAYS AS IDENTITY,
    written_at timestamptz NOT NULL DEFAULT now(),
    batches    integer NOT NULL,
    size       integer NOT NULL,  -- bytes of `packed`
    packed     bytea STORAGE EXTERNAL NOT NULL,  -- app/batch/news.py
    PRIMARY KEY (shop_id, id)
);

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

-- What was stored before.
INSERT INTO report_marks (shop_id) SELECT id FROM shops;
