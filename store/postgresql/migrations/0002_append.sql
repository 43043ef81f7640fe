-- Appending a batch of writes in one call, each answered on its own. Called by store/postgresql/batch.py alone.
--
-- Everything that two batches may compete for is locked first, in sorted order: streams, owners, work. In READ
-- COMMITTED each later statement gets a snapshot of its own, which holds what the other batch has committed.

-- The only clock of leases and due times; all processes share it. It is the time when the call arrived: a wait for a
-- lock must not make an owner look alive.
CREATE FUNCTION store_now() RETURNS timestamptz
LANGUAGE sql STABLE
AS 'SELECT statement_timestamp()';

-- The batch: {"streams": [{"name", "id", "begins"}], "owners": […], "work": […], "waves": […]}. Writes of one wave
-- share no stream, claim or piece of work. A later wave sees the changes of the earlier ones. The rows answer the
-- writes that were not committed, by wave and number in the wave. A conflict has a row for each missed event.
CREATE FUNCTION append_batch(batch jsonb)
RETURNS TABLE (
    wave int, write int, answer text, part int, scope text, key text, value bytea,
    event_position bigint, event_id text, version bigint, type text, body bytea, hash bytea
)
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM lock_for_append(batch);
    FOR number IN 0 .. jsonb_array_length(batch -> 'waves') - 1 LOOP
        RETURN QUERY SELECT number, a.* FROM append_wave(batch -> 'waves' -> number) AS a;
    END LOOP;
END
$$;

CREATE FUNCTION lock_for_append(batch jsonb) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO heads (stream_name, stream_id, version, hash)
    SELECT s.name, s.id, 0, decode(repeat('00', 32), 'hex')
    FROM jsonb_to_recordset(batch -> 'streams') AS s (name text, id text, begins boolean)
    WHERE s.begins
    ORDER BY s.name COLLATE "C", s.id COLLATE "C"
    ON CONFLICT DO NOTHING;

    PERFORM 1
    FROM heads AS h
    JOIN jsonb_to_recordset(batch -> 'streams') AS s (name text, id text)
        ON h.stream_name = s.name AND h.stream_id = s.id
    ORDER BY h.stream_name, h.stream_id
    FOR UPDATE OF h;

    -- A process that declares an owner dead waits for this transaction, or this transaction sees its change.
    PERFORM 1
    FROM owners AS o
    WHERE o.owner = ANY (ARRAY(SELECT jsonb_array_elements_text(batch -> 'owners')))
    ORDER BY o.owner
    FOR KEY SHARE;

    PERFORM 1
    FROM work AS w
    WHERE w.work_id = ANY (ARRAY(SELECT jsonb_array_elements_text(batch -> 'work')))
    ORDER BY w.work_id
    FOR UPDATE;

    PERFORM announce_positions();
END
$$;

CREATE FUNCTION append_wave(wave jsonb)
RETURNS TABLE (
    write int, answer text, part int, scope text, key text, value bytea,
    event_position bigint, event_id text, version bigint, type text, body bytea, hash bytea
)
LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    refused boolean[] := array_fill(false, ARRAY[jsonb_array_length(wave -> 'writes')], ARRAY[0]);
    refusal record;
BEGIN
    FOR refusal IN SELECT * FROM refusals(wave) LOOP
        refused[refusal.write] := true;
        IF refusal.answer = 'conflict' THEN
            RETURN QUERY
            SELECT refusal.write, refusal.answer, NULL::int, NULL::text, NULL::text, NULL::bytea, m.*
            FROM (SELECT 1) AS once
            LEFT JOIN missed_events(wave -> 'writes' -> refusal.write) AS m ON true;
        ELSIF refusal.answer <> 'repeated' THEN
            RETURN QUERY
            SELECT
                refusal.write, refusal.answer, refusal.part, refusal.scope, refusal.key, refusal.value,
                NULL::bigint, NULL::text, NULL::bigint, NULL::text, NULL::bytea, NULL::bytea;
        END IF;
    END LOOP;

    -- Refused writes take no positions: they would leave gaps.
    INSERT INTO events (stream_name, stream_id, version, event_id, type, body, hash)
    SELECT e.stream_name, e.stream_id, e.version, e.event_id, e.type, e.body, e.hash
    FROM jsonb_to_recordset(wave -> 'events') AS e (
        write int, stream_name text, stream_id text, version bigint, event_id text, type text, body bytea, hash bytea
    )
    WHERE NOT refused[e.write]
    ORDER BY e.write, e.version;

    UPDATE heads AS h
    SET version = w.end_version, hash = w.end_hash
    FROM jsonb_to_recordset(wave -> 'writes')
        AS w (write int, name text, id text, end_version bigint, end_hash bytea)
    WHERE h.stream_name = w.name AND h.stream_id = w.id AND w.end_version IS NOT NULL AND NOT refused[w.write];

    INSERT INTO claims (scope, key, value)
    SELECT c.scope, c.key, c.value
    FROM jsonb_to_recordset(wave -> 'claims') AS c (write int, scope text, key text, value bytea)
    WHERE NOT refused[c.write]
    ORDER BY c.scope COLLATE "C", c.key COLLATE "C";

    PERFORM put_rows(wave, refused);
    PERFORM change_work(wave, refused);
