-- Shops, the batches they send, and the events in them.

CREATE TABLE shops (
    id             integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    domain         text NOT NULL UNIQUE,
    first_seen_at  timestamptz NOT NULL DEFAULT now(),
    installed_at   timestamptz,
    uninstalled_at timestamptz
);

-- One row for each accepted request: what its events share is stored once.
CREATE TABLE batches (
    id          bigint NOT NULL,
    received_at timestamptz NOT NULL,
    shop_id     integer NOT NULL,
    customer_id text,
    client_id   text,
    session_id  text,
    pageview_id text,
    product_id  text,
    variant_id  text,
    lib_version text,
    current_url text,
    context     jsonb NOT NULL,  -- without the fields that have a column
    PRIMARY KEY (shop_id, id)
);
CREATE SEQUENCE batch_ids OWNED BY batches.id;

-- No foreign keys: a check for each row would cost more than writing it, and the writer is the
-- only one who writes. The key is the guarantee that nothing is stored twice; it holds the column
-- of the partitions, and the one by which a distributed Postgres would shard.
CREATE TABLE events (
    occurred_at    timestamptz NOT NULL,
    insert_key     uuid NOT NULL,      -- 16-byte digest of insert_id
    batch_id       bigint NOT NULL,
    sent_timestamp timestamptz,        -- null where it is occurred_at
    shop_id        integer NOT NULL,
    event          text NOT NULL,
    insert_id      text NOT NULL,
    properties     jsonb,              -- null stands for {}
    extra          jsonb,              -- null stands for {}
    PRIMARY KEY (shop_id, occurred_at, insert_key)
) PARTITION BY RANGE (occurred_at);

-- Takes what no partition's range covers; the ranges are made ahead of time (app/store/partitions).
CREATE TABLE events_default PARTITION OF events DEFAULT;

CREATE TABLE rejected_events (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reject_key  uuid NOT NULL UNIQUE,  -- a redelivered entry is stored once
    shop_domain text NOT NULL,
    received_at timestamptz NOT NULL,
    code        text NOT NULL,
    details     jsonb NOT NULL,
    payload     text NOT NULL,         -- what was sent, JSON where it could be read
    context     jsonb,
    customer_id text,
    event_index integer                -- null where the payload is not one event but a whole body
);
CREATE INDEX rejected_events_by_shop ON rejected_events (shop_domain, received_at);
CREATE INDEX rejected_events_by_time ON rejected_events (received_at);

CREATE VIEW tracked_events AS
SELECT
    shops.domain AS shop_domain,
    events.event,
    events.occurred_at,
    batches.received_at,
    coalesce(events.sent_timestamp, events.occurred_at) AS sent_timestamp,
    events.insert_id,
    batches.client_id,
    batches.session_id,
    batches.pageview_id,
    batches.product_id,
    batches.variant_id,
    batches.customer_id,
    batches.lib_version,
    batches.current_url,
    coalesce(events.properties, '{}') AS properties,
    coalesce(events.extra, '{}') AS extra,
    batches.context || jsonb_strip_nulls(jsonb_build_object(
        'genlook_client_id', batches.client_id,
        '$session_id', batches.session_id,
        '$pageview_id', batches.pageview_id,
        'genlook_product_id', batches.product_id,
        'genlook_variant_id', batches.variant_id,
        'genlook_lib_version', batches.lib_version,
        '$current_url', batches.current_url
    )) AS context
FROM events
JOIN batches ON batches.shop_id = events.shop_id AND batches.id = events.batch_id
JOIN shops ON shops.id = events.shop_id;
