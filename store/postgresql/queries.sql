-- Every statement of the PostgreSQL adapter but migrations, rights and what settles a lost connection (backends.py).
-- Braces stand for lists of columns, which store/columns.py declares, and for fragments.
-- Lists are ordered by id as "POSIX" compares, which is as "C" does; but only the index that is meant has its ids so.
-- Else the planner walks along the primary key, as soon as it believes that most rows fit, and drops what does not: for
-- ever, when nothing does.

-- fragment: attention
-- What needs attention about the transaction t, the most urgent first.
CASE
    WHEN EXISTS (SELECT 1 FROM reviews AS r WHERE r.transaction_id = t.transaction_id AND r.state = 'open')
        THEN 'review'
    ELSE (
        SELECT CASE max(w.state) WHEN 'parked' THEN 'parked' WHEN 'dead' THEN 'dead_letter' END
        FROM work AS w
        WHERE w.transaction_id = t.transaction_id AND w.state IN ('dead', 'parked')
    )
END;

-- name: append_batch
-- Append many writes, in a transaction of its own; rows only for those that are not committed.
SELECT wave, write, answer, part, scope, key, value, event_position, event_id, version, type, body, hash
FROM append_batch(%s::jsonb);

-- name: confirm
-- Write something, so that this commit waits for replicas, and with it all that was committed before.
SELECT pg_logical_emit_message(true, 'payments', 'confirm'::text);

-- name: select_first_event
-- Whether a write was stored: the id of the event that has its first version, and where the stream ends.
SELECT e.event_id, h.version, h.hash
FROM heads AS h
LEFT JOIN events AS e ON e.stream_name = h.stream_name AND e.stream_id = h.stream_id AND e.version = %s
WHERE h.stream_name = %s AND h.stream_id = %s;

-- name: select_claim
-- Whether a claim is held.
SELECT value
FROM claims
WHERE scope = %s AND key = %s;

-- name: select_work_token
-- The token that a fence is compared with.
SELECT token
FROM work
WHERE work_id = %s;

-- name: load
-- A customer's head and balances, with a row for each of the named transactions that exist; one snapshot.
SELECT h.version, h.hash, b.currencies, b.available, b.reserved, {columns of transactions as t}
FROM heads AS h
CROSS JOIN LATERAL (
    SELECT array_agg(currency) AS currencies, array_agg(available_minor) AS available, array_agg(reserved_minor) AS reserved
    FROM balances
    WHERE stream_name = h.stream_name AND stream_id = h.stream_id
) AS b
LEFT JOIN transactions AS t
    ON t.transaction_id = ANY (%(transaction_ids)s) AND t.stream_name = h.stream_name AND t.stream_id = h.stream_id
WHERE h.stream_name = %(stream_name)s AND h.stream_id = %(stream_id)s AND h.version > 0;

-- name: select_customer
-- A customer's version and balances, currencies ascending; a row for each balance, or one; one snapshot.
SELECT h.version, b.currency, b.available_minor, b.reserved_minor
FROM heads AS h
LEFT JOIN balances AS b ON b.stream_name = h.stream_name AND b.stream_id = h.stream_id
WHERE h.stream_name = %s AND h.stream_id = %s AND h.version > 0
ORDER BY b.currency;

-- name: select_events_after
-- A stream's events above a version, ascending.
SELECT position, stream_name, stream_id, event_id, version, type, body, hash
FROM events
WHERE stream_name = %s AND stream_id = %s AND version > %s
ORDER BY version
LIMIT %s;

-- name: select_settled_events
-- All events above a position, ascending, as far as none can be missing.
SELECT position, stream_name, stream_id, event_id, version, type, body, hash
FROM settled_events(%s, %s);

-- name: select_merchant_events
-- The same of one merchant's streams.
SELECT position, stream_name, stream_id, event_id, version, type, body, hash
FROM settled_merchant_events(%s, %s, %s);

-- name: select_stream_of
-- Whose transaction it is.
SELECT stream_name, stream_id
FROM transactions
WHERE transaction_id = %s;

