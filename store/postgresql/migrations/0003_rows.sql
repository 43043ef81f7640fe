-- The second half of an append: the rows that follow from its events, and its work.

-- Inserts or updates the rows. Columns that never change keep their value. A row of another customer is refused (NULL).
CREATE FUNCTION put_rows(wave jsonb, refused boolean[]) RETURNS void
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
        INSERT INTO reviews (review_id, stream_name, stream_id, transaction_id, reason, state, opened_at, closed_at)
        SELECT n.review_id, n.stream_name, n.stream_id, n.transaction_id, n.reason, n.state, n.opened_at, n.closed_at
        FROM jsonb_to_recordset(wave -> 'reviews') AS n (
            write int, review_id text, stream_name text, stream_id text, transaction_id text, reason text, state text,
            opened_at timestamptz, closed_at timestamptz
        )
        WHERE NOT refused[n.write]
        ON CONFLICT (review_id) DO UPDATE SET state = excluded.state, closed_at = excluded.closed_at;
    END IF;
END
$$;

-- By rounds: the second change of the same piece of work in one write is of the second round, and so on.
CREATE FUNCTION change_work(wave jsonb, refused boolean[]) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    FOR this_round IN 0 .. (wave ->> 'rounds')::int - 1 LOOP
        -- Work is not leased to an owner that is not registered: it would never be released.
        IF wave ? 'opened_work' THEN
            INSERT INTO work (
                work_id, stream_name, stream_id, transaction_id, gateway, action, event_type, state, owner, token,
                attempts, next_attempt_at, errors, payload, created_at, doubt
            )
            SELECT
                n.work_id, n.stream_name, n.stream_id, n.transaction_id, n.gateway, n.action, n.event_type,
                CASE WHEN o.owner IS NULL THEN 'queued' ELSE 'leased' END, o.owner, 1,
                0, store_now(), '[]', n.payload, store_now(), 0
            FROM jsonb_to_recordset(wave -> 'opened_work') AS n (
                write int, round int, work_id text, stream_name text, stream_id text, transaction_id text, gateway text,
                action text, event_type text, owner text, payload bytea
            )
            LEFT JOIN owners AS o ON o.owner = n.owner
            WHERE n.round = this_round AND NOT refused[n.write];
        END IF;

        -- Each move renews the token. Only leased work can stay leased.
        IF wave ? 'moved_work' THEN
            UPDATE work AS w
            SET action = n.action,
                state = CASE WHEN n.state = 'leased' AND w.owner IS NULL THEN 'queued' ELSE n.state END,
                owner = CASE WHEN n.state = 'leased' THEN w.owner END,
                token = w.token + 1,
                attempts = n.attempts,
                next_attempt_at = store_now() + make_interval(secs => n.delay_s),
                errors = n.errors::json,
                doubt = n.doubt
            FROM jsonb_to_recordset(wave -> 'moved_work') AS n (
                write int, round int, work_id text, action text, state text, attempts bigint, delay_s double precision,
                errors text, doubt smallint
            )
            WHERE w.work_id = n.work_id AND n.round = this_round AND NOT refused[n.write];
        END IF;

        IF wave ? 'closed_work' THEN
            DELETE FROM work AS w
            USING jsonb_to_recordset(wave -> 'closed_work') AS n (write int, round int, work_id text)
            WHERE w.work_id = n.work_id AND n.round = this_round AND NOT refused[n.write];
        END IF;
    END LOOP;
END
$$;

-- Queues all work that these owners lease, due at once, under new tokens and with at least this doubt, and deletes the
-- owners. Locks in the order of an append: owners before work. Reads all work: owners end rarely.
CREATE FUNCTION release_owners(the_owners text[], least_doubt int) RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    released bigint;
BEGIN
    IF cardinality(the_owners) = 0 THEN
        RETURN 0;
    END IF;
    PERFORM 1 FROM owners AS o WHERE o.owner = ANY (the_owners) ORDER BY o.owner FOR UPDATE;
    PERFORM 1 FROM work AS w WHERE w.state = 'leased' AND w.owner = ANY (the_owners) ORDER BY w.work_id FOR UPDATE;
    UPDATE work AS w
    SET state = 'queued', owner = NULL, token = w.token + 1, next_attempt_at = store_now(),
        doubt = greatest(w.doubt, least_doubt)
    WHERE w.state = 'leased' AND w.owner = ANY (the_owners);
    GET DIAGNOSTICS released = ROW_COUNT;
    DELETE FROM owners AS o WHERE o.owner = ANY (the_owners);
    RETURN released;
END
$$;

-- The same for owners whose heartbeat is older than this, or as far in the future: after a clock was set back, a dead
-- owner would otherwise keep its work for as long.
CREATE FUNCTION release_silent(silence interval, least_doubt int) RETURNS bigint
LANGUAGE sql
AS $$
    SELECT release_owners(
        ARRAY(
            SELECT o.owner
            FROM owners AS o
            WHERE o.heartbeat_at < store_now() - silence OR o.heartbeat_at > store_now() + silence
            ORDER BY o.owner
            FOR UPDATE
        ),
        least_doubt
    )
$$;
