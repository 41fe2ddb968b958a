-- What many batches share is stored once (app/store/contexts.py): their row names the context of
-- the browser and that of the page. `batches` becomes a view that shows all of it as before, and
-- takes what the release before writes to it.

ALTER TABLE batches RENAME TO stored_batches;

-- Rows of the release before, and what cannot be shared, have their context in the row.
ALTER TABLE stored_batches
    ALTER COLUMN context DROP NOT NULL,
    ADD COLUMN client uuid,  -- of ids that are UUIDs; others are in the columns of text
    ADD COLUMN session uuid,
    ADD COLUMN pageview uuid,
    ADD COLUMN browser_part integer,  -- ids in `contexts`; null: all is in the row
    ADD COLUMN page_part integer;

CREATE TABLE contexts (
    digest       bigint NOT NULL,   -- with `id`, of all that follows
    shop_id      integer NOT NULL,
    id           integer NOT NULL,
    month        date NOT NULL,     -- the first day of that in which its batches were received
    product_id   text,
    variant_id   text,
    lib_version  text,
    current_url  text,
    device_class text,
    browser      text,
    os           text,
    context      jsonb NOT NULL,    -- without the fields that have a column
    PRIMARY KEY (shop_id, id)
);

-- Those of which a batch has gone; they go with the last one (app/store/unused_contexts.py).
CREATE TABLE doubted_contexts (
    number  bigint GENERATED ALWAYS AS IDENTITY,
    shop_id integer NOT NULL,
    id      integer NOT NULL,
    PRIMARY KEY (shop_id, number)
);
-- Another one whenever contexts were deleted: writers then forget which there are.
CREATE SEQUENCE context_generations OWNED BY contexts.id;

CREATE FUNCTION doubt_contexts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO doubted_contexts (shop_id, id)
    SELECT shop_id, browser_part FROM gone WHERE browser_part IS NOT NULL
    UNION
    SELECT shop_id, page_part FROM gone WHERE page_part IS NOT NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER doubt_deleted AFTER DELETE ON stored_batches
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION doubt_contexts();
CREATE TRIGGER doubt_updated AFTER UPDATE ON stored_batches
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION doubt_contexts();

CREATE VIEW batches AS
SELECT
    stored.id,
    stored.received_at,
    stored.shop_id,
    stored.customer_id,
    coalesce(stored.client_id, stored.client::text) AS client_id,
    coalesce(stored.session_id, stored.session::text) AS session_id,
    coalesce(stored.pageview_id, stored.pageview::text) AS pageview_id,
    coalesce(stored.product_id, page.product_id) AS product_id,
    coalesce(stored.variant_id, page.variant_id) AS variant_id,
    coalesce(stored.lib_version, browser.lib_version) AS lib_version,
    coalesce(stored.current_url, page.current_url) AS current_url,
    coalesce(stored.context, browser.context || page.context, '{}') AS context,
    coalesce(stored.device_class, browser.device_class) AS device_class,
    coalesce(stored.browser, browser.browser) AS browser,
    coalesce(stored.os, browser.os) AS os,
    stored.ctid
FROM stored_batches AS stored
LEFT JOIN contexts AS browser ON browser.shop_id = stored.shop_id AND browser.id = stored.browser_part
LEFT JOIN contexts AS page ON page.shop_id = stored.shop_id AND page.id = stored.page_part;

CREATE FUNCTION insert_batch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO stored_batches (
        id, received_at, shop_id, customer_id, client_id, session_id, pageview_id, product_id,
        variant_id, lib_version, current_url, context, device_class, browser, os
    ) VALUES (
        NEW.id, NEW.received_at, NEW.shop_id, NEW.customer_id, NEW.client_id, NEW.session_id,
        NEW.pageview_id, NEW.product_id, NEW.variant_id, NEW.lib_version, NEW.current_url,
        NEW.context, NEW.device_class, NEW.browser, NEW.os
    );
    RETURN NEW;
END $$;
CREATE TRIGGER insert_batch INSTEAD OF INSERT ON batches
    FOR EACH ROW EXECUTE FUNCTION insert_batch();

-- What is changed shares nothing any more.
CREATE FUNCTION update_batch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE stored_batches SET
        received_at = NEW.received_at, customer_id = NEW.customer_id, client_id = NEW.client_id,
        session_id = NEW.session_id, pageview_id = NEW.pageview_id, product_id = NEW.product_id,
        variant_id = NEW.variant_id, lib_version = NEW.lib_version,
        current_url = NEW.current_url, context = NEW.context, device_class = NEW.device_class,
        browser = NEW.browser, os = NEW.os,
        client = NULL, session = NULL, pageview = NULL, browser_part = NULL, page_part = NULL
    WHERE shop_id = OLD.shop_id AND id = OLD.id;
    RETURN NEW;
END $$;
CREATE TRIGGER update_batch INSTEAD OF UPDATE ON batches
    FOR EACH ROW EXECUTE FUNCTION update_batch();

CREATE FUNCTION delete_batch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM stored_batches WHERE shop_id = OLD.shop_id AND id = OLD.id;
    RETURN OLD;
END $$;
CREATE TRIGGER delete_batch INSTEAD OF DELETE ON batches
    FOR EACH ROW EXECUTE FUNCTION delete_batch();

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
