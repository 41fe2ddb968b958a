-- What a user agent tells, so that its raw text need not be kept.

ALTER TABLE batches
    ADD COLUMN device_class text,
    ADD COLUMN browser text,
    ADD COLUMN os text;

-- Up to this batch the shop's raw user agents have been taken out of the context.
ALTER TABLE shops ADD COLUMN user_agents_removed_to bigint NOT NULL DEFAULT 0;
