-- The work that an append changes, and the work of owners that end.
--
-- Rules for changes: store/postgresql/functions.py.

-- Opens, moves and closes work, by rounds: the second change of the same piece of work in one write is of the second
-- round, and so on. The column doubt is a store.port.DeliveryCertainty.
CREATE OR REPLACE FUNCTION change_work(wave jsonb, refused boolean[]) RETURNS void
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
                0, store_now(), '[]', n.payload, store_now(),
                -- LEASE_LOST or NOT_SENT: a process that was held up and lost its registration may still send it.
                CASE WHEN n.owner IS NOT NULL AND o.owner IS NULL THEN 1 ELSE 0 END
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

-- Queues all work that these owners lease, due at once, under new tokens and with at least this certainty, and deletes
-- the owners. Locks in the order of an append: owners before work. Reads all work: owners end rarely.
CREATE OR REPLACE FUNCTION release_owners(the_owners text[], least_doubt int) RETURNS bigint
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
CREATE OR REPLACE FUNCTION release_silent(silence interval, least_doubt int) RETURNS bigint
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
