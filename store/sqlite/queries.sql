-- Every statement of the SQLite adapter except append.sql, BEGIN, COMMIT, ROLLBACK and PRAGMAs.
-- Braces stand for lists of columns, which store/columns.py declares, and for fragments.

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
t.stream_name = ?1
    AND t.transaction_id >= ?2
    AND t.transaction_id < coalesce(?3, x'')
    AND (?5 IS NULL OR t.created_at >= ?5)
    AND (?6 IS NULL OR t.created_at < ?6)
    AND (?7 IS NULL OR +t.gateway = ?7)
    AND (?8 IS NULL OR +t.status = ?8)
    AND (?9 IS NULL OR +t.kind = ?9)
    AND (?10 IS NULL OR +t.stream_id = ?10)
    AND (?11 IS NULL OR +t.parent_id = ?11)
    AND (?12 IS NULL OR +t.gateway_reference = ?12)
    AND (?13 IS NULL OR +t.correlation_id = ?13);

-- name: select_head
-- The end of a stream.
SELECT version, hash
FROM events
WHERE stream_name = ?1 AND stream_id = ?2
ORDER BY version DESC
LIMIT 1;

-- name: select_end
-- The end of a stream and, as JSON, the customer's balances.
SELECT
    version,
    hash,
    (
        SELECT json_group_array(json_array(b.currency, b.available_minor, b.reserved_minor))
        FROM balances AS b
        WHERE b.stream_name = ?1 AND b.stream_id = ?2
    )
FROM events
WHERE stream_name = ?1 AND stream_id = ?2
ORDER BY version DESC
LIMIT 1;

-- name: select_events_after
-- A stream's events above a version, ascending.
SELECT position, stream_name, stream_id, event_id, version, type, body, hash
FROM events
WHERE stream_name = ?1 AND stream_id = ?2 AND version > ?3
ORDER BY version
LIMIT ?4;

-- name: select_all_events
-- All events above a position, ascending.
SELECT position, stream_name, stream_id, event_id, version, type, body, hash
FROM events
WHERE position > ?1
ORDER BY position
LIMIT ?2;

-- name: select_merchant_events
-- The same for one merchant's streams.
SELECT position, stream_name, stream_id, event_id, version, type, body, hash
FROM events
WHERE stream_name = ?1 AND position > ?2
ORDER BY position
LIMIT ?3;

-- name: select_stream_of
-- The stream of a transaction.
SELECT stream_name, stream_id
FROM transactions
WHERE transaction_id = ?1;

-- name: select_review
-- One review, if its stream has one of two names.
SELECT {columns of reviews}
FROM reviews
WHERE review_id = ?1 AND stream_name IN (?2, ?3);

-- name: select_reviews
-- Reviews of one state in streams of one name below a key, newest first.
SELECT {columns of reviews}
FROM reviews
WHERE stream_name = ?1 AND state = ?2 AND (opened_at, review_id) < (?3, ?4)
ORDER BY opened_at DESC, review_id DESC
LIMIT ?5;

-- name: select_event_hash
-- The hash of one event, to check whether a writer's head was ever in the stream.
SELECT hash
FROM events
WHERE stream_name = ?1 AND stream_id = ?2 AND version = ?3;

-- name: select_claim
-- The value of a claim.
SELECT value
FROM claims
WHERE scope = ?1 AND key = ?2;

-- name: select_work_token
-- The token with which a fence is compared.
SELECT token
FROM work
WHERE work_id = ?1;

-- name: select_owner
-- Whether an owner is registered.
SELECT owner
FROM owners
WHERE owner = ?1;

-- name: upsert_owner
-- Register an owner.
INSERT INTO owners (owner, heartbeat_at, vocabulary)
VALUES (?1, ?2, ?3)
ON CONFLICT (owner) DO UPDATE SET heartbeat_at = excluded.heartbeat_at, vocabulary = excluded.vocabulary;

-- name: select_vocabulary_floor
-- The lowest vocabulary of the owners; NULL when there are none.
SELECT min(vocabulary) FROM owners;

