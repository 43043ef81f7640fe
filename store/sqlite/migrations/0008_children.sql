-- Refunds, captures and voids with their parents, authorizations, and the correlation id of each transaction.

-- A table's CHECKs cannot be changed: the table is created again. No statement uses the views on it any more.
DROP VIEW transaction_views;
DROP VIEW transaction_rows;
ALTER TABLE transactions RENAME TO transactions_before;

CREATE TABLE transactions (
    transaction_id           TEXT    NOT NULL,
    stream_name              TEXT    NOT NULL,
    stream_id                TEXT    NOT NULL,
    kind                     TEXT    NOT NULL,
    gateway                  TEXT    NOT NULL,
    amount_minor             INTEGER NOT NULL,
    currency                 TEXT    NOT NULL,
    details                  TEXT    NOT NULL,
    status                   TEXT    NOT NULL,
    reserved                 INTEGER NOT NULL,
    submissions              INTEGER NOT NULL,
    gateway_reference        TEXT,
    failure_code             TEXT,
    failure_category         TEXT,
    failure_message          TEXT,
    version                  INTEGER NOT NULL,
    created_at               INTEGER NOT NULL,
    updated_at               INTEGER NOT NULL,
    correlation_id           TEXT,
    manual_capture           INTEGER NOT NULL DEFAULT 0,
    parent_id                TEXT,
    parent_reference         TEXT,
    reason                   TEXT,
    captured_minor           INTEGER,
    refunded_minor           INTEGER NOT NULL DEFAULT 0,
    refunding_minor          INTEGER NOT NULL DEFAULT 0,
    ended_by                 TEXT,
    authorization_expires_at INTEGER,
    CONSTRAINT transactions_pk PRIMARY KEY (transaction_id),
    CONSTRAINT transactions_kind_known CHECK (kind IN ('deposit', 'withdrawal', 'refund', 'capture', 'void')),
    CONSTRAINT transactions_status_known CHECK (
        status IN ('pending', 'unknown', 'processed', 'authorized', 'completed', 'voided', 'failed')
    ),
    CONSTRAINT transactions_failure_when_failed CHECK ((status = 'failed') = (failure_code IS NOT NULL)),
    CONSTRAINT transactions_parent_of_children CHECK (
        (kind IN ('refund', 'capture', 'void')) = (parent_id IS NOT NULL)
    ),
    CONSTRAINT transactions_captured_within CHECK (captured_minor BETWEEN 1 AND amount_minor),
    CONSTRAINT transactions_refunds_within CHECK (
        refunded_minor >= 0
        AND refunding_minor >= 0
        AND refunded_minor + refunding_minor <= coalesce(captured_minor, amount_minor)
    )
) STRICT, WITHOUT ROWID;

INSERT INTO transactions (
    transaction_id, stream_name, stream_id, kind, gateway, amount_minor, currency, details, status, reserved,
    submissions, gateway_reference, failure_code, failure_category, failure_message, version, created_at, updated_at
)
SELECT
    transaction_id, stream_name, stream_id, kind, gateway, amount_minor, currency, details, status, reserved,
    submissions, gateway_reference, failure_code, failure_category, failure_message, version, created_at, updated_at
FROM transactions_before;

DROP TABLE transactions_before;

-- One pass over the events. An event that cannot be read fills no row; an audit reports it.
UPDATE transactions AS t
SET correlation_id = e.correlation_id
FROM (
    SELECT
        stream_name,
        stream_id,
        CASE WHEN json_valid(text) THEN text ->> '$.data.transaction_id' END AS transaction_id,
        CASE WHEN json_valid(text) THEN text ->> '$.metadata.correlation_id' END AS correlation_id
    FROM (
        SELECT stream_name, stream_id, CAST(body AS TEXT) AS text
        FROM events
        WHERE type IN ('DepositReceived', 'WithdrawalReceived')
    )
) AS e
WHERE t.transaction_id = e.transaction_id AND t.stream_name = e.stream_name AND t.stream_id = e.stream_id;

CREATE INDEX transactions_by_stream ON transactions (stream_name, stream_id, transaction_id);
CREATE INDEX transactions_listed ON transactions (stream_name, gateway, status, kind, transaction_id);
CREATE INDEX transactions_by_parent ON transactions (stream_name, parent_id, transaction_id)
WHERE parent_id IS NOT NULL;
CREATE INDEX transactions_by_reference ON transactions (stream_name, gateway_reference, transaction_id)
WHERE gateway_reference IS NOT NULL;
CREATE INDEX transactions_by_correlation ON transactions (stream_name, correlation_id, transaction_id)
WHERE correlation_id IS NOT NULL;

-- What a process understands (domain.events.VOCABULARY). A process of an earlier version does not name it.
ALTER TABLE owners ADD COLUMN vocabulary INTEGER NOT NULL DEFAULT 1;
