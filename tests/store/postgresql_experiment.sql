-- An experiment: can whole batches of the port's writes be appended to PostgreSQL in one round trip, each writer
-- answered on its own? Tables as the SQLite adapter has them, with a table of heads to lock; not yet the adapter.

CREATE TABLE heads (
    stream_name text   NOT NULL,
    stream_id   text   NOT NULL,
    version     bigint NOT NULL,
    hash        bytea  NOT NULL,
    CONSTRAINT heads_pk PRIMARY KEY (stream_name, stream_id)
);

CREATE TABLE events (
    position    bigint GENERATED ALWAYS AS IDENTITY,
    xact        xid8   NOT NULL DEFAULT pg_current_xact_id(), -- a reader by position skips what may still commit below
    stream_name text   NOT NULL,
    stream_id   text   NOT NULL,
    version     bigint NOT NULL,
    event_id    text   NOT NULL,
    type        text   NOT NULL,
    body        bytea  NOT NULL,
    hash        bytea  NOT NULL,
    CONSTRAINT events_pk PRIMARY KEY (position),
    CONSTRAINT events_stream_version_key UNIQUE (stream_name, stream_id, version),
    CONSTRAINT events_hash_is_sha256 CHECK (octet_length(hash) = 32)
);

CREATE TABLE transactions (
    transaction_id    text   NOT NULL,
    stream_name       text   NOT NULL,
    stream_id         text   NOT NULL,
    kind              text   NOT NULL,
    gateway           text   NOT NULL,
    amount_minor      bigint NOT NULL,
    currency          text   NOT NULL,
    details           text   NOT NULL,
    status            text   NOT NULL,
    reserved          bigint NOT NULL,
    submissions       bigint NOT NULL,
    gateway_reference text,
    failure_code      text,
    failure_category  text,
    failure_message   text,
    version           bigint NOT NULL,
    created_at        bigint NOT NULL,
    updated_at        bigint NOT NULL,
    CONSTRAINT transactions_pk PRIMARY KEY (transaction_id)
);
CREATE INDEX transactions_by_stream ON transactions (stream_name, stream_id, transaction_id);

CREATE TABLE balances (
    stream_name     text   NOT NULL,
    stream_id       text   NOT NULL,
    currency        text   NOT NULL,
    available_minor bigint NOT NULL,
    reserved_minor  bigint NOT NULL,
    CONSTRAINT balances_pk PRIMARY KEY (stream_name, stream_id, currency),
    CONSTRAINT balances_not_negative CHECK (available_minor >= 0 AND reserved_minor >= 0)
);

CREATE TABLE reviews (
    review_id      text   NOT NULL,
    stream_name    text   NOT NULL,
    stream_id      text   NOT NULL,
    transaction_id text,
    reason         text   NOT NULL,
    state          text   NOT NULL,
    opened_at      bigint NOT NULL,
    closed_at      bigint,
    CONSTRAINT reviews_pk PRIMARY KEY (review_id)
);

CREATE TABLE claims (
    scope text  NOT NULL,
    key   text  NOT NULL,
    value bytea NOT NULL,
    CONSTRAINT claims_pk PRIMARY KEY (scope, key)
);

CREATE TABLE owners (
    owner        text        NOT NULL,
    heartbeat_at timestamptz NOT NULL,
    CONSTRAINT owners_pk PRIMARY KEY (owner)
);

CREATE TABLE work (
    work_id         text        NOT NULL,
    stream_name     text        NOT NULL,
    stream_id       text        NOT NULL,
    transaction_id  text,
    gateway         text        NOT NULL,
    action          text        NOT NULL,
    event_type      text        NOT NULL,
    state           text        NOT NULL,
    owner           text,
    token           bigint      NOT NULL,
    attempts        bigint      NOT NULL,
    next_attempt_at timestamptz NOT NULL,
    errors          jsonb       NOT NULL,
    payload         bytea,
    created_at      timestamptz NOT NULL,
    doubt           smallint    NOT NULL DEFAULT 0,
    CONSTRAINT work_pk PRIMARY KEY (work_id),
    CONSTRAINT work_owned_when_leased CHECK ((state = 'leased') = (owner IS NOT NULL)),
    CONSTRAINT work_doubt_known CHECK (doubt IN (0, 1, 2))
);

CREATE TYPE verdict AS (write bigint, answer text, part bigint, scope text, key text, value bytea);