END
$$;

-- Whether a head is an event of the stream, or its beginning.
CREATE FUNCTION is_past(the_name text, the_id text, the_version bigint, the_hash bytea) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT (the_version, the_hash) = (0, decode(repeat('00', 32), 'hex')) OR EXISTS (
        SELECT 1
        FROM events AS e
        WHERE e.stream_name = the_name AND e.stream_id = the_id AND e.version = the_version AND e.hash = the_hash
    )
$$;

-- Whether the stream continues after the head with exactly these events.
CREATE FUNCTION is_repeated(the_name text, the_id text, the_version bigint, the_hash bytea, event_ids text[])
RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT is_past(the_name, the_id, the_version, the_hash) AND ARRAY(
        SELECT e.event_id
        FROM events AS e
        WHERE e.stream_name = the_name AND e.stream_id = the_id
            AND e.version > the_version AND e.version <= the_version + cardinality(event_ids)
        ORDER BY e.version
    ) = event_ids
$$;

-- Whether all claims of a write without events are taken by equal values.
CREATE FUNCTION all_held(wave jsonb, the_write int) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT bool_and(held.value IS NOT DISTINCT FROM c.value)
    FROM jsonb_to_recordset(wave -> 'claims') AS c (write int, scope text, key text, value bytea)
    LEFT JOIN claims AS held ON held.scope = c.scope AND held.key = c.key
    WHERE c.write = the_write
$$;

-- The writes of a wave that are not stored, each with the first reason: a conflict first, then by part its claims
-- before its fence. "repeated" means that exactly this write is stored already.
CREATE FUNCTION refusals(wave jsonb)
RETURNS TABLE (write int, answer text, part int, scope text, key text, value bytea)
LANGUAGE sql
AS $$
    WITH sent AS MATERIALIZED (
        SELECT e.write, array_agg(e.event_id ORDER BY e.version) AS event_ids
        FROM jsonb_to_recordset(wave -> 'events') AS e (write int, version bigint, event_id text)
        GROUP BY e.write
    )
    SELECT DISTINCT ON (r.write) r.write, r.answer, r.part, r.scope, r.key, r.value
    FROM (
        SELECT
            w.write,
            CASE
                WHEN is_repeated(
                    w.name, w.id, w.version, w.hash, (SELECT s.event_ids FROM sent AS s WHERE s.write = w.write)
                ) THEN 'repeated'
                ELSE 'conflict'
            END,
            -1, 0, NULL, NULL, NULL::bytea
        FROM jsonb_to_recordset(wave -> 'writes') AS w (write int, name text, id text, version bigint, hash bytea)
        LEFT JOIN heads AS h ON h.stream_name = w.name AND h.stream_id = w.id
        WHERE w.version IS NOT NULL AND (h.version, h.hash) IS DISTINCT FROM (w.version, w.hash)
        UNION ALL
        SELECT
            c.write, CASE WHEN c.repeatable AND all_held(wave, c.write) THEN 'repeated' ELSE 'duplicate' END,
            c.part, c.place, c.scope, c.key, coalesce(held.value, c.earlier)
        FROM jsonb_to_recordset(wave -> 'claims')
            AS c (write int, part int, place int, scope text, key text, earlier bytea, repeatable boolean)
        LEFT JOIN claims AS held ON held.scope = c.scope AND held.key = c.key
        WHERE held.value IS NOT NULL OR c.earlier IS NOT NULL
        UNION ALL
        SELECT f.write, 'fenced', f.part, 2147483647, NULL, NULL, NULL
        FROM jsonb_to_recordset(wave -> 'fences') AS f (write int, part int, work_id text, token bigint)
        LEFT JOIN work AS k ON k.work_id = f.work_id
        WHERE k.token IS DISTINCT FROM f.token
    ) AS r (write, answer, part, place, scope, key, value)
    ORDER BY r.write, r.part, r.place
$$;

-- The events after the head of a write that met a conflict. None when its head was never in the stream.
CREATE FUNCTION missed_events(loser jsonb)
RETURNS TABLE (event_position bigint, event_id text, version bigint, type text, body bytea, hash bytea)
LANGUAGE sql STABLE
AS $$
    SELECT e.position, e.event_id, e.version, e.type, e.body, e.hash
    FROM jsonb_to_record(loser) AS w (name text, id text, version bigint, hash bytea)
    JOIN events AS e ON e.stream_name = w.name AND e.stream_id = w.id AND e.version > w.version
    WHERE is_past(w.name, w.id, w.version, w.hash)
    ORDER BY e.version
    LIMIT 256
$$;