-- name: update_heartbeat
-- Renew the heartbeat of an owner.
UPDATE owners
SET heartbeat_at = ?2
WHERE owner = ?1;

-- name: select_dead_owners
-- Owners whose heartbeat is not between two times.
SELECT owner
FROM owners
WHERE heartbeat_at < ?1 OR heartbeat_at > ?2
ORDER BY owner;

-- name: delete_owner
-- Delete an owner.
DELETE FROM owners
WHERE owner = ?1;

-- name: release_work
-- Queue all work that an owner leases, due at once, under new tokens, with the certainty ?3 or a higher one. Reads all
-- work: owners end rarely.
UPDATE work
SET state = 'queued', owner = NULL, token = token + 1, next_attempt_at = ?2, doubt = max(doubt, ?3)
WHERE state = 'leased' AND owner = ?1;

-- name: select_first_due
-- When a gateway's next piece of work is due.
SELECT next_attempt_at
FROM work
WHERE gateway = ?1 AND state IN ('queued', 'dead')
ORDER BY next_attempt_at
LIMIT 1;

-- name: select_due
-- The pieces of a gateway's work that are due, oldest first.
SELECT work_id
FROM work
WHERE gateway = ?1 AND state IN ('queued', 'dead') AND next_attempt_at <= ?2
ORDER BY next_attempt_at, work_id
LIMIT ?3;

-- name: select_queued_due
-- The same with what a hint of it names.
SELECT next_attempt_at, work_id, token, transaction_id, gateway
FROM work
WHERE gateway = ?1 AND state IN ('queued', 'dead') AND next_attempt_at <= ?2
ORDER BY next_attempt_at
LIMIT ?3;

-- name: lease_work
-- Lease a piece of work to an owner under a new token.
UPDATE work
SET state = 'leased', owner = ?2, token = token + 1
WHERE work_id = ?1;

-- name: park_work
-- Park a piece of work for an operator.
UPDATE work
SET state = 'parked', owner = NULL, token = token + 1, errors = ?2
WHERE work_id = ?1;

-- name: select_work_row
-- A piece of work. Its transaction is read separately: it may be damaged, and a join costs more than both reads.
SELECT {columns of work as w}
FROM work AS w
WHERE w.work_id = ?1;

-- name: set_dues_back
-- The clock was set back: due times move with it.
UPDATE work
SET next_attempt_at = next_attempt_at - ?1
WHERE state IN ('queued', 'dead');

-- name: limit_dues
-- Limit due times to this one, except lookups of authorizations, which are planned for the end of the hold.
UPDATE work
SET next_attempt_at = ?1
WHERE
    state IN ('queued', 'dead') AND next_attempt_at > ?1
    AND NOT EXISTS (
        SELECT 1
        FROM transactions AS t
        WHERE t.transaction_id = work.transaction_id AND t.status = 'authorized'
    );

-- name: hasten_lookups
-- Make a gateway's lookups due now, except those of authorizations before the end of the hold.
UPDATE work
SET next_attempt_at = ?2, attempts = max(attempts - 1, 0)
WHERE
    gateway = ?1 AND state IN ('queued', 'dead') AND action = 'resolve' AND next_attempt_at > ?2
    AND NOT EXISTS (
        SELECT 1
        FROM transactions AS t
        WHERE
            t.transaction_id = work.transaction_id AND t.status = 'authorized' AND t.authorization_expires_at > ?2
    );

-- name: retry_dead
-- Queue dead letters in streams of one name, due at once, under new tokens. A filter that is NULL matches all.
UPDATE work
SET state = 'queued', token = token + 1, next_attempt_at = ?2
WHERE stream_name = ?1
    AND state IN ('dead', 'parked')
    AND (?3 IS NULL OR +gateway = ?3)
    AND (?4 IS NULL OR +state = ?4);

-- name: retry_dead_letter
-- The same for one dead letter by its id.
UPDATE work
SET state = 'queued', token = token + 1, next_attempt_at = ?2
WHERE work_id = ?5
    AND +stream_name = ?1
    AND +state IN ('dead', 'parked')
    AND (?3 IS NULL OR +gateway = ?3)
    AND (?4 IS NULL OR +state = ?4);

