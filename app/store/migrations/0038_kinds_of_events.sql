-- An event's name as a number, where it is one of the catalogue (app/store/kinds.py). The release
-- before reads names alone: where something is stored already, numbers are written a week from now,
-- so that until then one can go back to it.

ALTER TABLE events
    ALTER COLUMN event DROP NOT NULL,
    ADD COLUMN kind smallint;  -- null where `event` has the name

CREATE FUNCTION event_name(kind smallint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE kind % 100
    WHEN 1 THEN 'widget:button_click'
    WHEN 2 THEN 'widget:image_upload'
    WHEN 3 THEN 'widget:generation_start'
    WHEN 4 THEN 'widget:result_view'
    WHEN 5 THEN 'widget:share_clicked'
    WHEN 6 THEN 'widget:download_clicked'
    WHEN 7 THEN 'widget:add_to_cart_clicked'
    WHEN 8 THEN 'widget:add_to_cart_success'
    WHEN 9 THEN 'product_page:page_view'
    WHEN 10 THEN 'product_page:cart_add'
END;

DO $$
BEGIN
    EXECUTE format(
        'CREATE FUNCTION kinds_since() RETURNS timestamptz LANGUAGE sql STABLE RETURN %L::timestamptz',
        CASE WHEN EXISTS (SELECT FROM stored_batches) THEN now() + interval '7 days' ELSE now() END
    );
END $$;

-- Events with their names.
CREATE VIEW named_events AS
SELECT
    occurred_at, insert_key, batch_id, sent_timestamp, shop_id,
    coalesce(event, event_name(kind)) AS event,
    insert_id, properties, extra, kind
FROM events;

CREATE OR REPLACE VIEW tracked_events AS
SELECT
    shops.domain AS shop_domain,
    coalesce(events.event, event_name(events.kind)) AS event,
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
    coalesce(events.properties, CASE WHEN events.kind >= 100
        THEN jsonb_build_object('product_id', batches.product_id) END, '{}') AS properties,
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