-- name: select_review
-- One review, if it is in a stream of these names.
SELECT {columns of reviews}
FROM reviews
WHERE review_id = %(review_id)s AND stream_name = ANY (%(names)s::text[]);

-- name: select_reviews
-- Reviews in streams of these names below a key, newest first: as many of each name and state, and the newest of them.
SELECT {columns of reviews as r}
FROM unnest(%(names)s::text[]) AS n (name)
CROSS JOIN unnest(%(states)s::text[]) AS s (state)
CROSS JOIN LATERAL (
    SELECT {names of reviews}
    FROM reviews
    WHERE stream_name = n.name
        AND state = s.state
        AND (opened_at, review_id) < (coalesce(%(opened_at)s::timestamptz, 'infinity'), %(review_id)s::text)
    ORDER BY opened_at DESC, review_id DESC
    LIMIT %(at_most)s
) AS r
ORDER BY r.opened_at DESC, r.review_id DESC
LIMIT %(at_most)s;

-- name: select_last_event
-- The end of a stream as its events say.
SELECT version, hash
FROM events
WHERE stream_name = %s AND stream_id = %s
ORDER BY version DESC
LIMIT 1;

-- name: upsert_owner
-- Begin to hold leases.
INSERT INTO owners (owner, heartbeat_at)
VALUES (%s, store_now())
ON CONFLICT (owner) DO UPDATE SET heartbeat_at = excluded.heartbeat_at;

-- name: update_heartbeat
-- An owner lives.
UPDATE owners
SET heartbeat_at = store_now()
WHERE owner = %s
RETURNING true;

-- name: retire_owner
-- Forget an owner and queue all that it leases, in a doubt or more.
SELECT release_owners(ARRAY[%s], %s);

-- name: release_silent
-- The same for all owners without a heartbeat for some seconds.
SELECT release_silent(make_interval(secs => %s), %s);

-- name: claim_work
-- Lease due work to an owner that is known, oldest due first, and pass by what somebody else is claiming.
-- The owner is locked so that whoever declares it dead finds what it got; only when something is due, since a lock is
-- a write.
WITH me AS MATERIALIZED (
    SELECT o.owner
    FROM owners AS o
    WHERE o.owner = %(owner)s AND EXISTS (
        SELECT 1
        FROM work AS w
        WHERE w.gateway = %(gateway)s AND w.state IN ('queued', 'dead') AND w.next_attempt_at <= store_now()
    )
    FOR KEY SHARE
),
due AS MATERIALIZED (
    SELECT w.work_id, w.next_attempt_at, me.owner
    FROM work AS w
    CROSS JOIN me
    WHERE w.gateway = %(gateway)s AND w.state IN ('queued', 'dead') AND w.next_attempt_at <= store_now()
    ORDER BY w.next_attempt_at, w.work_id
    LIMIT %(at_most)s
    FOR UPDATE OF w SKIP LOCKED
),
leased AS (
    UPDATE work AS w
    SET state = 'leased', owner = due.owner, token = w.token + 1
    FROM due
    WHERE w.work_id = due.work_id
    RETURNING {names of work as w}
)
SELECT {columns of work as w}, {columns of transactions as t}
FROM leased AS w
LEFT JOIN transactions AS t
    ON t.transaction_id = w.transaction_id AND t.stream_name = w.stream_name AND t.stream_id = w.stream_id
ORDER BY w.next_attempt_at, w.work_id;

-- name: park_work
-- Leave a piece of work to a person, unless somebody else has it by now.
UPDATE work
SET state = 'parked', owner = NULL, token = token + 1, errors = %s
WHERE work_id = %s AND token = %s;

-- name: select_next_due
-- Seconds until a gateway's next piece of work is due.
SELECT greatest(0, extract(epoch FROM next_attempt_at - store_now()))::double precision
FROM work
WHERE gateway = %s AND state IN ('queued', 'dead')
ORDER BY next_attempt_at
LIMIT 1;

