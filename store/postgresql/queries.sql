-- Every statement of the PostgreSQL adapter except migrations, functions, rights, and those of a lost connection
-- (backends.py).
-- Braces stand for lists of columns, which store/columns.py declares, and for fragments.
-- Lists are ordered by id in the collation "POSIX", which compares like "C". Only the index for the list has its ids in
-- this collation. Otherwise the planner reads along the primary key as soon as it estimates that most rows match, and
-- reads the whole table when no row does.

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

-- fragment: narrowed
-- A merchant's transactions with ids in a range. A filter that is NULL matches all.
t.stream_name = %(merchant)s
    AND t.transaction_id COLLATE "POSIX" >= %(lowest)s::text
    AND t.transaction_id COLLATE "POSIX" < coalesce(%(before)s, U&'\+10FFFF')
    AND (%(created_from)s::timestamptz IS NULL OR t.created_at >= %(created_from)s)
    AND (%(created_to)s::timestamptz IS NULL OR t.created_at < %(created_to)s)
    AND (%(gateway)s::text IS NULL OR t.gateway = %(gateway)s)
    AND t.status = ANY (%(statuses)s::text[])
    AND t.kind = ANY (%(kinds)s::text[])
    AND (%(customer_id)s::text IS NULL OR t.stream_id = %(customer_id)s)
    AND (%(parent_id)s::text IS NULL OR t.parent_id = %(parent_id)s)
    AND (%(gateway_reference)s::text IS NULL OR t.gateway_reference = %(gateway_reference)s)
    AND (%(correlation_id)s::text IS NULL OR t.correlation_id = %(correlation_id)s);

-- name: append_batch
-- Append many writes in one transaction. The rows answer the writes that are not committed.
SELECT wave, write, answer, part, scope, key, value, event_position, event_id, version, type, body, hash
FROM append_batch(%s::jsonb);

-- name: append_writes
-- The same for writes that share nothing, from arrays. The rows have no wave.
SELECT write, answer, part, scope, key, value, event_position, event_id, version, type, body, hash
FROM append_writes(
    %s, %s,
    %s, %s, %s, %s,
    %s, %s, %s, %s, %s, %s,
    %s, %s, %s, %s, %s,
    %s, %s, %s, %s,
    %s, %s, %s, %s, %s,
    %s, %s, %s, %s, %s, %s, %s, %s,
    %s, %s, %s, %s, %s, %s, %s, %s,
    %s, %s, %s, %s,
    %s, %s, %s, %s
);

-- name: confirm
-- Write a record, so that this commit waits for replicas, and so for all commits before it.
SELECT pg_logical_emit_message(true, 'payments', 'confirm'::text);

-- name: select_first_event
-- Whether a write was stored: the id of the event with its first version, and the end of the stream.
SELECT e.event_id, h.version, h.hash
FROM heads AS h
LEFT JOIN events AS e ON e.stream_name = h.stream_name AND e.stream_id = h.stream_id AND e.version = %s
WHERE h.stream_name = %s AND h.stream_id = %s;

-- name: select_claim
-- The value of a claim.
SELECT value
FROM claims
WHERE scope = %s AND key = %s;

-- name: select_work_token
-- The token with which a fence is compared.
SELECT token
FROM work
WHERE work_id = %s;

-- name: load
-- The heads and balances of many customers, with a row for each named transaction that exists and for each of their
-- parents, in one snapshot. A condition on parent_id would let the planner read the whole index by parent.
SELECT w.number, h.version, h.hash, b.balances, {columns of transactions as t}
FROM json_to_recordset(%s::json) AS w (number integer, name text, id text, transaction_ids text[])
JOIN heads AS h ON h.stream_name = w.name AND h.stream_id = w.id AND h.version > 0
CROSS JOIN LATERAL (
    SELECT json_agg(json_build_array(currency, available_minor, reserved_minor))::text AS balances
    FROM balances
    WHERE stream_name = h.stream_name AND stream_id = h.stream_id
) AS b
LEFT JOIN transactions AS t
    ON t.transaction_id = ANY (w.transaction_ids || ARRAY(
        SELECT c.parent_id
        FROM transactions AS c
        WHERE c.transaction_id = ANY (w.transaction_ids)
    ))
    AND t.stream_name = h.stream_name
    AND t.stream_id = h.stream_id;

