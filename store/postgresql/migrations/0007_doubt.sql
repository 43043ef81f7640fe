-- The same as in 0003, except for the doubt of new work whose owner is not registered any more: a process that was held
-- up may still send it, after other processes have released its leases.
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
                CASE WHEN n.owner IS NOT NULL AND o.owner IS NULL THEN 1 ELSE 0 END -- LEASE_LOST, NONE
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
