-- An export for a shopper may be of any size: its rows stand here, a piece of about a megabyte each.
CREATE TABLE export_pieces (
    request_id  bigint NOT NULL,   -- of privacy_requests, whose column export has the rest
    attempt     bigint NOT NULL,   -- only those of the attempt that is named there count
    number      integer NOT NULL,
    shop_domain text NOT NULL,
    kind        text NOT NULL,     -- events, rejected_events
    rows        text NOT NULL,     -- JSON as the export shows it, joined with commas
    PRIMARY KEY (request_id, attempt, number)
);

-- Why a request was not carried out. One that will not be tried again by itself is due in the year
-- 9999: not a column of privacy_requests, for the release before stops at one that it does not know.
CREATE TABLE privacy_failures (
    request_id  bigint PRIMARY KEY,
    shop_domain text NOT NULL,
    tries       integer NOT NULL,
    cause       text NOT NULL,     -- the error's type and SQLSTATE
    failed_at   timestamptz NOT NULL
);