-- name: select_customer
-- A customer's version and balances, currencies ascending, in one snapshot. One row without a balance if there is none.
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
-- All events above a position, ascending, up to the first position that may still be missing.
SELECT position, stream_name, stream_id, event_id, version, type, body, hash
FROM settled_events(%s, %s);

-- name: select_merchant_events
-- The same for one merchant's streams.
SELECT position, stream_name, stream_id, event_id, version, type, body, hash
FROM settled_merchant_events(%s, %s, %s);

-- name: select_stream_of
-- The stream of a transaction.
SELECT stream_name, stream_id
FROM transactions
WHERE transaction_id = %s;

-- name: select_review
-- One review, if its stream has one of these names.
SELECT {columns of reviews}
FROM reviews
WHERE review_id = %(review_id)s AND stream_name = ANY (%(names)s::text[]);

-- name: select_reviews
-- Reviews in streams of these names below a key, newest first: a list for each name and state, merged.
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

-- name: select_head
-- The end of a stream by its events.
SELECT version, hash
FROM events
WHERE stream_name = %s AND stream_id = %s
ORDER BY version DESC
LIMIT 1;

-- name: upsert_owner
-- Register an owner.
INSERT INTO owners (owner, heartbeat_at, vocabulary)
VALUES (%s, store_now(), %s)
ON CONFLICT (owner) DO UPDATE SET heartbeat_at = excluded.heartbeat_at, vocabulary = excluded.vocabulary;

-- name: select_vocabulary_floor
-- The lowest vocabulary of the owners; NULL when there are none.
SELECT min(vocabulary) FROM owners;

-- name: update_heartbeat
-- Renew the heartbeat of an owner.
UPDATE owners
SET heartbeat_at = store_now()
WHERE owner = %s
RETURNING true;

-- name: retire_owner
-- Delete an owner and queue all work that it leases, with at least this certainty.
SELECT release_owners(ARRAY[%s], %s);

-- name: release_silent
-- The same for all owners without a heartbeat for this many seconds.
SELECT release_silent(make_interval(secs => %s), %s);

-- name: claim_work
-- Lease due work to a registered owner, oldest due first, without the rows that another session is claiming. The owner
-- is locked so that a process that declares it dead finds this work. Without due work there is no lock: it is a write.
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
-- Park a piece of work for an operator, unless its token has changed.
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

-- name: select_queued_due
-- Work that is due now, of each of several gateways up to a limit, oldest due first. One walk along work_due for each.
SELECT due.work_id, due.token, due.transaction_id, due.gateway
FROM unnest(%(gateways)s::text[]) AS wanted (gateway)
CROSS JOIN LATERAL (
    SELECT w.work_id, w.token, w.transaction_id, w.gateway, w.next_attempt_at
    FROM work AS w
    WHERE w.gateway = wanted.gateway AND w.state IN ('queued', 'dead') AND w.next_attempt_at <= store_now()
    ORDER BY w.next_attempt_at
    LIMIT %(at_most)s
) AS due
ORDER BY due.next_attempt_at;

