-- What a request's next step is (app/privacy/work.py). Generated, so that a release that does not
-- know the column can run beside this one.

ALTER TABLE privacy_requests ADD COLUMN state text NOT NULL GENERATED ALWAYS AS (
    CASE
        WHEN due_at IS NULL THEN 'closed'
        WHEN due_at >= timestamptz '9999-01-01 00:00+00' THEN 'failed'  -- until `retry`
        WHEN outcome IS NULL AND kind = 'export_customer' THEN 'exporting'
        WHEN outcome IS NULL AND batches_to IS NULL THEN 'searching'
        WHEN outcome IS NULL THEN 'settling'
        WHEN batches_to IS NOT NULL THEN 'watching'
        ELSE 'closing'  -- cut off between the outcome and the end
    END
) STORED;