-- name: select_dead_gateways
-- The gateways of the dead letters in streams of one name: a seek for each.
WITH RECURSIVE known (gateway) AS (
    SELECT min(gateway)
    FROM work
    WHERE stream_name = ?1 AND state IN ('dead', 'parked')
    UNION ALL
    SELECT (
        SELECT min(w.gateway)
        FROM work AS w
        WHERE w.stream_name = ?1 AND w.state IN ('dead', 'parked') AND w.gateway > known.gateway
    )
    FROM known
    WHERE known.gateway IS NOT NULL
)
SELECT gateway
FROM known
WHERE gateway IS NOT NULL;

-- name: select_dead_letters
-- Dead letters of one gateway and state in streams of one name, with ids below ?2, newest first. NULL: any id.
SELECT {columns of work as w}
FROM work AS w
WHERE w.stream_name = ?1
    AND w.gateway = ?5
    AND w.state = ?6
    AND w.state IN ('dead', 'parked')
    AND w.work_id < coalesce(?2, x'')
    AND (?4 IS NULL OR +w.work_id = ?4)
ORDER BY w.work_id DESC
LIMIT ?3;

-- name: select_callback_gateways
-- The queues of the stored callbacks in streams of one name: a seek for each.
WITH RECURSIVE known (gateway) AS (
    SELECT min(gateway)
    FROM work
    WHERE stream_name = ?1 AND action = 'apply'
    UNION ALL
    SELECT (
        SELECT min(w.gateway)
        FROM work AS w
        WHERE w.stream_name = ?1 AND w.action = 'apply' AND w.gateway > known.gateway
    )
    FROM known
    WHERE known.gateway IS NOT NULL
)
SELECT gateway
FROM known
WHERE gateway IS NOT NULL;

-- name: select_waiting_callbacks
-- Stored callbacks of one gateway in streams of one name that wait for their transaction, with ids below ?2, newest
-- first. NULL: any id.
SELECT {columns of work as w}
FROM work AS w
WHERE w.stream_name = ?1
    AND w.gateway = ?4
    AND w.action = 'apply'
    AND w.state IN ('queued', 'leased')
    AND w.work_id < coalesce(?2, x'')
ORDER BY w.work_id DESC
LIMIT ?3;

-- name: upsert_gateway_mode
-- Store the mode that an operator sets for a gateway's breaker.
INSERT INTO gateway_modes (gateway, mode, reason, set_at)
VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (gateway) DO UPDATE SET mode = excluded.mode, reason = excluded.reason, set_at = excluded.set_at;

-- name: select_gateway_modes
-- The mode of each gateway that has one.
SELECT gateway, mode, reason
FROM gateway_modes;

-- name: select_breakers
-- The breakers that have changed at least once.
SELECT gateway, epoch, state, changed_at, prober, probe_until
FROM breakers;

-- name: select_breaker
-- One gateway's breaker.
SELECT gateway, epoch, state, changed_at, prober, probe_until
FROM breakers
WHERE gateway = ?1;

-- name: insert_breaker
-- The first change of a gateway's breaker, unless it has one already.
INSERT INTO breakers (gateway, epoch, state, changed_at)
VALUES (?1, 1, ?2, ?3)
ON CONFLICT (gateway) DO NOTHING;

-- name: turn_breaker
-- Change a breaker whose epoch is the expected one.
UPDATE breakers
SET epoch = epoch + 1, state = ?3, changed_at = ?4, prober = NULL, probe_until = NULL
WHERE gateway = ?1 AND epoch = ?2;

-- name: take_probe
-- Give the probe when the breaker has slept for long enough: open since its change, half-open since the permit of the
-- last probe expired. A change too far in the future counts as well: the clock was set back.
UPDATE breakers
SET epoch = epoch + 1, state = 'half_open', changed_at = ?4, prober = ?3, probe_until = ?5
WHERE gateway = ?1 AND epoch = ?2 AND state <> 'closed'
    AND (coalesce(probe_until, changed_at) <= ?6 OR changed_at > ?7);