-- name: hasten_lookups
-- Make a gateway's lookups due that are not yet; what is being claimed or moved just now needs no haste.
WITH waiting AS MATERIALIZED (
    SELECT work_id
    FROM work
    WHERE gateway = %s AND state IN ('queued', 'dead') AND action = 'resolve' AND next_attempt_at > store_now()
    FOR UPDATE SKIP LOCKED
)
UPDATE work AS w
SET next_attempt_at = store_now(), attempts = greatest(w.attempts - 1, 0)
FROM waiting
WHERE w.work_id = waiting.work_id;

-- name: retry_dead
-- Queue dead letters in streams of these names, due at once, under new tokens; a filter that is NULL holds for all.
WITH letters AS MATERIALIZED (
    SELECT work_id
    FROM work
    WHERE stream_name = ANY (%(names)s::text[])
        AND state IN ('dead', 'parked')
        AND (%(gateway)s::text IS NULL OR gateway = %(gateway)s)
        AND (%(state)s::text IS NULL OR state = %(state)s)
    ORDER BY work_id
    FOR UPDATE
)
UPDATE work AS w
SET state = 'queued', token = w.token + 1, next_attempt_at = store_now()
FROM letters
WHERE w.work_id = letters.work_id;

-- name: retry_dead_letter
-- The same of one dead letter, which is found by its id.
UPDATE work AS w
SET state = 'queued', token = w.token + 1, next_attempt_at = store_now()
WHERE w.work_id = %(work_id)s
    AND w.stream_name = ANY (%(names)s::text[])
    AND w.state IN ('dead', 'parked')
    AND (%(gateway)s::text IS NULL OR w.gateway = %(gateway)s)
    AND (%(state)s::text IS NULL OR w.state = %(state)s);

-- name: select_work
-- One piece of work with its transaction, if it is in a stream of these names.
SELECT {columns of work as w}, {columns of transactions as t}
FROM work AS w
LEFT JOIN transactions AS t
    ON t.transaction_id = w.transaction_id AND t.stream_name = w.stream_name AND t.stream_id = w.stream_id
WHERE w.work_id = %(work_id)s AND w.stream_name = ANY (%(names)s::text[]);

-- name: select_dead_letters
-- Dead letters in streams of these names below an id with their transactions, newest first: as many of each name,
-- gateway and state, and the newest of them.
WITH RECURSIVE known (name, gateway) AS (
    SELECT n.name, coalesce(%(gateway)s::text, (
        SELECT min(w.gateway)
        FROM work AS w
        WHERE w.stream_name = n.name AND w.state IN ('dead', 'parked')
    ))
    FROM unnest(%(names)s::text[]) AS n (name)
    UNION ALL
    SELECT known.name, (
        SELECT min(w.gateway)
        FROM work AS w
        WHERE w.stream_name = known.name AND w.state IN ('dead', 'parked') AND w.gateway > known.gateway
    )
    FROM known
    WHERE known.gateway IS NOT NULL AND %(gateway)s::text IS NULL
),
newest (work_id) AS MATERIALIZED (
    SELECT w.work_id
    FROM known
    CROSS JOIN unnest(%(states)s::text[]) AS s (state)
    CROSS JOIN LATERAL (
        SELECT work_id
        FROM work
        WHERE stream_name = known.name
            AND gateway = known.gateway
            AND state = s.state
            AND state IN ('dead', 'parked')
            AND work_id COLLATE "POSIX" < coalesce(%(before)s, U&'\+10FFFF')
            AND (%(work_id)s::text IS NULL OR work_id = %(work_id)s)
        ORDER BY work_id COLLATE "POSIX" DESC
        LIMIT %(at_most)s
    ) AS w
    ORDER BY w.work_id DESC
    LIMIT %(at_most)s
)
SELECT {columns of work as w}, {columns of transactions as t}
FROM newest
JOIN work AS w ON w.work_id = newest.work_id
LEFT JOIN transactions AS t
    ON t.transaction_id = w.transaction_id AND t.stream_name = w.stream_name AND t.stream_id = w.stream_id
