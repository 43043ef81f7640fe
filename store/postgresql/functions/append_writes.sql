-- Appending a batch of writes that share nothing, from arrays. store/postgresql/arrays.py makes them.
--
-- The result is that of append_batch with one wave. The batch needs no document that is parsed for each statement. One
-- statement locks, compares and moves the heads, and one locks, compares and deletes the work that is closed under its
-- token. Locks are taken in the order of append_batch: streams, owners, work, each sorted. In READ COMMITTED each
-- statement gets a snapshot of its own, which holds what the other batch has committed.
--
-- Braces stand for lists of columns, which store/columns.py declares.
--
-- Rules for changes: store/postgresql/functions.py.

-- Writes are numbered from 1. Those with events come first, sorted by stream: versions and hashes are the heads that
-- they expect. The other rows name their write. Events are in the order of their positions. Rows of transactions are
-- flat arrays by type, as wide as the list of columns of the caller's version. transaction_begins: whether the row is
-- probably new. closed_ids ascend, with the token that the work must have or NULL. Fences are the other tokens. The
-- rows answer the writes that were not committed. A conflict has a row for each missed event.
CREATE OR REPLACE FUNCTION append_writes(
    stream_names text[], stream_ids text[],
    versions bigint[], hashes bytea[], end_versions bigint[], end_hashes bytea[],
    event_writes int[], event_versions bigint[], event_ids text[], event_types text[], event_bodies bytea[],
    event_hashes bytea[],
    transaction_writes int[], transaction_begins boolean[],
    transaction_texts text[], transaction_numbers bigint[], transaction_times timestamptz[],
    balance_writes int[], balance_currencies text[], balance_available bigint[], balance_reserved bigint[],
    claim_writes int[], claim_parts int[], claim_scopes text[], claim_keys text[], claim_values bytea[],
    opened_writes int[], opened_ids text[], opened_transactions text[], opened_gateways text[], opened_actions text[],
    opened_types text[], opened_owners text[], opened_payloads bytea[],
    moved_writes int[], moved_ids text[], moved_actions text[], moved_states text[], moved_attempts bigint[],
    moved_delays double precision[], moved_errors text[], moved_doubts int[],
    closed_writes int[], closed_parts int[], closed_ids text[], closed_tokens bigint[],
    fence_writes int[], fence_parts int[], fence_ids text[], fence_tokens bigint[]
)
RETURNS TABLE (
    write int, answer text, part int, scope text, key text, value bytea,
    event_position bigint, event_id text, version bigint, type text, body bytea, hash bytea
)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan -- every plan goes by keys, whatever the number of writes
AS $$
#variable_conflict use_column
DECLARE
    genesis CONSTANT bytea := decode(repeat('00', 32), 'hex');
    with_events CONSTANT int := cardinality(versions);
    beginning CONSTANT int := cardinality(array_positions(versions, 0::bigint));
    texts CONSTANT int := cardinality(transaction_texts) / greatest(cardinality(transaction_writes), 1);
    numbers CONSTANT int := cardinality(transaction_numbers) / greatest(cardinality(transaction_writes), 1);
    times CONSTANT int := cardinality(transaction_times) / greatest(cardinality(transaction_writes), 1);
    begun_names text[] := '{}';
    begun_ids text[] := '{}';
    continued int[] := '{}';
    registered text[];
    closed text[];
    refused boolean[]; -- by write; NULL and false: not refused
    moved_back int[] := '{}'; -- refused writes whose heads are moved already
    all_rows boolean := false;
    changed bigint;
    refusal record;
