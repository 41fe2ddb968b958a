-- What is counted has grown by the times from the product page to the cart and from the button to
-- the result: each shop is counted again by the release that counts so (app/counts/README.md). What
-- the release before counts beside it, or after a way back, marks the shop where only this one looks:
-- in report_outdated the older worker would find it, count the shop in its way, and so mark it again.
CREATE TABLE report_recounts (
    shop_id    integer NOT NULL,
    definition smallint NOT NULL,  -- COUNTED of the release that is to count it, or of a later one
    PRIMARY KEY (shop_id, definition)
);
INSERT INTO report_recounts (shop_id, definition) SELECT id, 3 FROM shops;

CREATE OR REPLACE FUNCTION report_outdated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO report_recounts (shop_id, definition) VALUES (NEW.shop_id, 3)
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER report_outdated AFTER INSERT OR UPDATE ON report_counts
    FOR EACH ROW WHEN (current_setting('genlook.definition', true) IS DISTINCT FROM '3')
    EXECUTE FUNCTION report_outdated();
