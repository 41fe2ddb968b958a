-- What products are called, as the events of their pages say it (app/counts/titles.py). The release
-- before announces none, and leaves alone what this one announces.
ALTER TABLE report_news ADD COLUMN titles bytea;  -- null: none
ALTER TABLE report_news ALTER COLUMN titles SET STORAGE EXTERNAL;

CREATE TABLE report_titles (
    shop_id integer NOT NULL,
    product text NOT NULL,  -- as in report_values
    title   text NOT NULL,
    seen_at timestamptz NOT NULL,  -- of the event that brought it, a day old at most
    PRIMARY KEY (shop_id, product)
);
