-- A batch of writes as one statement, and so one transaction: INSERT INTO batch with the values below.
--
-- Each writing connection creates this view. Every value is a JSON array with an array for each row. Blobs are
-- hexadecimal text. The expected heads and the fences are compared with the store. If anything differs, nothing is
-- stored. The primary key of claims refuses a claim that is taken. Braces stand for lists of columns, which
-- store/columns.py declares.

CREATE TEMP VIEW batch AS
SELECT
    NULL AS moved_heads,   -- stream_name, stream_id, version and hash before, version and hash after,
                           -- {currency: [available_minor, reserved_minor]} or NULL
    NULL AS new_heads,     -- the same without what was before: of streams that have no events yet
    NULL AS fences,        -- of work: work_id, token
    NULL AS events,        -- the columns as they are named below, here and in the following
    NULL AS transactions,
    NULL AS reviews,
    NULL AS claims,
    NULL AS opened_work,   -- work_id, stream_name, stream_id, transaction_id, gateway, action, event_type, owner,
                           -- payload, now
    NULL AS moved_work,    -- work_id, action, state, attempts, next_attempt_at, errors, doubt
    NULL AS closed_work;   -- work_id

CREATE TEMP TRIGGER append_batch INSTEAD OF INSERT ON batch
BEGIN
    SELECT RAISE(ABORT, 'not as the batch expects')
    WHERE EXISTS (
            SELECT 1
            FROM jsonb_each(NEW.fences) AS f
            WHERE (SELECT w.token FROM work AS w WHERE w.work_id = f.value ->> 0) IS NOT f.value ->> 1
        );

    -- Balances that are not named keep their value.
    UPDATE heads
    SET version = h.value ->> 4,
        hash = unhex(h.value ->> 5),
        balances = iif(h.value ->> 6 IS NULL, balances, json_patch(balances, h.value ->> 6))
    FROM jsonb_each(NEW.moved_heads) AS h
    WHERE
        stream_name = h.value ->> 0 AND stream_id = h.value ->> 1
        AND version = h.value ->> 2 AND hash = unhex(h.value ->> 3);

    SELECT RAISE(ABORT, 'not as the batch expects')
    WHERE changes() <> coalesce(json_array_length(NEW.moved_heads), 0);

    INSERT INTO heads (stream_name, stream_id, version, hash, balances)
    SELECT value ->> 0, value ->> 1, value ->> 2, unhex(value ->> 3), coalesce(value ->> 4, '{}')
    FROM jsonb_each(NEW.new_heads);

    -- In the order of the array: it is the order of the positions.
    INSERT INTO events (stream_name, stream_id, version, event_id, type, body, hash)
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, unhex(value ->> 5), unhex(value ->> 6)
    FROM jsonb_each(NEW.events);

    -- Insert or update. Columns that never change keep their value. A transaction of another stream fails: its version
    -- becomes NULL.
    INSERT INTO transactions ({names of transactions})
    SELECT {items of transactions}
    FROM jsonb_each(NEW.transactions)
    WHERE true
    ON CONFLICT (transaction_id) DO UPDATE SET
        {changes of transactions},
        version = CASE
            WHEN stream_name = excluded.stream_name AND stream_id = excluded.stream_id THEN excluded.version
        END;

    INSERT INTO reviews ({names of reviews})
    SELECT {items of reviews}
    FROM jsonb_each(NEW.reviews)
    WHERE true
    ON CONFLICT (review_id) DO UPDATE SET
        {changes of reviews};

    INSERT INTO claims (scope, key, value)
    SELECT value ->> 0, value ->> 1, unhex(value ->> 2)
    FROM jsonb_each(NEW.claims);

    -- Work is not leased to an owner that is not registered: it would never be released.
    INSERT INTO work (
        work_id, stream_name, stream_id, transaction_id, gateway, action, event_type, state, owner, token, attempts,
        next_attempt_at, errors, payload, created_at, doubt
    )
    SELECT
        n.value ->> 0, n.value ->> 1, n.value ->> 2, n.value ->> 3, n.value ->> 4, n.value ->> 5, n.value ->> 6,
        CASE WHEN o.owner IS NULL THEN 'queued' ELSE 'leased' END, o.owner, 1, 0, n.value ->> 9, '[]',
        unhex(n.value ->> 8), n.value ->> 9,
        -- LEASE_LOST: a process that was held up and lost its registration may still send it.
        n.value ->> 7 IS NOT NULL AND o.owner IS NULL
    FROM jsonb_each(NEW.opened_work) AS n
    LEFT JOIN owners AS o ON o.owner = n.value ->> 7;

    -- Each move renews the token. Only leased work can stay leased.
    UPDATE work
    SET action = m.value ->> 1,
        state = CASE WHEN m.value ->> 2 = 'leased' AND owner IS NULL THEN 'queued' ELSE m.value ->> 2 END,
        owner = CASE WHEN m.value ->> 2 = 'leased' THEN owner END,
        token = token + 1,
        attempts = m.value ->> 3,
        next_attempt_at = m.value ->> 4,
        errors = m.value ->> 5,
        doubt = m.value ->> 6
    FROM jsonb_each(NEW.moved_work) AS m
    WHERE work_id = m.value ->> 0;

    DELETE FROM work
    WHERE work_id IN (SELECT value ->> 0 FROM jsonb_each(NEW.closed_work));
END;