-- name: select_balances
-- A customer's balances, currencies ascending.
SELECT currency, available_minor, reserved_minor
FROM balances
WHERE stream_name = ?1 AND stream_id = ?2
ORDER BY currency;

-- name: select_stream_transaction
-- One transaction of a customer.
SELECT {columns of transactions as t}
FROM transactions AS t
WHERE transaction_id = ?3 AND stream_name = ?1 AND stream_id = ?2;

-- name: select_stream_transactions
-- All transactions of a customer, ids ascending.
SELECT {columns of transactions as t}
FROM transactions AS t
WHERE stream_name = ?1 AND stream_id = ?2
ORDER BY transaction_id;

-- name: select_transaction_view
-- One transaction of a merchant with its attention.
SELECT {columns of transactions as t}, {attention}
FROM transactions AS t
WHERE t.transaction_id = ?2 AND t.stream_name = ?1;

-- name: select_transactions_of
-- Transactions of any merchant by a JSON array of their ids.
SELECT {columns of transactions as t}
FROM json_each(?1) AS wanted
CROSS JOIN transactions AS t ON t.transaction_id = wanted.value;

-- name: select_known_lists
-- The gateways, statuses and kinds that a merchant's transactions have together, of all gateways or of one: a seek for
-- each, however many rows it has.
WITH RECURSIVE known (gateway) AS (
    SELECT coalesce(?2, (SELECT min(gateway) FROM transactions WHERE stream_name = ?1))
    UNION ALL
    SELECT (SELECT min(t.gateway) FROM transactions AS t WHERE t.stream_name = ?1 AND t.gateway > known.gateway)
    FROM known
    WHERE known.gateway IS NOT NULL AND ?2 IS NULL
),
statuses (gateway, status) AS (
    SELECT known.gateway, (
        SELECT min(t.status)
        FROM transactions AS t
        WHERE t.stream_name = ?1 AND t.gateway = known.gateway
    )
    FROM known
    UNION ALL
    SELECT before.gateway, (
        SELECT min(t.status)
        FROM transactions AS t
        WHERE t.stream_name = ?1 AND t.gateway = before.gateway AND t.status > before.status
    )
    FROM statuses AS before
    WHERE before.status IS NOT NULL
),
lists (gateway, status, kind) AS (
    SELECT which.gateway, which.status, (
        SELECT min(t.kind)
        FROM transactions AS t
        WHERE t.stream_name = ?1 AND t.gateway = which.gateway AND t.status = which.status
    )
    FROM statuses AS which
    UNION ALL
    SELECT before.gateway, before.status, (
        SELECT min(t.kind)
        FROM transactions AS t
        WHERE t.stream_name = ?1
            AND t.gateway = before.gateway
            AND t.status = before.status
            AND t.kind > before.kind
    )
    FROM lists AS before
    WHERE before.kind IS NOT NULL
)
SELECT gateway, status, kind
FROM lists
WHERE kind IS NOT NULL;

-- name: select_merchant_transactions
-- A merchant's transactions of one gateway, status and kind with ids in a range, newest first. A time that is NULL
-- matches all. Any blob is above any text.
SELECT {columns of transactions as t}, {attention}
FROM transactions AS t
WHERE t.stream_name = ?1
    AND t.gateway = ?7
    AND t.status = ?8
    AND t.kind = ?9
    AND t.transaction_id >= ?2
    AND t.transaction_id < coalesce(?3, x'')
    AND (?5 IS NULL OR t.created_at >= ?5)
    AND (?6 IS NULL OR t.created_at < ?6)
ORDER BY t.transaction_id DESC
LIMIT ?4;

-- name: select_customer_id_transactions
-- The same for one customer, through the index by stream.
SELECT {columns of transactions as t}, {attention}
FROM transactions AS t
WHERE t.stream_id = ?10 AND {narrowed}
ORDER BY t.transaction_id DESC
LIMIT ?4;

