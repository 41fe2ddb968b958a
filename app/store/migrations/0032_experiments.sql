-- Shops that hold the widget back from a share of their visitors (app/counts/experiments.py).
CREATE TABLE experiments (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    shop_id     integer NOT NULL,
    share       smallint NOT NULL CHECK (share BETWEEN 1 AND 50),  -- percent held back
    salt        text NOT NULL,
    starts_at   timestamptz NOT NULL,
    ends_at     timestamptz CHECK (ends_at > starts_at),  -- null: until it is stopped
    -- The end with which its visitors are counted; null: they are not yet.
    counted_end timestamptz
);
CREATE INDEX experiments_by_shop ON experiments (shop_id, id);

-- What each visitor counts for: one row for each who saw a product page during an experiment.
CREATE TABLE experiment_visitors (
    experiment_id integer NOT NULL,
    visitor       uuid NOT NULL,  -- as in report_visitors
    shop_id       integer NOT NULL,
    is_held_back  boolean NOT NULL,
    first_at      timestamptz NOT NULL,  -- the first product page
    day           integer NOT NULL,      -- of it, in the shop's time zone, from 1970-01-01
    has_added     boolean NOT NULL,      -- to the cart, within the window
    saw_widget    boolean NOT NULL,
    PRIMARY KEY (experiment_id, visitor)
) WITH (fillfactor = 80);
CREATE INDEX experiment_visitors_by_time ON experiment_visitors (experiment_id, first_at);

-- Their sums, by the day of the first product page.
CREATE TABLE experiment_days (
    experiment_id integer NOT NULL,
    day           integer NOT NULL,
    is_held_back  boolean NOT NULL,
    shop_id       integer NOT NULL,
    visitors      integer NOT NULL,
    added         integer NOT NULL,
    saw_widget    integer NOT NULL,
    PRIMARY KEY (experiment_id, day, is_held_back)
);

-- Places in the pack of those batches that name a session and no client, who is in no arm.
ALTER TABLE report_news ADD COLUMN by_session integer[] NOT NULL DEFAULT '{}';
