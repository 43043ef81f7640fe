-- Refunds, captures and voids with their parents, authorizations, and the correlation id of each transaction.

ALTER TABLE transactions
    ADD COLUMN correlation_id           text COLLATE "C",
    ADD COLUMN manual_capture           boolean NOT NULL DEFAULT false,
    ADD COLUMN parent_id                text COLLATE "C",
    ADD COLUMN parent_reference         text,
    ADD COLUMN reason                   text,
    ADD COLUMN captured_minor           bigint,
    ADD COLUMN refunded_minor           bigint NOT NULL DEFAULT 0,
    ADD COLUMN refunding_minor          bigint NOT NULL DEFAULT 0,
    ADD COLUMN ended_by                 text COLLATE "C",
    ADD COLUMN authorization_expires_at timestamptz,
    DROP CONSTRAINT transactions_kind_known,
    ADD CONSTRAINT transactions_kind_known CHECK (kind IN ('deposit', 'withdrawal', 'refund', 'capture', 'void')),
    DROP CONSTRAINT transactions_status_known,
    ADD CONSTRAINT transactions_status_known CHECK (
        status IN ('pending', 'unknown', 'processed', 'authorized', 'completed', 'voided', 'failed')
    ),
    ADD CONSTRAINT transactions_parent_of_children CHECK (
        (kind IN ('refund', 'capture', 'void')) = (parent_id IS NOT NULL)
    ),
    ADD CONSTRAINT transactions_captured_within CHECK (captured_minor BETWEEN 1 AND amount_minor),
    ADD CONSTRAINT transactions_refunds_within CHECK (
        refunded_minor >= 0
        AND refunding_minor >= 0
        AND refunded_minor + refunding_minor <= coalesce(captured_minor, amount_minor)
    ),
    ADD CONSTRAINT transactions_expiry_readable CHECK (is_readable(authorization_expires_at));

-- What the event that received a transaction says about it; NULL for damaged bytes, which an audit reports.
CREATE FUNCTION received_ids(body bytea, OUT transaction_id text, OUT correlation_id text)
LANGUAGE plpgsql
AS $$
DECLARE
    event json;
BEGIN
    event := convert_from(body, 'UTF8');
    transaction_id := event -> 'data' ->> 'transaction_id';
    correlation_id := event -> 'metadata' ->> 'correlation_id';
EXCEPTION WHEN data_exception THEN
    transaction_id := NULL;
END
$$;

-- Every row changes, which takes half the time without these indexes.
DROP INDEX transactions_by_stream;
DROP INDEX transactions_listed;

-- One pass over the events.
UPDATE transactions AS t
SET correlation_id = r.correlation_id
FROM events AS e
CROSS JOIN LATERAL received_ids(e.body) AS r
WHERE e.type IN ('DepositReceived', 'WithdrawalReceived')
    AND t.transaction_id = r.transaction_id AND t.stream_name = e.stream_name AND t.stream_id = e.stream_id;

DROP FUNCTION received_ids(bytea);

CREATE INDEX transactions_by_stream ON transactions (stream_name, stream_id, transaction_id COLLATE "POSIX");
CREATE INDEX transactions_listed ON transactions (stream_name, gateway, status, kind, transaction_id COLLATE "POSIX");
CREATE INDEX transactions_by_parent ON transactions (stream_name, parent_id, transaction_id COLLATE "POSIX")
WHERE parent_id IS NOT NULL;
CREATE INDEX transactions_by_reference ON transactions (stream_name, gateway_reference, transaction_id COLLATE "POSIX")
WHERE gateway_reference IS NOT NULL;
CREATE INDEX transactions_by_correlation ON transactions (stream_name, correlation_id, transaction_id COLLATE "POSIX")
WHERE correlation_id IS NOT NULL;

-- What a process understands (domain.events.VOCABULARY). A process of an earlier version does not name it.
ALTER TABLE owners ADD COLUMN vocabulary int NOT NULL DEFAULT 1;

-- A process of an earlier version that was frozen until its leases were lost must not claim what it cannot read.
CREATE INDEX transactions_held ON transactions (transaction_id) WHERE manual_capture;

CREATE FUNCTION refuse_earlier_version() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF NEW.vocabulary < 2 AND (
        EXISTS (SELECT 1 FROM transactions AS t WHERE t.parent_id IS NOT NULL)
        OR EXISTS (SELECT 1 FROM transactions AS t WHERE t.manual_capture)
    ) THEN
        RAISE EXCEPTION 'the database has transactions that this version of the service cannot read';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER owners_refuse_earlier_versions
BEFORE INSERT ON owners
FOR EACH ROW EXECUTE FUNCTION refuse_earlier_version();
