-- Answers that rest on stored data are as durable as a commit, on synchronous replicas as well.
--
-- A transaction that has written nothing does not wait for replicas when it commits.

-- The same as in 0002, except for the record that lets the commit wait.
CREATE OR REPLACE FUNCTION append_wave(wave jsonb)
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

    -- An answer without stored rows rests on the commits of other transactions, or on an earlier call. With this record
    -- the commit waits for replicas, and so the answer is as durable as those commits.
    IF wave ? 'confirms' OR true = ANY (refused) THEN
        PERFORM pg_logical_emit_message(true, 'payments', 'confirm'::text);
    END IF;

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

-- The same as in 0002, except for writes that "confirm" what their writer has read: they have no events, and are
-- refused only when their head is not in the stream.
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
