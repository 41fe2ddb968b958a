-- An id that is a UUID is its own key, and stored once: insert_id is null there.

ALTER TABLE events ALTER COLUMN insert_id DROP NOT NULL;

CREATE OR REPLACE VIEW tracked_events AS
SELECT
    shops.domain AS shop_domain,
    events.event,
    events.occurred_at,
    batches.received_at,
    coalesce(events.sent_timestamp, events.occurred_at) AS sent_timestamp,
    coalesce(events.insert_id, events.insert_key::text) AS insert_id,
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