-- name: select_parent_id_transactions
-- The same for the refunds, captures and voids of one transaction.
SELECT {columns of transactions as t}, {attention}
FROM transactions AS t
WHERE t.parent_id = ?11 AND {narrowed}
ORDER BY t.transaction_id DESC
LIMIT ?4;

-- name: select_gateway_reference_transactions
-- The same for one reference of a gateway.
SELECT {columns of transactions as t}, {attention}
FROM transactions AS t
WHERE t.gateway_reference = ?12 AND {narrowed}
ORDER BY t.transaction_id DESC
LIMIT ?4;

-- name: select_correlation_id_transactions
-- The same for one correlation id.
SELECT {columns of transactions as t}, {attention}
FROM transactions AS t
WHERE t.correlation_id = ?13 AND {narrowed}
ORDER BY t.transaction_id DESC
LIMIT ?4;

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
    count(*), (?1 - min(w.created_at)) / 1e6,
    total(w.next_attempt_at <= ?1), (?1 - min(w.next_attempt_at)) / 1e6
FROM work AS w
GROUP BY 2, 3
UNION ALL
SELECT 'unknown', known.gateway, NULL, sum((
    SELECT count(*)
    FROM transactions AS t
    WHERE t.stream_name = known.name AND t.gateway = known.gateway AND t.status = 'unknown'
)), NULL, NULL, NULL
FROM known
WHERE known.gateway IS NOT NULL
GROUP BY known.gateway
UNION ALL
SELECT 'reviews', NULL, NULL, count(*), NULL, NULL, NULL
FROM reviews
WHERE state = 'open';

-- name: select_last_position
-- The position of the newest event.
SELECT coalesce(max(position), 0) FROM events;

-- name: ping
-- Read one row, which proves that the tables can be read.
SELECT position
FROM events
LIMIT 1;

-- name: create_unfinished
-- For an audit: the transactions that have work, by stream. A temporary table of the reading connection alone.
CREATE TEMP TABLE unfinished (
    stream_name TEXT NOT NULL,
    stream_id TEXT NOT NULL,
    transaction_id TEXT NOT NULL,
    PRIMARY KEY (stream_name, stream_id, transaction_id)
) STRICT, WITHOUT ROWID;

-- name: fill_unfinished
-- Copy them in this snapshot.
INSERT OR IGNORE INTO temp.unfinished (stream_name, stream_id, transaction_id)
SELECT stream_name, stream_id, transaction_id
FROM work
WHERE transaction_id IS NOT NULL;

-- name: select_unfinished
-- A stream's transactions that have work, ascending.
SELECT transaction_id
FROM temp.unfinished
WHERE stream_name = ?1 AND stream_id = ?2
ORDER BY transaction_id;

-- name: select_next_in_events
-- The first stream after a given one in this table; an index seek.
SELECT stream_name, stream_id
FROM events
WHERE (stream_name, stream_id) > (?1, ?2)
ORDER BY stream_name, stream_id
LIMIT 1;

-- name: select_next_in_transactions
-- The first stream after a given one in this table; an index seek.
SELECT stream_name, stream_id
FROM transactions
WHERE (stream_name, stream_id) > (?1, ?2)
ORDER BY stream_name, stream_id
LIMIT 1;

-- name: select_next_in_balances
-- The first stream after a given one in this table; an index seek.
SELECT stream_name, stream_id
FROM balances
WHERE (stream_name, stream_id) > (?1, ?2)
ORDER BY stream_name, stream_id
LIMIT 1;

-- name: select_next_in_reviews
-- The first stream after a given one in this table; an index seek.
SELECT stream_name, stream_id
FROM reviews
WHERE (stream_name, stream_id) > (?1, ?2)
ORDER BY stream_name, stream_id
LIMIT 1;

-- name: select_next_in_unfinished
-- The first stream after a given one in this table; an index seek.
SELECT stream_name, stream_id
FROM temp.unfinished
WHERE (stream_name, stream_id) > (?1, ?2)
ORDER BY stream_name, stream_id
LIMIT 1;