ORDER BY newest.work_id DESC;

-- name: select_waiting_callbacks
-- Stored callbacks in streams of these names that wait for their transaction, below an id, newest first: as many of
-- each name and gateway, and the newest of them.
WITH RECURSIVE known (name, gateway) AS (
    SELECT n.name, coalesce(%(gateway)s::text, (
        SELECT min(w.gateway)
        FROM work AS w
        WHERE w.stream_name = n.name AND w.action = 'apply'
    ))
    FROM unnest(%(names)s::text[]) AS n (name)
    UNION ALL
    SELECT known.name, (
        SELECT min(w.gateway)
        FROM work AS w
        WHERE w.stream_name = known.name AND w.action = 'apply' AND w.gateway > known.gateway
    )
    FROM known
    WHERE known.gateway IS NOT NULL AND %(gateway)s::text IS NULL
),
newest (work_id) AS MATERIALIZED (
    SELECT w.work_id
    FROM known
    CROSS JOIN LATERAL (
        SELECT work_id
        FROM work
        WHERE stream_name = known.name
            AND gateway = known.gateway
            AND action = 'apply'
            AND state IN ('queued', 'leased')
            AND work_id COLLATE "POSIX" < coalesce(%(before)s, U&'\+10FFFF')
        ORDER BY work_id COLLATE "POSIX" DESC
        LIMIT %(at_most)s
    ) AS w
    ORDER BY w.work_id DESC
    LIMIT %(at_most)s
)
SELECT {columns of work as w}
FROM newest
JOIN work AS w ON w.work_id = newest.work_id
ORDER BY newest.work_id DESC;

-- name: upsert_gateway_mode
-- Keep an order for a gateway's breaker.
INSERT INTO gateway_modes (gateway, mode, reason, set_at)
VALUES (%s, %s, %s, store_now())
ON CONFLICT (gateway) DO UPDATE SET mode = excluded.mode, reason = excluded.reason, set_at = excluded.set_at;

-- name: select_gateway_modes
-- The last order for each gateway that has one.
SELECT gateway, mode, reason
FROM gateway_modes;

-- name: select_breakers
-- The gateways' breakers that have ever changed.
SELECT gateway, epoch, state, age_s, prober, probe_left_s
FROM breaker_records;

-- name: turn_breaker
-- A change of a breaker that stands where it is believed to stand; how it stands afterwards.
SELECT gateway, epoch, state, age_s, prober, probe_left_s
FROM turn_breaker(%s, %s, %s);

-- name: take_probe
-- The probe of a breaker that has slept; how it stands afterwards.
SELECT gateway, epoch, state, age_s, prober, probe_left_s
FROM take_probe(%s, %s, %s, %s, %s);

-- name: select_balances
-- A customer's balances, currencies ascending.
SELECT currency, available_minor, reserved_minor
FROM balances
WHERE stream_name = %s AND stream_id = %s
ORDER BY currency;

-- name: select_stream_transactions
-- All transactions of a customer, ids ascending.
SELECT {columns of transactions as t}
FROM transactions AS t
WHERE t.stream_name = %s AND t.stream_id = %s
ORDER BY t.transaction_id;

-- name: select_stream_reviews
-- The review rows of a stream, ids ascending.
SELECT {columns of reviews}
FROM reviews
WHERE stream_name = %s AND stream_id = %s
ORDER BY review_id;

-- name: select_transaction_view
-- One transaction of a merchant with what needs attention about it.
SELECT {columns of transactions as t}, {attention}
FROM transactions AS t
WHERE t.transaction_id = %s AND t.stream_name = %s;