-- name: hasten_lookups
-- Make a gateway's lookups due now, except those of authorizations before the end of the hold, and without the rows
-- that another session is claiming or moving.
WITH waiting AS MATERIALIZED (
    SELECT w.work_id
    FROM work AS w
    WHERE
        w.gateway = %s AND w.state IN ('queued', 'dead') AND w.action = 'resolve' AND w.next_attempt_at > store_now()
        AND NOT EXISTS (
            SELECT 1
            FROM transactions AS t
            WHERE
                t.transaction_id = w.transaction_id AND t.status = 'authorized'
                AND t.authorization_expires_at > store_now()
        )
    FOR UPDATE SKIP LOCKED
)
UPDATE work AS w
SET next_attempt_at = store_now(), attempts = greatest(w.attempts - 1, 0)
FROM waiting
WHERE w.work_id = waiting.work_id;

-- name: retry_dead
-- Queue dead letters in streams of these names, due at once, under new tokens. A filter that is NULL matches all.
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
-- The same for one dead letter by its id.
UPDATE work AS w
SET state = 'queued', token = w.token + 1, next_attempt_at = store_now()
WHERE w.work_id = %(work_id)s
    AND w.stream_name = ANY (%(names)s::text[])
    AND w.state IN ('dead', 'parked')
    AND (%(gateway)s::text IS NULL OR w.gateway = %(gateway)s)
    AND (%(state)s::text IS NULL OR w.state = %(state)s);

-- name: select_work
-- One piece of work with its transaction, if its stream has one of these names.
SELECT {columns of work as w}, {columns of transactions as t}
FROM work AS w
LEFT JOIN transactions AS t
    ON t.transaction_id = w.transaction_id AND t.stream_name = w.stream_name AND t.stream_id = w.stream_id
WHERE w.work_id = %(work_id)s AND w.stream_name = ANY (%(names)s::text[]);

-- name: select_dead_letters
-- Dead letters in streams of these names below an id with their transactions, newest first: a list for each name,
-- gateway and state, merged.
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
-- Stored callbacks in streams of these names that wait for their transaction, below an id, newest first: a list for
-- each name and gateway, merged.
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
-- Store the mode that an operator sets for a gateway's breaker.
INSERT INTO gateway_modes (gateway, mode, reason, set_at)
VALUES (%s, %s, %s, store_now())
ON CONFLICT (gateway) DO UPDATE SET mode = excluded.mode, reason = excluded.reason, set_at = excluded.set_at;

-- name: select_gateway_modes
-- The mode of each gateway that has one.
SELECT gateway, mode, reason
FROM gateway_modes;

-- name: select_breakers
-- The breakers that have changed at least once.
SELECT gateway, epoch, state, age_s, prober, probe_left_s
FROM breaker_records;

-- name: turn_breaker
-- Change a breaker whose epoch is the expected one. Returns its record afterwards.
SELECT gateway, epoch, state, age_s, prober, probe_left_s
FROM turn_breaker(%s, %s, %s);

-- name: take_probe
-- Take the probe of a breaker that has slept. Returns its record afterwards.
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
-- One transaction of a merchant with its attention.
SELECT {columns of transactions as t}, {attention}
FROM transactions AS t
WHERE t.transaction_id = %s AND t.stream_name = %s;

-- name: select_transactions_of
-- Transactions of any merchant by their ids.
SELECT {columns of transactions as t}
FROM transactions AS t
WHERE t.transaction_id = ANY (%s::text[]);

