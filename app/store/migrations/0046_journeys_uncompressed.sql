-- A journey is written again with each new event of its visitor; to compress a long one took a third
-- of that (a thousand events: 28 kB instead of 8). Not where the table is spread over nodes already:
-- Citus cannot change it there.
DO $$ BEGIN
    ALTER TABLE report_visitors ALTER events SET STORAGE EXTERNAL;
EXCEPTION WHEN feature_not_supported THEN NULL;
END $$;
