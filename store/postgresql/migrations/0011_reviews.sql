-- The gateway's report of each review with what was on record then, and the list of callbacks that wait for their
-- transaction.

-- Both are JSON, and NULL for reviews of earlier versions. The type is text, because no query reads their members.
ALTER TABLE reviews
    ADD COLUMN said text,
    ADD COLUMN expected text;

-- Inserts or updates the rows. Columns that never change keep their value. A row of another customer is refused (NULL).
CREATE OR REPLACE FUNCTION put_rows(wave jsonb, refused boolean[]) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF wave ? 'transactions' THEN
        INSERT INTO transactions AS t (
            transaction_id, stream_name, stream_id, kind, gateway, amount_minor, currency, details, status, reserved,
            submissions, gateway_reference, failure_code, failure_category, failure_message, version, created_at,
            updated_at
        )
        SELECT
            n.transaction_id, n.stream_name, n.stream_id, n.kind, n.gateway, n.amount_minor, n.currency,
            n.details::json, n.status, n.reserved, n.submissions, n.gateway_reference, n.failure_code,
            n.failure_category, n.failure_message, n.version, n.created_at, n.updated_at
        FROM jsonb_to_recordset(wave -> 'transactions') AS n (
            write int, transaction_id text, stream_name text, stream_id text, kind text, gateway text,
            amount_minor bigint, currency text, details text, status text, reserved boolean, submissions bigint,
            gateway_reference text, failure_code text, failure_category text, failure_message text, version bigint,
            created_at timestamptz, updated_at timestamptz
        )
        WHERE NOT refused[n.write]
        ON CONFLICT (transaction_id) DO UPDATE SET
            status = excluded.status,
            submissions = excluded.submissions,
            gateway_reference = excluded.gateway_reference,
            failure_code = excluded.failure_code,
            failure_category = excluded.failure_category,
            failure_message = excluded.failure_message,
            version = CASE
                WHEN (t.stream_name, t.stream_id) = (excluded.stream_name, excluded.stream_id) THEN excluded.version
            END,
            updated_at = excluded.updated_at;
    END IF;

    IF wave ? 'balances' THEN
        INSERT INTO balances (stream_name, stream_id, currency, available_minor, reserved_minor)
        SELECT n.stream_name, n.stream_id, n.currency, n.available_minor, n.reserved_minor
        FROM jsonb_to_recordset(wave -> 'balances') AS n (
            write int, stream_name text, stream_id text, currency text, available_minor bigint, reserved_minor bigint
        )
        WHERE NOT refused[n.write]
        ON CONFLICT (stream_name, stream_id, currency) DO UPDATE SET
            available_minor = excluded.available_minor, reserved_minor = excluded.reserved_minor;
    END IF;

    IF wave ? 'reviews' THEN
        INSERT INTO reviews (
            review_id, stream_name, stream_id, transaction_id, reason, state, opened_at, closed_at, said, expected
        )
        SELECT
            n.review_id, n.stream_name, n.stream_id, n.transaction_id, n.reason, n.state, n.opened_at, n.closed_at,
            n.said, n.expected
        FROM jsonb_to_recordset(wave -> 'reviews') AS n (
            write int, review_id text, stream_name text, stream_id text, transaction_id text, reason text, state text,
            opened_at timestamptz, closed_at timestamptz, said text, expected text
        )
        WHERE NOT refused[n.write]
        ON CONFLICT (review_id) DO UPDATE SET state = excluded.state, closed_at = excluded.closed_at;
    END IF;
END
$$;

-- The ids have the collation of the other lists: queries.sql states the reason.
CREATE INDEX work_callbacks ON work (stream_name, gateway, work_id COLLATE "POSIX") WHERE action = 'apply';