-- Appends a batch and answers each write, told by its place in the batch; a conflict has a row for each missed event.
-- Writes of one wave share no stream, no claim and no piece of work; a later wave sees what the earlier ones did.
-- Everything that two batches may fight for is locked first and in sorted order, and each statement after that sees
-- what the other batch has committed (READ COMMITTED takes a snapshot for each).
CREATE FUNCTION append_batch(
    waves bigint[], names text[], ids text[], versions bigint[], hashes bytea[], -- a write; version -1: it has no events
    e_write bigint[], e_version bigint[], e_id text[], e_type text[], e_body bytea[], e_hash bytea[],
    c_write bigint[], c_part bigint[], c_scope text[], c_key text[], c_value bytea[],
    f_write bigint[], f_part bigint[], f_work text[], f_token bigint[],
    t_rows jsonb, b_rows jsonb, r_rows jsonb, -- [{"write": 1, and the columns of transactions, balances, reviews}]
    k_write bigint[], k_work text[], k_change jsonb[], k_payload bytea[] -- changes of work, in order within a write
)
RETURNS TABLE (
    write bigint, answer text, part bigint, scope text, key text, value bytea,
    event_position bigint, event_id text, version bigint, type text, body bytea, hash bytea
)
LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    genesis CONSTANT bytea := decode(repeat('00', 32), 'hex');
    verdicts verdict[] := '{}';
    round verdict[];
    winners bigint[];
    wave_no bigint;
    k record;