BEGIN
    IF beginning > 0 THEN
        WITH begun AS (
            INSERT INTO heads (stream_name, stream_id, version, hash)
            SELECT stream_names[i], stream_ids[i], end_versions[i], end_hashes[i]
            FROM generate_series(1, with_events) AS i
            WHERE versions[i] = 0 AND hashes[i] = genesis
            ORDER BY i
            ON CONFLICT DO NOTHING
            RETURNING stream_name, stream_id
        )
        SELECT coalesce(array_agg(b.stream_name), '{}'), coalesce(array_agg(b.stream_id), '{}')
        INTO begun_names, begun_ids
        FROM begun AS b;
    END IF;

    -- A beginning that was not inserted has a head of version 0, or is a conflict.
    IF cardinality(begun_ids) < with_events THEN
        WITH continued AS (
            UPDATE heads AS h
            SET version = n.end_version, hash = n.end_hash
            FROM unnest(stream_names, stream_ids, versions, hashes, end_versions, end_hashes) WITH ORDINALITY
                AS n (name, id, version, hash, end_version, end_hash, write)
            WHERE h.stream_name = n.name AND h.stream_id = n.id AND (h.version, h.hash) = (n.version, n.hash)
                AND (n.version > 0 OR cardinality(begun_ids) < beginning)
            RETURNING n.write
        )
        SELECT coalesce(array_agg(c.write), '{}') INTO continued FROM continued AS c;
    END IF;

    IF cardinality(begun_ids) + cardinality(continued) < with_events THEN
        refused := ARRAY(
            SELECT i <> ALL (continued) AND NOT EXISTS (
                SELECT 1
                FROM unnest(begun_names, begun_ids) AS b (name, id)
                WHERE versions[i] = 0 AND b.name = stream_names[i] AND b.id = stream_ids[i]
            )
            FROM generate_series(1, with_events) AS i
            ORDER BY i
        );
        -- No missed events when the head was never in the stream.
        RETURN QUERY
        SELECT
            i, 'conflict', NULL::int, NULL::text, NULL::text, NULL::bytea,
            m.position, m.event_id, m.version, m.type, m.body, m.hash
        FROM generate_series(1, with_events) AS i
        LEFT JOIN LATERAL (
            SELECT e.position, e.event_id, e.version, e.type, e.body, e.hash
            FROM events AS e
            WHERE e.stream_name = stream_names[i] AND e.stream_id = stream_ids[i] AND e.version > versions[i]
            ORDER BY e.version
            LIMIT 256
        ) AS m ON (versions[i], hashes[i]) = (0, genesis) OR EXISTS (
            SELECT 1
            FROM events AS e
            WHERE e.stream_name = stream_names[i] AND e.stream_id = stream_ids[i] AND e.version = versions[i]
                AND e.hash = hashes[i]
        )
        WHERE refused[i]
        ORDER BY i, m.version;
    END IF;

    -- A process that declares an owner dead waits for this transaction, or this transaction sees its change.
    IF cardinality(opened_writes) > 0 THEN
        registered := ARRAY(
            SELECT o.owner
            FROM owners AS o
            WHERE o.owner = ANY (opened_owners)
            ORDER BY o.owner
            FOR KEY SHARE
        );
    END IF;

    IF cardinality(fence_writes) > 0 OR cardinality(moved_writes) > 0 THEN
        PERFORM 1
        FROM work AS w
        WHERE w.work_id = ANY (fence_ids || moved_ids || closed_ids)
        ORDER BY w.work_id
        FOR UPDATE;
    END IF;

    IF cardinality(claim_writes) > 0 OR cardinality(fence_writes) > 0 THEN
        FOR refusal IN
            SELECT
                claim_writes[i] AS write, claim_parts[i] AS part, i AS place, 'duplicate' AS answer,
                held.scope, held.key, held.value
            FROM generate_series(1, cardinality(claim_writes)) AS i
            JOIN claims AS held ON held.scope = claim_scopes[i] AND held.key = claim_keys[i]
            UNION ALL
            SELECT fence_writes[i], fence_parts[i], 2147483647, 'fenced', NULL, NULL, NULL
            FROM generate_series(1, cardinality(fence_writes)) AS i
            LEFT JOIN work AS w ON w.work_id = fence_ids[i]
            WHERE w.token IS DISTINCT FROM fence_tokens[i]
            ORDER BY write, part, place
        LOOP
            CONTINUE WHEN refused[refusal.write];
            refused[refusal.write] := true;
            moved_back := moved_back || refusal.write;
            RETURN QUERY
            SELECT
                refusal.write, refusal.answer, refusal.part, refusal.scope, refusal.key, refusal.value,
                NULL::bigint, NULL::text, NULL::bigint, NULL::text, NULL::bytea, NULL::bytea;
        END LOOP;
    END IF;

    IF cardinality(closed_writes) > 0 THEN
        -- width_bucket is the place of an id in closed_ids.
        WITH closed AS (
            DELETE FROM work AS w
            WHERE w.work_id = ANY (closed_ids)
                AND refused[closed_writes[width_bucket(w.work_id, closed_ids)]] IS NOT TRUE
                AND w.token = coalesce(closed_tokens[width_bucket(w.work_id, closed_ids)], w.token)
            RETURNING w.work_id
        )
        SELECT coalesce(array_agg(c.work_id), '{}') INTO closed FROM closed AS c;
        IF cardinality(closed) < cardinality(closed_writes) THEN
            FOR refusal IN
                SELECT closed_writes[i] AS write, closed_parts[i] AS part
                FROM generate_series(1, cardinality(closed_writes)) AS i
                WHERE closed_tokens[i] IS NOT NULL AND closed_ids[i] <> ALL (closed)
                    AND refused[closed_writes[i]] IS NOT TRUE
            LOOP
                refused[refusal.write] := true;
                moved_back := moved_back || refusal.write;
                RETURN QUERY
                SELECT
                    refusal.write, 'fenced', refusal.part, NULL::text, NULL::text, NULL::bytea,
                    NULL::bigint, NULL::text, NULL::bigint, NULL::text, NULL::bytea, NULL::bytea;
            END LOOP;
        END IF;
    END IF;

    IF cardinality(moved_back) > 0 THEN
        UPDATE heads AS h
        SET version = n.version, hash = n.hash
        FROM unnest(stream_names, stream_ids, versions, hashes) WITH ORDINALITY AS n (name, id, version, hash, write)
        WHERE h.stream_name = n.name AND h.stream_id = n.id AND n.version IS NOT NULL AND n.write = ANY (moved_back);
    END IF;

    -- An answer without stored rows rests on the commits of other transactions. A transaction that writes nothing does
    -- not wait for replicas. With this record it does, and so the answer is as durable as those commits.
    IF refused IS NOT NULL THEN
        PERFORM pg_logical_emit_message(true, 'payments', 'confirm'::text);
    END IF;

    -- Refused writes take no positions: they would leave gaps.
    IF with_events > 0 THEN
        PERFORM announce_positions();
        INSERT INTO events (stream_name, stream_id, version, event_id, type, body, hash)
        SELECT
            stream_names[event_writes[i]], stream_ids[event_writes[i]], event_versions[i], event_ids[i],
            event_types[i], event_bodies[i], event_hashes[i]
        FROM generate_series(1, cardinality(event_writes)) AS i
        WHERE refused[event_writes[i]] IS NOT TRUE
        ORDER BY i;
    END IF;

    -- Rows as in put_rows. Known transactions are updated, which takes less than an insertion that meets a row.
    IF false = ANY (transaction_begins) THEN
        UPDATE transactions AS t
        SET
            {changes of transactions},
            version = CASE
                WHEN (t.stream_name, t.stream_id) = (excluded.stream_name, excluded.stream_id) THEN excluded.version
            END
        FROM (
            SELECT n.write, {transaction_columns}
            FROM unnest(transaction_writes) WITH ORDINALITY AS n (write, i)
            WHERE NOT transaction_begins[n.i] AND refused[n.write] IS NOT TRUE
        ) AS excluded
        WHERE t.transaction_id = excluded.transaction_id;
        GET DIAGNOSTICS changed = ROW_COUNT;
        all_rows := changed < (
            SELECT count(*)
            FROM unnest(transaction_writes, transaction_begins) AS n (write, begins)
            WHERE NOT n.begins AND refused[n.write] IS NOT TRUE
        );
    END IF;
    IF all_rows OR true = ANY (transaction_begins) THEN
        INSERT INTO transactions AS t ({names of transactions})
        SELECT {names of transactions as n}
        FROM (
            SELECT {transaction_columns}
            FROM unnest(transaction_writes) WITH ORDINALITY AS n (write, i)
            WHERE (all_rows OR transaction_begins[n.i]) AND refused[n.write] IS NOT TRUE
        ) AS n
        ON CONFLICT (transaction_id) DO UPDATE SET
            {changes of transactions},
            version = CASE
                WHEN (t.stream_name, t.stream_id) = (excluded.stream_name, excluded.stream_id) THEN excluded.version
            END;
    END IF;

    IF cardinality(balance_writes) > 0 THEN
        INSERT INTO balances (stream_name, stream_id, currency, available_minor, reserved_minor)
        SELECT
            stream_names[balance_writes[i]], stream_ids[balance_writes[i]], balance_currencies[i],
            balance_available[i], balance_reserved[i]
        FROM generate_series(1, cardinality(balance_writes)) AS i
        WHERE refused[balance_writes[i]] IS NOT TRUE
        ON CONFLICT (stream_name, stream_id, currency) DO UPDATE SET
            available_minor = excluded.available_minor, reserved_minor = excluded.reserved_minor;
    END IF;

    -- Work is not leased to an owner that is not registered: it would never be released.
    IF cardinality(opened_writes) > 0 THEN
        INSERT INTO work (
            work_id, stream_name, stream_id, transaction_id, gateway, action, event_type, state, owner, token,
            attempts, next_attempt_at, errors, payload, created_at, doubt
        )
        SELECT
            opened_ids[i], stream_names[opened_writes[i]], stream_ids[opened_writes[i]], opened_transactions[i],
            opened_gateways[i], opened_actions[i], opened_types[i],
            CASE WHEN opened_owners[i] = ANY (registered) THEN 'leased' ELSE 'queued' END,
            CASE WHEN opened_owners[i] = ANY (registered) THEN opened_owners[i] END, 1,
            0, store_now(), '[]', opened_payloads[i], store_now(),
            -- LEASE_LOST or NOT_SENT: a process that was held up and lost its registration may still send it.
            CASE WHEN opened_owners[i] IS NOT NULL AND opened_owners[i] <> ALL (registered) THEN 1 ELSE 0 END
        FROM generate_series(1, cardinality(opened_writes)) AS i
        WHERE refused[opened_writes[i]] IS NOT TRUE;
    END IF;

    -- Each move renews the token. Only leased work can stay leased.
    IF cardinality(moved_writes) > 0 THEN
        UPDATE work AS w
        SET action = moved_actions[n.i],
            state = CASE WHEN moved_states[n.i] = 'leased' AND w.owner IS NULL THEN 'queued' ELSE moved_states[n.i] END,
            owner = CASE WHEN moved_states[n.i] = 'leased' THEN w.owner END,
            token = w.token + 1,
            attempts = moved_attempts[n.i],
            next_attempt_at = store_now() + make_interval(secs => moved_delays[n.i]),
            errors = moved_errors[n.i]::json,
            doubt = moved_doubts[n.i]
        FROM unnest(moved_writes) WITH ORDINALITY AS n (write, i)
        WHERE w.work_id = moved_ids[n.i] AND refused[n.write] IS NOT TRUE;
    END IF;

    IF cardinality(claim_writes) > 0 THEN
        INSERT INTO claims (scope, key, value)
        SELECT claim_scopes[i], claim_keys[i], claim_values[i]
        FROM generate_series(1, cardinality(claim_writes)) AS i
        WHERE refused[claim_writes[i]] IS NOT TRUE
        ORDER BY claim_scopes[i] COLLATE "C", claim_keys[i] COLLATE "C";
    END IF;
END
$$;