-- name: select_stream_reviews
-- The review rows of a stream, ids ascending.
SELECT {columns of reviews}
FROM reviews
WHERE stream_name = ?1 AND stream_id = ?2
ORDER BY review_id;

-- name: select_api_key
-- A key, whether it is live, and the remaining time in microseconds it will be (NULL: unlimited).
SELECT key_id, digest, merchant, scopes, revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?2), expires_at - ?2
FROM api_keys
WHERE key_id = ?1;

-- name: insert_api_key
-- A new key.
INSERT INTO api_keys (key_id, digest, merchant, scopes, label, created_at, expires_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7);

-- name: select_api_keys
-- All keys, or those of one merchant, oldest first. There are few.
SELECT key_id, merchant, scopes, label, created_at, expires_at, revoked_at
FROM api_keys
WHERE ?1 IS NULL OR merchant = ?1
ORDER BY created_at, key_id;

-- name: revoke_api_key
-- Revoke a key. A second revocation keeps the first time.
UPDATE api_keys
SET revoked_at = coalesce(revoked_at, ?2)
WHERE key_id = ?1;

-- name: select_any_api_key
-- Whether a live key exists.
SELECT EXISTS (SELECT 1 FROM api_keys WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?1));

-- name: select_newest_version
-- For a rebuild: the highest version in a stream's transaction rows.
SELECT coalesce(max(version), 0)
FROM transactions
WHERE stream_name = ?1 AND stream_id = ?2;

-- name: delete_transactions
-- For a rebuild: a stream's rows.
DELETE FROM transactions
WHERE stream_name = ?1 AND stream_id = ?2;

-- name: select_holders
-- For a rebuild: other streams that have rows of these ids.
SELECT stream_name, stream_id
FROM transactions
WHERE transaction_id IN (SELECT value FROM json_each(?3)) AND (stream_name, stream_id) <> (?1, ?2)
UNION
SELECT stream_name, stream_id
FROM reviews
WHERE review_id IN (SELECT value FROM json_each(?4)) AND (stream_name, stream_id) <> (?1, ?2)
ORDER BY stream_name, stream_id;

-- name: delete_stray_transactions
-- For a rebuild: rows of these ids in any stream.
DELETE FROM transactions
WHERE transaction_id IN (SELECT value FROM json_each(?1));

-- name: delete_balances
-- For a rebuild: a stream's rows.
DELETE FROM balances
WHERE stream_name = ?1 AND stream_id = ?2;

-- name: delete_reviews
-- For a rebuild: a stream's rows.
DELETE FROM reviews
WHERE stream_name = ?1 AND stream_id = ?2;

-- name: delete_stray_reviews
-- For a rebuild: rows of these ids in any stream.
DELETE FROM reviews
WHERE review_id IN (SELECT value FROM json_each(?1));

-- name: select_generation
-- The newest generation and the last position.
SELECT (SELECT coalesce(max(number), 0) FROM generations), (SELECT coalesce(max(position), 0) FROM events);

-- name: insert_generation
-- The next generation.
INSERT INTO generations (number, begun_at, position)
SELECT ?1, ?2, coalesce(max(position), 0) FROM events;

-- name: void_leases
-- Unfinished work may have been sent: end its leases, raise its tokens by ?2 and its certainty to ?3.
UPDATE work
SET state = CASE state WHEN 'leased' THEN 'queued' ELSE state END,
    owner = NULL,
    token = token + ?2,
    next_attempt_at = CASE state WHEN 'leased' THEN ?1 ELSE next_attempt_at END,
    doubt = CASE action WHEN 'apply' THEN doubt ELSE ?3 END;

-- name: raise_epochs
-- Raise the epochs above those in all processes, which ignore records of an earlier epoch.
UPDATE breakers
SET epoch = epoch + ?1;

-- name: delete_owners
-- Delete all owners.
DELETE FROM owners;

-- name: select_event_id
-- The id of one event.
SELECT event_id
FROM events
WHERE stream_name = ?1 AND stream_id = ?2 AND version = ?3;

-- name: select_lease
-- The token of a piece of work, and the owner that leases it.
SELECT token, owner
FROM work
WHERE work_id = ?1;