-- name: select_merchant_transactions
-- A merchant's transactions with ids in a range, newest first: a list for each gateway, status and kind that exist
-- together, merged. So no list reads rows that its filter excludes. Each of these is found by one seek.
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
lists (gateway, status, kind) AS (
    SELECT known.gateway, '', ''
    FROM known
    UNION ALL
    SELECT lists.gateway, t.status, t.kind
    FROM lists
    CROSS JOIN LATERAL (
        SELECT status, kind
        FROM transactions
        WHERE stream_name = %(merchant)s
            AND gateway = lists.gateway
            AND (status, kind) > (lists.status, lists.kind)
        ORDER BY status, kind
        LIMIT 1
    ) AS t
),
newest (transaction_id) AS MATERIALIZED (
    SELECT t.transaction_id
    FROM lists
    CROSS JOIN LATERAL (
        SELECT transaction_id
        FROM transactions
        WHERE stream_name = %(merchant)s
            AND gateway = lists.gateway
            AND status = lists.status
            AND kind = lists.kind
            AND transaction_id COLLATE "POSIX" >= %(lowest)s::text
            AND transaction_id COLLATE "POSIX" < coalesce(%(before)s, U&'\+10FFFF')
            AND (%(created_from)s::timestamptz IS NULL OR created_at >= %(created_from)s)
            AND (%(created_to)s::timestamptz IS NULL OR created_at < %(created_to)s)
        ORDER BY transaction_id COLLATE "POSIX" DESC
        LIMIT %(at_most)s
    ) AS t
    WHERE lists.status = ANY (%(statuses)s::text[]) AND lists.kind = ANY (%(kinds)s::text[])
    ORDER BY t.transaction_id DESC
    LIMIT %(at_most)s
)
SELECT {columns of transactions as t}, {attention}
FROM newest
JOIN transactions AS t ON t.transaction_id = newest.transaction_id
ORDER BY newest.transaction_id DESC;

-- name: select_customer_id_transactions
-- The same for one customer, through the index by stream.
SELECT {columns of transactions as t}, {attention}
FROM transactions AS t
WHERE t.stream_id = %(customer_id)s AND {narrowed}
ORDER BY t.transaction_id COLLATE "POSIX" DESC
LIMIT %(at_most)s;

-- name: select_parent_id_transactions
-- The same for the refunds, captures and voids of one transaction.
SELECT {columns of transactions as t}, {attention}
FROM transactions AS t
WHERE t.parent_id = %(parent_id)s AND {narrowed}
ORDER BY t.transaction_id COLLATE "POSIX" DESC
LIMIT %(at_most)s;

-- name: select_gateway_reference_transactions
-- The same for one reference of a gateway.
SELECT {columns of transactions as t}, {attention}
FROM transactions AS t
WHERE t.gateway_reference = %(gateway_reference)s AND {narrowed}
ORDER BY t.transaction_id COLLATE "POSIX" DESC
LIMIT %(at_most)s;

-- name: select_correlation_id_transactions
-- The same for one correlation id.
SELECT {columns of transactions as t}, {attention}
FROM transactions AS t
WHERE t.correlation_id = %(correlation_id)s AND {narrowed}
ORDER BY t.transaction_id COLLATE "POSIX" DESC
LIMIT %(at_most)s;

-- name: count_work
-- Pieces of unfinished work by gateway and state.
SELECT gateway, state, count(*)
FROM work
GROUP BY gateway, state;

-- name: select_stats
-- Statistics over all merchants: unfinished work by gateway and state with the age of the oldest in seconds (the state
-- of a queued lookup of an authorization is "authorized"), the number of pieces whose time has come, whatever their state
-- is, and the seconds since the first of these times; unknown transactions by gateway; open reviews. Reads all work. A merchant's gateways cost a seek each. Of transactions and
-- reviews, only those that are counted are read.
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
SELECT
    'work' AS what, w.gateway,
    CASE
        WHEN
            w.state = 'queued' AND w.action = 'resolve'
            AND (SELECT t.status FROM transactions AS t WHERE t.transaction_id = w.transaction_id) = 'authorized'
            THEN 'authorized'
        ELSE w.state
    END AS state,
    count(*), CAST(extract(epoch FROM store_now() - min(w.created_at)) AS double precision),
    count(*) FILTER (WHERE w.next_attempt_at <= (SELECT store_now())),
    CAST(extract(epoch FROM store_now() - min(w.next_attempt_at)) AS double precision)
