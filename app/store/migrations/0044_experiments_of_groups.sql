-- An experiment's numbers by the product, device and language of each visitor's first product page
-- (app/counts/experiments.py). What was counted so far has none, until its shop is counted again.
ALTER TABLE experiment_visitors
    ADD COLUMN product  integer,  -- as in report_values
    ADD COLUMN device   integer,
    ADD COLUMN language integer;

CREATE TABLE experiment_groups (
    experiment_id integer NOT NULL,
    dimension     smallint NOT NULL,
    value         integer NOT NULL,
    day           integer NOT NULL,
    is_held_back  boolean NOT NULL,
    shop_id       integer NOT NULL,
    visitors      integer NOT NULL,
    added         integer NOT NULL,
    saw_widget    integer NOT NULL,
    PRIMARY KEY (experiment_id, dimension, value, day, is_held_back)
);
