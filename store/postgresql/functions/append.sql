-- Appending a batch of writes in one call, each answered on its own. store/postgresql/batch.py makes the batch.
--
-- Everything that two batches may compete for is locked first, in sorted order: streams, owners, work. In READ
-- COMMITTED each later statement gets a snapshot of its own, which holds what the other batch has committed.
--
-- Rules for changes: store/postgresql/functions.py.

-- The batch: {"streams": [{"name", "id", "begins"}], "owners": […], "work": […], "waves": […]}. Writes of one wave
-- share no stream, claim or piece of work. A later wave sees the changes of the earlier ones. The rows answer the
-- writes that were not committed, by wave and number in the wave. A conflict has a row for each missed event.
CREATE OR REPLACE FUNCTION append_batch(batch jsonb)
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

-- Locks the batch's streams, owners and work.
CREATE OR REPLACE FUNCTION lock_for_append(batch jsonb) RETURNS void
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

-- Stores the writes of one wave that are not refused, and answers the others.
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

    -- An answer without stored rows rests on the commits of other transactions. A transaction that writes nothing does
    -- not wait for replicas. With this record it does, and so the answer is as durable as those commits.
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