BEGIN
    INSERT INTO heads (stream_name, stream_id, version, hash)
    SELECT DISTINCT w.name, w.id, 0, genesis
    FROM unnest(names, ids, versions) AS w (name, id, version)
    WHERE w.version = 0
    ORDER BY w.name, w.id
    ON CONFLICT DO NOTHING;

    PERFORM 1
    FROM heads AS h
    WHERE (h.stream_name, h.stream_id) IN (
        SELECT w.name, w.id FROM unnest(names, ids, versions) AS w (name, id, version) WHERE w.version >= 0
    )
    ORDER BY h.stream_name, h.stream_id
    FOR UPDATE;

    PERFORM pg_advisory_xact_lock(c.lock)
    FROM (
        SELECT DISTINCT hashtextextended(c.scope || chr(31) || c.key, 0) AS lock
        FROM unnest(c_scope, c_key) AS c (scope, key)
        ORDER BY 1
    ) AS c;

    PERFORM 1
    FROM work AS w
    WHERE w.work_id = ANY (f_work || k_work)
    ORDER BY w.work_id
    FOR UPDATE;

    -- Whoever declares an owner dead waits for us, or we see that it has.
    PERFORM 1
    FROM owners AS o
    WHERE o.owner IN (SELECT change ->> 'owner' FROM unnest(k_change) AS change)
    ORDER BY o.owner
    FOR KEY SHARE;

    FOR wave_no IN 1 .. coalesce((SELECT max(wave) FROM unnest(waves) AS wave), 0) LOOP
        WITH
        w AS (
            SELECT *
            FROM unnest(waves, names, ids, versions, hashes) WITH ORDINALITY AS w (wave, name, id, version, hash, no)
            WHERE w.wave = wave_no
        ),
        e AS (
            SELECT e.write, count(*) AS events, array_agg(e.id ORDER BY e.version) AS event_ids
            FROM unnest(e_write, e_version, e_id) AS e (write, version, id)
            GROUP BY e.write
        ),
        behind AS ( -- writes whose head is not the stream's, and whether their events are there already
            SELECT
                w.no,
                coalesce(e.event_ids = ARRAY(
                    SELECT s.event_id
                    FROM events AS s
                    WHERE s.stream_name = w.name AND s.stream_id = w.id
                        AND s.version > w.version AND s.version <= w.version + e.events
                    ORDER BY s.version
                ), false) AND ((w.version, w.hash) = (0, genesis) OR EXISTS (
                    SELECT 1
                    FROM events AS s
                    WHERE s.stream_name = w.name AND s.stream_id = w.id AND s.version = w.version AND s.hash = w.hash
                )) AS repeated
            FROM w
            JOIN e ON e.write = w.no
            LEFT JOIN heads AS h ON h.stream_name = w.name AND h.stream_id = w.id
            WHERE (h.version, h.hash) IS DISTINCT FROM (w.version, w.hash)
        ),
        c AS (
            SELECT
                c.*,
                held.value AS held,
                lag(c.value) OVER (PARTITION BY c.write, c.scope, c.key ORDER BY c.no) AS earlier
            FROM unnest(c_write, c_part, c_scope, c_key, c_value)
                WITH ORDINALITY AS c (write, part, scope, key, value, no)
            LEFT JOIN claims AS held ON held.scope = c.scope AND held.key = c.key
        ),
        refusal AS ( -- the first of each write: by part, claims before the fence
            SELECT DISTINCT ON (r.write) r.*
            FROM (
                SELECT c.write, c.part, c.no, 'duplicate' AS answer, c.scope, c.key, coalesce(c.held, c.earlier) AS value
                FROM c
                WHERE c.held IS NOT NULL OR c.earlier IS NOT NULL
                UNION ALL
                SELECT f.write, f.part, 9223372036854775807, 'fenced', NULL, NULL, NULL
                FROM unnest(f_write, f_part, f_work, f_token) AS f (write, part, work, token)
                LEFT JOIN work AS k ON k.work_id = f.work
                WHERE k.token IS DISTINCT FROM f.token
            ) AS r
            ORDER BY r.write, r.part, r.no
        )
        SELECT coalesce(array_agg(ROW(
            w.no,
            CASE
                WHEN b.repeated THEN 'repeated'
                WHEN b.no IS NOT NULL THEN 'conflict'
                WHEN r.answer = 'duplicate' AND w.version < 0
                    AND NOT EXISTS (SELECT 1 FROM c WHERE c.write = w.no AND c.held IS DISTINCT FROM c.value)
                    THEN 'repeated'
                ELSE coalesce(r.answer, 'committed')
            END,
            r.part, r.scope, r.key, r.value
        )::verdict), '{}')
        INTO round
        FROM w
        LEFT JOIN behind AS b ON b.no = w.no
        LEFT JOIN refusal AS r ON r.write = w.no;

        verdicts := verdicts || round;
        winners := ARRAY(SELECT v.write FROM unnest(round) AS v WHERE v.answer = 'committed');
        CONTINUE WHEN winners = '{}';

        -- Positions are taken by winners alone: a loser's would be a gap that readers wait for.
        INSERT INTO events (stream_name, stream_id, version, event_id, type, body, hash)
        SELECT names[e.write], ids[e.write], e.version, e.id, e.type, e.body, e.hash
        FROM unnest(e_write, e_version, e_id, e_type, e_body, e_hash)
            WITH ORDINALITY AS e (write, version, id, type, body, hash, no)
        WHERE e.write = ANY (winners)
        ORDER BY e.no;

        UPDATE heads AS h
        SET version = e.version, hash = e.hash
        FROM (
            SELECT DISTINCT ON (e.write) e.*
            FROM unnest(e_write, e_version, e_hash) AS e (write, version, hash)
            WHERE e.write = ANY (winners)
            ORDER BY e.write, e.version DESC
        ) AS e
        WHERE h.stream_name = names[e.write] AND h.stream_id = ids[e.write];

        INSERT INTO claims (scope, key, value)
        SELECT c.scope, c.key, c.value
        FROM unnest(c_write, c_scope, c_key, c_value) AS c (write, scope, key, value)
        WHERE c.write = ANY (winners);

        INSERT INTO transactions AS t
        SELECT row.*
        FROM jsonb_array_elements(t_rows) AS given, jsonb_populate_record(NULL::transactions, given) AS row
        WHERE (given ->> 'write')::bigint = ANY (winners)
        ON CONFLICT (transaction_id) DO UPDATE SET
            status = excluded.status,
            submissions = excluded.submissions,
            gateway_reference = excluded.gateway_reference,
            failure_code = excluded.failure_code,
            failure_category = excluded.failure_category,
            failure_message = excluded.failure_message,
            version = CASE
                WHEN (t.stream_name, t.stream_id) = (excluded.stream_name, excluded.stream_id) THEN excluded.version
            END,
            updated_at = excluded.updated_at;

        INSERT INTO balances
        SELECT row.*
        FROM jsonb_array_elements(b_rows) AS given, jsonb_populate_record(NULL::balances, given) AS row
        WHERE (given ->> 'write')::bigint = ANY (winners)
        ON CONFLICT (stream_name, stream_id, currency) DO UPDATE SET
            available_minor = excluded.available_minor, reserved_minor = excluded.reserved_minor;

        INSERT INTO reviews
        SELECT row.*
        FROM jsonb_array_elements(r_rows) AS given, jsonb_populate_record(NULL::reviews, given) AS row
        WHERE (given ->> 'write')::bigint = ANY (winners)
        ON CONFLICT (review_id) DO UPDATE SET state = excluded.state, closed_at = excluded.closed_at;

        -- A write that touches one piece of work twice is rare; all others go by sets.
        IF EXISTS (
            SELECT 1 FROM unnest(k_write, k_work) AS k (write, work)
            WHERE k.write = ANY (winners) GROUP BY k.write, k.work HAVING count(*) > 1
        ) THEN
            FOR k IN
                SELECT k.write, k.work, k.change, k.payload
                FROM unnest(k_write, k_work, k_change, k_payload)
                    WITH ORDINALITY AS k (write, work, change, payload, no)
                WHERE k.write = ANY (winners)
                ORDER BY k.no
            LOOP
                PERFORM change_work(names, ids, ARRAY[k.write], ARRAY[k.work], ARRAY[k.change], ARRAY[k.payload]);
            END LOOP;
        ELSE
            PERFORM change_work(names, ids, a.write, a.work, a.change, a.payload)
            FROM (
                SELECT
                    coalesce(array_agg(k.write), '{}') AS write, array_agg(k.work) AS work,
                    array_agg(k.change) AS change, array_agg(k.payload) AS payload
                FROM unnest(k_write, k_work, k_change, k_payload) AS k (write, work, change, payload)
                WHERE k.write = ANY (winners)
            ) AS a;
        END IF;
    END LOOP;

    RETURN QUERY
    SELECT v.write, v.answer, v.part, v.scope, v.key, v.value, m.position, m.event_id, m.version, m.type, m.body, m.hash
    FROM unnest(verdicts) AS v
    LEFT JOIN LATERAL (
        SELECT s.*
        FROM events AS s
        WHERE v.answer = 'conflict' AND s.stream_name = names[v.write] AND s.stream_id = ids[v.write]
            AND s.version > versions[v.write]
            AND ((versions[v.write], hashes[v.write]) = (0, genesis) OR EXISTS (
                SELECT 1
                FROM events AS past
                WHERE past.stream_name = s.stream_name AND past.stream_id = s.stream_id
                    AND past.version = versions[v.write] AND past.hash = hashes[v.write]
            ))
        ORDER BY s.version
        LIMIT 256
    ) AS m ON true
    ORDER BY v.write, m.version;