-- name: select_merchant_transactions
-- A merchant's transactions with ids in a range, newest first: as many of each gateway, status and kind, and the newest
-- of them. So no list reads on and on through what its filter does not let through.
WITH RECURSIVE known (gateway) AS (
    SELECT coalesce(%(gateway)s::text, (
        SELECT min(t.gateway)
        FROM transactions AS t
        WHERE t.stream_name = %(merchant)s
    ))
    UNION ALL
    SELECT (
        SELECT min(t.gateway)
        FROM transactions AS t
        WHERE t.stream_name = %(merchant)s AND t.gateway > known.gateway
    )
    FROM known
    WHERE known.gateway IS NOT NULL AND %(gateway)s::text IS NULL
),
newest (transaction_id) AS MATERIALIZED (
    SELECT t.transaction_id
    FROM known
    CROSS JOIN unnest(%(statuses)s::text[]) AS s (status)
    CROSS JOIN unnest(%(kinds)s::text[]) AS k (kind)
    CROSS JOIN LATERAL (
        SELECT transaction_id
        FROM transactions
        WHERE stream_name = %(merchant)s
            AND gateway = known.gateway
            AND status = s.status
            AND kind = k.kind
            AND transaction_id COLLATE "POSIX" >= %(lowest)s::text
            AND transaction_id COLLATE "POSIX" < coalesce(%(before)s, U&'\+10FFFF')
            AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
            AND (%(created_to)s::timestamptz IS NULL OR created_at < %(created_to)s)
        ORDER BY transaction_id COLLATE "POSIX" DESC
        LIMIT %(at_most)s
    ) AS t
    ORDER BY t.transaction_id DESC
    LIMIT %(at_most)s
)
SELECT {columns of transactions as t}, {attention}
FROM newest
JOIN transactions AS t ON t.transaction_id = newest.transaction_id
ORDER BY newest.transaction_id DESC;

-- name: select_customer_transactions
-- One customer's, through the index by stream.
SELECT {columns of transactions as t}, {attention}
FROM transactions AS t
WHERE t.stream_name = %(merchant)s
    AND t.stream_id = %(customer_id)s
    AND t.transaction_id COLLATE "POSIX" >= %(lowest)s::text
    AND t.transaction_id COLLATE "POSIX" < coalesce(%(before)s, U&'\+10FFFF')
    AND (%(gateway)s::text IS NULL OR t.gateway = %(gateway)s)
    AND t.status = ANY (%(statuses)s::text[])
    AND t.kind = ANY (%(kinds)s::text[])
    AND (%(created_from)s::timestamptz IS NULL OR t.created_at >= %(created_from)s)
    AND (%(created_to)s::timestamptz IS NULL OR t.created_at < %(created_to)s)
ORDER BY t.transaction_id COLLATE "POSIX" DESC
LIMIT %(at_most)s;

-- name: count_work
-- Pieces of unfinished work by gateway and state.
SELECT gateway, state, count(*)
FROM work
GROUP BY gateway, state;

-- name: select_figures
-- How much waits, of all merchants together: unfinished work by gateway and state with the age of the oldest in seconds, unknown
-- transactions by gateway, open reviews. Reads the work; a merchant's gateways cost a seek each, and of transactions and
-- reviews only those are read that are counted.
WITH RECURSIVE merchants (name) AS (
    SELECT min(stream_name)
    FROM transactions
    UNION ALL
    SELECT (SELECT min(t.stream_name) FROM transactions AS t WHERE t.stream_name > merchants.name)
    FROM merchants
    WHERE merchants.name IS NOT NULL
),
known (name, gateway) AS (
    SELECT m.name, (SELECT min(t.gateway) FROM transactions AS t WHERE t.stream_name = m.name)
    FROM merchants AS m
    WHERE m.name IS NOT NULL
    UNION ALL
    SELECT known.name, (
        SELECT min(t.gateway)
        FROM transactions AS t
        WHERE t.stream_name = known.name AND t.gateway > known.gateway
    )
    FROM known
    WHERE known.gateway IS NOT NULL
)
SELECT 'work' AS what, gateway, state, count(*), CAST(extract(epoch FROM store_now() - min(created_at)) AS double precision)
FROM work
GROUP BY gateway, state
UNION ALL
SELECT 'unknown', known.gateway, NULL, CAST(sum((
    SELECT count(*)
    FROM transactions AS t
    WHERE t.stream_name = known.name AND t.gateway = known.gateway AND t.status = 'unknown'
)) AS bigint), NULL
FROM known
WHERE known.gateway IS NOT NULL
GROUP BY known.gateway
UNION ALL
SELECT 'reviews', NULL, NULL, count(*), NULL
FROM reviews
WHERE state = 'open';

