-- What a user agent tells, so that its raw text need not be kept; and when batches were received,
-- for what is kept for a time only. That index costs the writer next to nothing: it has one entry
-- for each 128 pages, and batches lie in the order of their receipt.

ALTER TABLE batches
    ADD COLUMN device_class text,
    ADD COLUMN browser text,
    ADD COLUMN os text;

CREATE INDEX batches_by_time ON batches USING brin (received_at) WITH (autosummarize = on);