FROM work AS w
GROUP BY 2, 3
UNION ALL
SELECT 'unknown', known.gateway, NULL, CAST(sum((
    SELECT count(*)
    FROM transactions AS t
    WHERE t.stream_name = known.name AND t.gateway = known.gateway AND t.status = 'unknown'
)) AS bigint), NULL, NULL, NULL
FROM known
WHERE known.gateway IS NOT NULL
GROUP BY known.gateway
UNION ALL
SELECT 'reviews', NULL, NULL, count(*), NULL, NULL, NULL
FROM reviews
WHERE state = 'open';

-- name: select_last_position
-- The last position before which no event can be missing.
SELECT settled_position();

-- name: ping
-- Read one row, which proves that the tables can be read.
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
-- Work has no index by stream and transaction.
CREATE INDEX ON unfinished (stream_name, stream_id, transaction_id);

-- name: select_unfinished
-- A stream's transactions that have work, ascending.
SELECT transaction_id
FROM unfinished
WHERE stream_name = %s AND stream_id = %s
ORDER BY transaction_id;

-- name: select_api_key
-- A key, whether it is live, and the remaining time in seconds it will be (NULL: unlimited).
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
-- All keys, or those of one merchant, oldest first. There are few.
SELECT key_id, merchant, scopes, label, created_at, expires_at, revoked_at
FROM api_keys
WHERE %(merchant)s::text IS NULL OR merchant = %(merchant)s
ORDER BY created_at, key_id;

-- name: revoke_api_key
-- Revoke a key. A second revocation keeps the first time.
UPDATE api_keys
SET revoked_at = coalesce(revoked_at, store_now())
WHERE key_id = %s;

-- name: select_any_api_key
-- Whether a live key exists.
SELECT EXISTS (SELECT 1 FROM api_keys WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > store_now()));

-- name: select_kept_head
-- For an audit: the head from which appends continue.
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
-- For a rebuild: the highest version in a stream's transaction rows.
SELECT coalesce(max(version), 0)
FROM transactions
WHERE stream_name = %s AND stream_id = %s;

-- name: cut_head
-- For a rebuild: let appends continue from another head.
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
-- For a rebuild: rows of these ids in any stream.
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
-- For a rebuild: rows of these ids in any stream.
DELETE FROM reviews
WHERE review_id = ANY (%s::text[]);

-- name: select_generation
-- The newest generation and the last position that was assigned.
SELECT coalesce((SELECT max(number) FROM generations), 0), last_position();

-- name: select_generation_here
-- The newest generation, the server on which it began, and whether that is this server.
SELECT number, system_id, timeline, is_here
FROM generation_here();

-- name: begin_generation
-- Begin the generation after this one, unless there is a later one. Returns the newest.
SELECT begin_generation(%s);

-- name: select_lease
-- The token of a piece of work, and the owner that leases it.
SELECT token, owner
FROM work
WHERE work_id = %s;

-- name: select_event_id
-- The id of one event.
SELECT event_id
FROM events
WHERE stream_name = %s AND stream_id = %s AND version = %s;

-- name: select_newest_event
-- A merchant's last event before which no event can be missing. Through the index by merchant.
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
-- For a restored database: transactions without a terminal status, by gateway and age. Reads all unfinished work.
SELECT
    t.transaction_id, t.stream_name, t.stream_id, t.kind, t.gateway, t.amount_minor, t.currency, t.status, t.created_at
FROM work AS w
JOIN transactions AS t ON t.transaction_id = w.transaction_id
WHERE t.status NOT IN ('completed', 'voided', 'failed')
ORDER BY t.gateway, t.transaction_id;

-- name: lead_relay
-- Give the lease to an owner unless another one has it. A lease that was renewed later than now is one of a clock that
-- was set back; it counts only if it is too far in the future for a statement that has waited.
INSERT INTO relays AS r (name, owner, token, position, generation, renewed_at, leased_until)
SELECT %(name)s, %(owner)s, 1, 0, max(g.number), store_now(), store_now() + %(lease)s FROM generations AS g
ON CONFLICT (name) DO UPDATE
SET owner = excluded.owner,
    token = CASE WHEN r.owner = excluded.owner THEN r.token ELSE r.token + 1 END,
    renewed_at = excluded.renewed_at,
    leased_until = excluded.leased_until