-- name: select_last_position
-- Up to where nothing can be missing any more.
SELECT settled_position();

-- name: ping
-- Read the least that proves that the tables can be read.
SELECT position
FROM events
LIMIT 1;

-- name: select_streams
-- For an audit: every stream that has events, rows or a head, ascending.
SELECT stream_name, stream_id FROM events
UNION
SELECT stream_name, stream_id FROM heads
UNION
SELECT stream_name, stream_id FROM transactions
UNION
SELECT stream_name, stream_id FROM balances
UNION
SELECT stream_name, stream_id FROM reviews
UNION
SELECT stream_name, stream_id FROM work WHERE transaction_id IS NOT NULL
ORDER BY stream_name, stream_id;

-- name: create_unfinished
-- For an audit: the transactions that have work, by stream. A temporary table of its connection alone.
CREATE TEMPORARY TABLE unfinished ON COMMIT DROP AS
SELECT DISTINCT stream_name, stream_id, transaction_id
FROM work
WHERE transaction_id IS NOT NULL;

-- name: index_unfinished
-- Work is indexed by neither stream nor transaction.
CREATE INDEX ON unfinished (stream_name, stream_id, transaction_id);

-- name: select_unfinished
-- A stream's transactions that have work, ascending.
SELECT transaction_id
FROM unfinished
WHERE stream_name = %s AND stream_id = %s
ORDER BY transaction_id;

-- name: select_api_key
-- A key, whether it is live, and for how many seconds it will be (NULL: for ever).
SELECT
    key_id, digest, merchant, scopes, revoked_at IS NULL AND (expires_at IS NULL OR expires_at > store_now()),
    extract(epoch FROM expires_at - store_now())::double precision
FROM api_keys
WHERE key_id = %s;

-- name: insert_api_key
-- A new key.
INSERT INTO api_keys (key_id, digest, merchant, scopes, label, created_at, expires_at)
VALUES (%s, %s, %s, %s, %s, store_now(), %s)
RETURNING created_at;

-- name: select_api_keys
-- All keys, or a merchant's, oldest first; for people, who have few.
SELECT key_id, merchant, scopes, label, created_at, expires_at, revoked_at
FROM api_keys
WHERE %(merchant)s::text IS NULL OR merchant = %(merchant)s
ORDER BY created_at, key_id;

-- name: revoke_api_key
-- A key is good for nothing any more; of two times the first one counts.
UPDATE api_keys
SET revoked_at = coalesce(revoked_at, store_now())
WHERE key_id = %s;

-- name: select_any_api_key
-- Whether there is a live one.
SELECT EXISTS (SELECT 1 FROM api_keys WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > store_now()));

-- name: select_kept_head
-- For an audit: the end of a stream that appends go on from.
SELECT version, hash
FROM heads
WHERE stream_name = %s AND stream_id = %s;

-- name: take_service_lock
-- Try to share the service lock: no rebuild can begin while the connection lives.
SELECT pg_try_advisory_lock_shared('rebuilds'::regclass::oid::bigint::bit(32)::int, 0);

-- name: select_last_rebuild
-- The number of the newest rebuild, 0 when there was none.
SELECT coalesce(max(number), 0)
FROM rebuilds;

-- name: take_exclusive_lock
-- For a rebuild: wait until no service has the service lock, and keep services out while the connection lives.
SELECT pg_advisory_lock('rebuilds'::regclass::oid::bigint::bit(32)::int, 0);