END
$$;

CREATE FUNCTION change_work(
    names text[], ids text[], k_write bigint[], k_work text[], k_change jsonb[], k_payload bytea[]
)
RETURNS void
LANGUAGE sql
AS $$
    INSERT INTO work (
        work_id, stream_name, stream_id, transaction_id, gateway, action, event_type, state, owner, token, attempts,
        next_attempt_at, errors, payload, created_at
    )
    SELECT
        k.work, names[k.write], ids[k.write], k.change ->> 'transaction_id', k.change ->> 'gateway',
        k.change ->> 'action', k.change ->> 'event_type', CASE WHEN o.owner IS NULL THEN 'queued' ELSE 'leased' END,
        o.owner, 1, 0, clock_timestamp(), '[]', k.payload, clock_timestamp()
    FROM unnest(k_write, k_work, k_change, k_payload) AS k (write, work, change, payload)
    LEFT JOIN owners AS o ON o.owner = k.change ->> 'owner'
    WHERE k.change ->> 'kind' = 'open';

    UPDATE work AS w
    SET action = k.change ->> 'action',
        state = CASE
            WHEN k.change ->> 'state' = 'leased' AND w.owner IS NULL THEN 'queued' ELSE k.change ->> 'state'
        END,
        owner = CASE WHEN k.change ->> 'state' = 'leased' THEN w.owner END,
        token = w.token + 1,
        attempts = (k.change ->> 'attempts')::bigint,
        next_attempt_at = clock_timestamp() + make_interval(secs => (k.change ->> 'delay_s')::double precision),
        errors = k.change -> 'errors',
        doubt = (k.change ->> 'doubt')::smallint
    FROM unnest(k_work, k_change) AS k (work, change)
    WHERE w.work_id = k.work AND k.change ->> 'kind' = 'move';

    DELETE FROM work AS w
    USING unnest(k_work, k_change) AS k (work, change)
    WHERE w.work_id = k.work AND k.change ->> 'kind' = 'close';
$$;
