-- The contenders' table: one row an event with all that came with it, the key that makes a repeat
-- harmless, and an index to read a shop's events by time.
CREATE TABLE IF NOT EXISTS flat_events (
    shop_domain text NOT NULL,
    insert_id   text NOT NULL,
    event       text NOT NULL,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    customer_id text,
    client_id   text,
    session_id  text,
    properties  jsonb NOT NULL,
    context     jsonb NOT NULL,
    PRIMARY KEY (shop_domain, insert_id)
);
CREATE INDEX IF NOT EXISTS flat_events_by_time ON flat_events (shop_domain, occurred_at);