WHERE r.owner IS NULL
    OR r.owner = excluded.owner
    OR r.leased_until <= store_now()
    OR r.renewed_at > store_now() + %(lease)s
RETURNING token, position, (SELECT max(g.number) FROM generations AS g);

-- name: advance_relay
-- Move the checkpoint of a relay whose token and generation are the present ones.
UPDATE relays
SET position = %(position)s,
    generation = %(generation)s,
    refused_reason = CASE WHEN refused_position > %(position)s THEN refused_reason END,
    refused_at = CASE WHEN refused_position > %(position)s THEN refused_at END,
    refused_position = CASE WHEN refused_position > %(position)s THEN refused_position END
WHERE name = %(name)s AND token = %(token)s AND position <= %(position)s
    AND %(generation)s = (SELECT max(g.number) FROM generations AS g)
RETURNING name;

-- name: refuse_relay
-- Record the event before which a relay stays.
UPDATE relays
SET refused_position = %(position)s, refused_reason = %(reason)s, refused_at = store_now()
WHERE name = %(name)s AND token = %(token)s AND position < %(position)s
RETURNING name;

-- name: resign_relay
-- Give the lease of a relay back.
UPDATE relays
SET owner = NULL
WHERE name = %s AND owner = %s;

-- name: select_relay
-- One relay.
SELECT
    name, position, generation, token, owner,
    CASE
        WHEN owner IS NULL THEN 0
        ELSE greatest(extract(epoch FROM least(leased_until - store_now(), leased_until - renewed_at)), 0)
    END::double precision,
    refused_position, refused_reason,
    greatest(extract(epoch FROM store_now() - refused_at), 0)::double precision
FROM relays
WHERE name = %s;

-- name: select_relay_health
-- The first event after the checkpoint of a relay (of all events, when it has no record), the last position, whether a
-- lease is live, whether an event is refused, and the time.
WITH relay AS MATERIALIZED (
    SELECT
        coalesce(max(r.position), 0) AS position,
        coalesce(bool_or(
            r.owner IS NOT NULL AND r.leased_until > store_now() AND r.leased_until > r.renewed_at
        ), false) AS led,
        coalesce(bool_or(r.refused_position IS NOT NULL), false) AS refused
    FROM relays AS r
    WHERE r.name = %s
)
SELECT
    following.position, following.event_id, following.body, (SELECT max(e.position) FROM events AS e),
    relay.led, relay.refused, store_now()
FROM relay
LEFT JOIN LATERAL (
    SELECT e.position, e.event_id, e.body
    FROM events AS e
    WHERE e.position > relay.position
    ORDER BY e.position
    LIMIT 1
) AS following ON true;

-- name: select_relay_names
-- The names of all relays.
SELECT name
FROM relays
ORDER BY name;

-- name: move_relay
-- Set the checkpoint of a relay that is at the expected position, and record who did it.
WITH moved AS (
    UPDATE relays
    SET position = %(to_position)s,
        generation = (SELECT max(g.number) FROM generations AS g),
        token = token + 1,
        refused_position = NULL,
        refused_reason = NULL,
        refused_at = NULL
    WHERE name = %(name)s AND position = %(from_position)s
    RETURNING name
)
INSERT INTO relay_moves (relay, action, from_position, to_position, who, reason, moved_at)
SELECT name, %(action)s, %(from_position)s, %(to_position)s, %(who)s, %(reason)s, store_now()
FROM moved
RETURNING number;

-- name: select_relay_moves
-- What operators did to the checkpoint of a relay, newest first.
SELECT relay, action, from_position, to_position, who, reason, moved_at
FROM relay_moves
WHERE relay = %s
ORDER BY number DESC
LIMIT %s;
