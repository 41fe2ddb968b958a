-- What Shopify has told us by webhook, and what shoppers and merchants have asked for.

CREATE TABLE webhook_deliveries (
    id          text PRIMARY KEY,  -- X-Shopify-Webhook-Id: a repeated delivery is taken once
    topic       text NOT NULL,
    shop_domain text NOT NULL,
    received_at timestamptz NOT NULL
);
CREATE INDEX webhook_deliveries_by_time ON webhook_deliveries (received_at);

-- A queue for the worker, and afterwards the proof of what was done.
CREATE TABLE privacy_requests (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind         text NOT NULL,         -- erase_customer, erase_shop, export_customer
    shop_domain  text NOT NULL,
    source       text NOT NULL,         -- the webhook's topic, or the command
    requested_at timestamptz NOT NULL,  -- what was received before is concerned
    subject      jsonb,                 -- who is meant; null once it is done
    traces       jsonb,                 -- salted digests of that, for what arrives late
    due_at       timestamptz DEFAULT now(),  -- when to go on; null: nothing is left to do
    attempts     integer NOT NULL DEFAULT 0, -- that failed in a row
    started_at   timestamptz,
    searched_at  timestamptz,           -- when all that was stored had been searched
    batches_to   bigint,                -- up to this batch all is searched
    rejected_to  bigint,                -- up to this rejected event all is searched
    erased       jsonb NOT NULL DEFAULT '{}',  -- number of rows by table
    outcome      text,                  -- null while it is not done
    completed_at timestamptz,
    export       jsonb,
    expires_at   timestamptz            -- when the export is deleted
);
CREATE INDEX privacy_requests_due ON privacy_requests (due_at) WHERE due_at IS NOT NULL;