-- name: select_service_lock_holders
-- For a rebuild: the server processes that hold the service lock, shared or exclusive.
SELECT l.pid
FROM pg_locks AS l
WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.classid = 'rebuilds'::regclass::oid AND l.objid = 0
    AND l.granted AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
ORDER BY l.pid;

-- name: insert_rebuild
-- For a rebuild: a service that lost its connections detects the rebuild by this row.
INSERT INTO rebuilds (begun_at)
VALUES (store_now());

-- name: select_newest_version
-- For a rebuild: how far a stream's rows know its events.
SELECT coalesce(max(version), 0)
FROM transactions
WHERE stream_name = %s AND stream_id = %s;

-- name: cut_head
-- For a rebuild: let appends go on from another end.
UPDATE heads
SET version = %s, hash = %s
WHERE stream_name = %s AND stream_id = %s;

-- name: delete_transactions
-- For a rebuild: a stream's rows.
DELETE FROM transactions
WHERE stream_name = %s AND stream_id = %s;

-- name: select_holders
-- For a rebuild: other streams that have rows of these ids.
SELECT stream_name, stream_id
FROM transactions
WHERE transaction_id = ANY (%(transaction_ids)s::text[]) AND (stream_name, stream_id) <> (%(name)s, %(id)s)
UNION
SELECT stream_name, stream_id
FROM reviews
WHERE review_id = ANY (%(review_ids)s::text[]) AND (stream_name, stream_id) <> (%(name)s, %(id)s)
ORDER BY stream_name, stream_id;

-- name: delete_stray_transactions
-- For a rebuild: rows of these ids, wherever somebody has put them.
DELETE FROM transactions
WHERE transaction_id = ANY (%s::text[]);

-- name: delete_balances
-- For a rebuild: a stream's rows.
DELETE FROM balances
WHERE stream_name = %s AND stream_id = %s;

-- name: delete_reviews
-- For a rebuild: a stream's rows.
DELETE FROM reviews
WHERE stream_name = %s AND stream_id = %s;

-- name: delete_stray_reviews
-- For a rebuild: rows of these ids, wherever somebody has put them.
DELETE FROM reviews
WHERE review_id = ANY (%s::text[]);

-- name: select_generation
-- The newest generation and the last position that was given out.
SELECT coalesce((SELECT max(number) FROM generations), 0), last_position();

-- name: select_generation_here
-- The newest generation, where it began, and whether that is this server.
SELECT number, system_id, timeline, is_here
FROM generation_here();

-- name: begin_generation
-- The next generation after this one, unless there is one; the newest.
SELECT begin_generation(%s);

-- name: select_lease
-- The token of a piece of work, and which owner leases it.
SELECT token, owner
FROM work
WHERE work_id = %s;

-- name: select_event_id
-- The id of one event.
SELECT event_id
FROM events
WHERE stream_name = %s AND stream_id = %s AND version = %s;

-- name: select_newest_event
-- A merchant's last event, as far as none before it can be missing. Through the index by merchant.
SELECT e.position, e.stream_name, e.stream_id, e.event_id, e.version, e.type, e.body, e.hash
FROM events AS e
WHERE (e.stream_name, e.position) >= (%(merchant)s, 0)
    AND (e.stream_name, e.position) <= (%(merchant)s, (SELECT settled_position()))
ORDER BY e.stream_name DESC, e.position DESC
LIMIT 1;

-- name: select_last_event_of_all
-- For a restored database: the newest event.
SELECT position, stream_name, stream_id, event_id, version, type, body, hash
FROM events
ORDER BY position DESC
LIMIT 1;

-- name: select_open_transactions
-- For a restored database: what has no end, by gateway and age. Reads all unfinished work.
SELECT t.transaction_id, t.stream_name, t.stream_id, t.kind, t.gateway, t.amount_minor, t.currency, t.status, t.created_at
FROM work AS w
JOIN transactions AS t ON t.transaction_id = w.transaction_id
WHERE t.status NOT IN ('completed', 'failed')
ORDER BY t.gateway, t.transaction_id;
