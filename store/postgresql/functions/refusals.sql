-- The checks of an append: which writes are refused, and why.
--
-- Rules for changes: store/postgresql/functions.py.

-- Whether the head is an event of the stream, or its beginning.
CREATE OR REPLACE FUNCTION is_past(the_name text, the_id text, the_version bigint, the_hash bytea) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT (the_version, the_hash) = (0, decode(repeat('00', 32), 'hex')) OR EXISTS (
        SELECT 1
        FROM events AS e
        WHERE e.stream_name = the_name AND e.stream_id = the_id AND e.version = the_version AND e.hash = the_hash
    )
$$;

-- Whether the stream continues after the head with exactly these events.
CREATE OR REPLACE FUNCTION is_repeated(the_name text, the_id text, the_version bigint, the_hash bytea, event_ids text[])
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
CREATE OR REPLACE FUNCTION all_held(wave jsonb, the_write int) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT bool_and(held.value IS NOT DISTINCT FROM c.value)
    FROM jsonb_to_recordset(wave -> 'claims') AS c (write int, scope text, key text, value bytea)
    LEFT JOIN claims AS held ON held.scope = c.scope AND held.key = c.key
    WHERE c.write = the_write
$$;

-- The writes of a wave that are not stored, each with the first reason: a conflict first, then by part its claims
-- before its fence. "repeated" means that exactly this write is stored already. A write that "confirms" has no events,
-- and is refused only when its head is not in the stream.
CREATE OR REPLACE FUNCTION refusals(wave jsonb)
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
        FROM jsonb_to_recordset(wave -> 'writes')
            AS w (write int, name text, id text, version bigint, hash bytea, confirms boolean)
        LEFT JOIN heads AS h ON h.stream_name = w.name AND h.stream_id = w.id
        WHERE w.version IS NOT NULL AND (h.version, h.hash) IS DISTINCT FROM (w.version, w.hash)
            AND NOT (w.confirms IS TRUE AND is_past(w.name, w.id, w.version, w.hash))
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
CREATE OR REPLACE FUNCTION missed_events(loser jsonb)
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