-- name: select_newest_event
-- A merchant's last event.
SELECT position, stream_name, stream_id, event_id, version, type, body, hash
FROM events
WHERE stream_name = ?1
ORDER BY position DESC
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
CROSS JOIN transactions AS t ON t.transaction_id = w.transaction_id
WHERE t.status NOT IN ('completed', 'voided', 'failed')
ORDER BY t.gateway, t.transaction_id;

-- name: lead_relay
-- Give the lease to an owner unless another one has it. A lease that was renewed later than now is one of a clock that
-- was set back.
INSERT INTO relays AS r (name, owner, token, position, generation, renewed_at, leased_until)
SELECT ?1, ?2, 1, 0, (SELECT max(number) FROM generations), ?3, ?3 + ?4
WHERE true
ON CONFLICT (name) DO UPDATE
SET owner = excluded.owner,
    token = CASE WHEN r.owner = excluded.owner THEN r.token ELSE r.token + 1 END,
    renewed_at = excluded.renewed_at,
    leased_until = excluded.leased_until
WHERE r.owner IS NULL OR r.owner = excluded.owner OR r.leased_until <= ?3 OR r.renewed_at > ?3 + ?4
RETURNING token, position, (SELECT max(number) FROM generations);

-- name: advance_relay
-- Move the checkpoint of a relay whose token and generation are the present ones.
UPDATE relays
SET position = ?3,
    generation = ?4,
    refused_reason = CASE WHEN refused_position > ?3 THEN refused_reason END,
    refused_at = CASE WHEN refused_position > ?3 THEN refused_at END,
    refused_position = CASE WHEN refused_position > ?3 THEN refused_position END
WHERE name = ?1 AND token = ?2 AND position <= ?3 AND ?4 = (SELECT max(number) FROM generations)
RETURNING name;

-- name: refuse_relay
-- Record the event before which a relay stays.
UPDATE relays
SET refused_position = ?3, refused_reason = ?4, refused_at = ?5
WHERE name = ?1 AND token = ?2 AND position < ?3
RETURNING name;

-- name: resign_relay
-- Give the lease of a relay back.
UPDATE relays
SET owner = NULL
WHERE name = ?1 AND owner = ?2;

-- name: select_relay
-- One relay.
SELECT
    name, position, generation, token, owner, renewed_at, leased_until, refused_position, refused_reason, refused_at
FROM relays
WHERE name = ?1;

-- name: select_relay_health
-- The first event after the checkpoint of a relay (of all events, when it has no record), the last position, whether a
-- lease is live, and whether an event is refused.
WITH relay (position, led, refused) AS (
    SELECT
        coalesce(max(position), 0),
        coalesce(max(owner IS NOT NULL AND min(leased_until - ?2, leased_until - renewed_at) > 0), 0),
        coalesce(max(refused_position IS NOT NULL), 0)
    FROM relays
    WHERE name = ?1
)
SELECT e.position, e.event_id, e.body, (SELECT max(l.position) FROM events AS l), relay.led, relay.refused
FROM relay
LEFT JOIN events AS e ON e.position = (SELECT min(f.position) FROM events AS f WHERE f.position > relay.position);

-- name: select_relay_names
-- The names of all relays.
SELECT name
FROM relays
ORDER BY name;

-- name: move_relay
-- Set the checkpoint of a relay that is at the expected position.
UPDATE relays
SET position = ?3,
    generation = (SELECT max(number) FROM generations),
    token = token + 1,
    refused_position = NULL,
    refused_reason = NULL,
    refused_at = NULL
WHERE name = ?1 AND position = ?2
RETURNING name;

-- name: insert_relay_move
-- Record what an operator did to a checkpoint.
INSERT INTO relay_moves (relay, action, from_position, to_position, who, reason, moved_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7);

-- name: select_relay_moves
-- What operators did to the checkpoint of a relay, newest first.
SELECT relay, action, from_position, to_position, who, reason, moved_at
FROM relay_moves
WHERE relay = ?1
ORDER BY number DESC
LIMIT ?2;
