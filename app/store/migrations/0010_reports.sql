-- What merchants read: counts that the worker keeps up to date (app/merchant/rollups.py).

-- Written with each transaction's batches, and taken away once they are counted: committed or not
-- together with them, so that no order of commits hides one. The times are those of each batch's
-- first and last event, by which events are found without an index of their own.
CREATE TABLE unreported_batches (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    batch_ids  bigint[] NOT NULL,
    shop_ids   integer[] NOT NULL,
    first_at   timestamptz[] NOT NULL,
    last_at    timestamptz[] NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now()
);

-- What must be counted anew because events were deleted or a shop's settings changed.
CREATE TABLE report_dirty (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    shop_id integer NOT NULL,
    visitor uuid  -- null: the whole shop
);

CREATE TABLE report_shops (
    shop_id      integer PRIMARY KEY,
    time_zone    text NOT NULL DEFAULT 'UTC',
    window_hours integer NOT NULL DEFAULT 24,  -- from the product page to the cart
    counted_at   timestamptz  -- when the worker last counted something of it
);

-- Products, versions and the like, by number.
CREATE TABLE report_values (
    id        integer GENERATED ALWAYS AS IDENTITY (MINVALUE 1000) PRIMARY KEY,
    shop_id   integer NOT NULL,
    dimension smallint NOT NULL,
    value     text NOT NULL,
    UNIQUE (shop_id, dimension, value)
);

-- One row for each visitor of a shop with all that is counted of their events, packed.
CREATE TABLE report_journeys (
    shop_id integer NOT NULL,
    visitor uuid NOT NULL,  -- digest of genlook_client_id, or of the session where it is missing
    events  bytea NOT NULL,
    PRIMARY KEY (shop_id, visitor)
);

-- The sum of `number` over from <= previous <= day < to is how many different visitors did
-- `measure` between the days `from` and `to` (see app/counts/measures.py). Days are numbered
-- from 1970-01-01 in the shop's time zone.
CREATE TABLE report_cells (
    shop_id   integer NOT NULL,
    dimension smallint NOT NULL,
    measure   integer NOT NULL,
    value_id  integer NOT NULL,
    previous  integer NOT NULL,
    day       integer NOT NULL,
    number    integer NOT NULL,
    PRIMARY KEY (shop_id, dimension, measure, value_id, previous, day)
);

-- What was stored before there were reports.
INSERT INTO report_dirty (shop_id) SELECT id FROM shops;
