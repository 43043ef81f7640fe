-- The generations of the database, and the server that it is on.
--
-- Rules for changes: store/postgresql/functions.py.

-- The timeline of the write-ahead log that is being written: that of the last checkpoint (pg_control_*) lags behind a
-- promotion. The system identifier is NULL where the role has no right to read it. Fails on a standby.
CREATE OR REPLACE FUNCTION server_identity(OUT system_id bigint, OUT timeline bigint)
LANGUAGE plpgsql
AS $$
BEGIN
    timeline := ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint;
    IF has_function_privilege('pg_control_system()', 'EXECUTE') THEN
        SELECT c.system_identifier INTO system_id FROM pg_control_system() AS c;
    END IF;
END
$$;

-- The newest generation, the server on which it began, and whether that is this server.
CREATE OR REPLACE FUNCTION generation_here(
    OUT number bigint, OUT system_id bigint, OUT timeline bigint, OUT is_here boolean
)
LANGUAGE sql
AS $$
    SELECT g.number, g.system_id, g.timeline, g.timeline = s.timeline AND coalesce(g.system_id = s.system_id, true)
    FROM generations AS g
    CROSS JOIN server_identity() AS s
    ORDER BY g.number DESC
    LIMIT 1
$$;

-- Begins the generation after this one, unless there is a later one already. Returns the newest. One of several
-- concurrent calls begins it. Unfinished work may have been sent: its leases are void, its certainty is SENT, and its
-- tokens are above those of all processes. Lost generations count too: processes hold tokens of them. Owners are locked
-- before work, as in an append.
CREATE OR REPLACE FUNCTION begin_generation(seen bigint) RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    newest bigint;
    apart bigint;
BEGIN
    PERFORM pg_advisory_xact_lock('generations'::regclass::oid::bigint::bit(32)::int, 0);
    SELECT max(g.number) INTO newest FROM generations AS g;
    IF newest > seen THEN
        RETURN newest;
    END IF;
    apart := 1048576 * (seen + 1 - coalesce(newest, 0)); -- store.port.TOKENS_APART for each generation
    INSERT INTO generations (number, begun_at, position, system_id, timeline)
    SELECT seen + 1, store_now(), last_position(), s.system_id, s.timeline FROM server_identity() AS s;
    PERFORM 1 FROM owners AS o ORDER BY o.owner FOR UPDATE;
    PERFORM 1 FROM work AS w ORDER BY w.work_id FOR UPDATE;
    UPDATE work AS w
    SET state = CASE w.state WHEN 'leased' THEN 'queued' ELSE w.state END,
        owner = NULL,
        token = w.token + apart,
        next_attempt_at = CASE w.state WHEN 'leased' THEN store_now() ELSE w.next_attempt_at END,
        doubt = CASE w.action WHEN 'apply' THEN w.doubt ELSE 2 END; -- SENT
    DELETE FROM owners;
    UPDATE breakers AS b SET epoch = b.epoch + apart; -- processes ignore records of an earlier epoch
    RETURN seen + 1;
END
$$;
