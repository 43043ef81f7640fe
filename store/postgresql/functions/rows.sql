-- The rows of the read tables that an append changes.
--
-- Braces stand for lists of columns, which store/columns.py declares.
--
-- Rules for changes: store/postgresql/functions.py.

-- Inserts or updates the rows. Columns that never change keep their value. A transaction of another stream fails: its
-- version becomes NULL.
CREATE OR REPLACE FUNCTION put_rows(wave jsonb, refused boolean[]) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF wave ? 'transactions' THEN
        INSERT INTO transactions AS t ({names of transactions})
        SELECT {items of transactions}
        FROM jsonb_to_recordset(wave -> 'transactions') AS n (write int, {record of transactions})
        WHERE NOT refused[n.write]
        ON CONFLICT (transaction_id) DO UPDATE SET
            {changes of transactions},
            version = CASE
                WHEN (t.stream_name, t.stream_id) = (excluded.stream_name, excluded.stream_id) THEN excluded.version
            END;
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
        INSERT INTO reviews ({names of reviews})
        SELECT {items of reviews}
        FROM jsonb_to_recordset(wave -> 'reviews') AS n (write int, {record of reviews})
        WHERE NOT refused[n.write]
        ON CONFLICT (review_id) DO UPDATE SET {changes of reviews};
    END IF;
END
$$;
