-- The events, what is derived from them, and the work that is not finished.
-- Amounts are minor units of their currency. Ids are compared byte by byte, whatever the database's locale: the order
-- of lists, of locks and of an audit must be the same everywhere.

-- Whether the service can read the year of a time. An unreadable time would prevent a read of its whole row.
CREATE FUNCTION is_readable(at timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE
AS $$SELECT at >= '1000-01-01 00:00:00+00' AND at < '9999-01-01 00:00:00+00'$$;

CREATE TABLE events (
    position    bigint GENERATED ALWAYS AS IDENTITY,
    stream_name text COLLATE "C" NOT NULL,
    stream_id   text COLLATE "C" NOT NULL,
    version     bigint           NOT NULL,
    event_id    text             NOT NULL,
    type        text             NOT NULL,
    body        bytea            NOT NULL,
    hash        bytea            NOT NULL,
    CONSTRAINT events_pk PRIMARY KEY (position),
    CONSTRAINT events_stream_version_key UNIQUE (stream_name, stream_id, version),
    CONSTRAINT events_version_from_one CHECK (version >= 1),
    CONSTRAINT events_hash_is_sha256 CHECK (octet_length(hash) = 32)
);

CREATE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION 'events are never changed or deleted' USING ERRCODE = 'restrict_violation';
END
$$;

-- Owners and superusers have all rights, so a trigger refuses the change.
CREATE TRIGGER events_refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON events
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The end of each stream, which every append to it locks. Version 0: an append began the stream and was refused.
CREATE TABLE heads (
    stream_name text COLLATE "C" NOT NULL,
    stream_id   text COLLATE "C" NOT NULL,
    version     bigint           NOT NULL,
    hash        bytea            NOT NULL,
    CONSTRAINT heads_pk PRIMARY KEY (stream_name, stream_id)
) WITH (fillfactor = 80);

CREATE TABLE transactions (
    transaction_id    text COLLATE "C" NOT NULL,
    stream_name       text COLLATE "C" NOT NULL,
    stream_id         text COLLATE "C" NOT NULL,
    kind              text             NOT NULL,
    gateway           text             NOT NULL,
    amount_minor      bigint           NOT NULL,
    currency          text             NOT NULL,
    details           json             NOT NULL, -- json, not jsonb: kept as it was written
    status            text             NOT NULL,
    reserved          boolean          NOT NULL,
    submissions       bigint           NOT NULL,
    gateway_reference text,
    failure_code      text,
    failure_category  text,
    failure_message   text,
    version           bigint           NOT NULL,
    created_at        timestamptz      NOT NULL,
    updated_at        timestamptz      NOT NULL,
    CONSTRAINT transactions_pk PRIMARY KEY (transaction_id),
    CONSTRAINT transactions_kind_known CHECK (kind IN ('deposit', 'withdrawal')),
    CONSTRAINT transactions_status_known CHECK (status IN ('pending', 'unknown', 'processed', 'completed', 'failed')),
    CONSTRAINT transactions_failure_when_failed CHECK ((status = 'failed') = (failure_code IS NOT NULL)),
    CONSTRAINT transactions_times_readable CHECK (is_readable(created_at) AND is_readable(updated_at))
) WITH (fillfactor = 80);

CREATE INDEX transactions_by_stream ON transactions (stream_name, stream_id, transaction_id);

CREATE TABLE balances (
    stream_name     text COLLATE "C" NOT NULL,
    stream_id       text COLLATE "C" NOT NULL,
    currency        text COLLATE "C" NOT NULL,
    available_minor bigint           NOT NULL,
    reserved_minor  bigint           NOT NULL,
    CONSTRAINT balances_pk PRIMARY KEY (stream_name, stream_id, currency),
    CONSTRAINT balances_available_not_negative CHECK (available_minor >= 0),
    CONSTRAINT balances_reserved_not_negative CHECK (reserved_minor >= 0)
) WITH (fillfactor = 80);

CREATE TABLE reviews (
    review_id      text COLLATE "C" NOT NULL,
    stream_name    text COLLATE "C" NOT NULL,
    stream_id      text COLLATE "C" NOT NULL,
    transaction_id text COLLATE "C",
    reason         text             NOT NULL,
    state          text             NOT NULL,
    opened_at      timestamptz      NOT NULL,
    closed_at      timestamptz,
    CONSTRAINT reviews_pk PRIMARY KEY (review_id),
    CONSTRAINT reviews_state_known CHECK (state IN ('open', 'closed')),
    CONSTRAINT reviews_closed_has_time CHECK ((state = 'closed') = (closed_at IS NOT NULL)),
    CONSTRAINT reviews_times_readable CHECK (is_readable(opened_at) AND is_readable(closed_at))
);

CREATE INDEX reviews_by_stream ON reviews (stream_name, stream_id, review_id);
CREATE INDEX reviews_open ON reviews (transaction_id) WHERE state = 'open';

CREATE TABLE claims (
    scope text COLLATE "C" NOT NULL,
    key   text COLLATE "C" NOT NULL,
    value bytea            NOT NULL,
    CONSTRAINT claims_pk PRIMARY KEY (scope, key)
);

CREATE TABLE owners (
    owner        text COLLATE "C" NOT NULL,
    heartbeat_at timestamptz      NOT NULL,
    CONSTRAINT owners_pk PRIMARY KEY (owner)
) WITH (fillfactor = 50);

CREATE TABLE work (
    work_id         text COLLATE "C" NOT NULL,
    stream_name     text COLLATE "C" NOT NULL,
    stream_id       text COLLATE "C" NOT NULL,
    transaction_id  text COLLATE "C",
    gateway         text             NOT NULL,
    action          text             NOT NULL,
    event_type      text             NOT NULL,
    state           text             NOT NULL,
    owner           text COLLATE "C",
    token           bigint           NOT NULL,
    attempts        bigint           NOT NULL,
    next_attempt_at timestamptz      NOT NULL,
    errors          json             NOT NULL, -- json, not jsonb, which refuses the escaped U+0000 of some provider
    payload         bytea,
    created_at      timestamptz      NOT NULL,
    doubt           smallint         NOT NULL, -- store.port.DeliveryCertainty
    CONSTRAINT work_pk PRIMARY KEY (work_id),
    CONSTRAINT work_action_known CHECK (action IN ('submit', 'resolve')),
    CONSTRAINT work_state_known CHECK (state IN ('queued', 'leased', 'dead', 'parked')),
    CONSTRAINT work_owned_when_leased CHECK ((state = 'leased') = (owner IS NOT NULL)),
    CONSTRAINT work_doubt_known CHECK (doubt IN (0, 1, 2)),
    CONSTRAINT work_times_readable CHECK (is_readable(next_attempt_at) AND is_readable(created_at))
) WITH (
    -- Every deposit opens a row here and closes it. Dead rows must be removed before there are many.
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000
);

-- Leased work is in no index by time: a usual deposit is opened leased and closed leased.
CREATE INDEX work_due ON work (gateway, next_attempt_at) WHERE state IN ('queued', 'dead');
CREATE INDEX work_needing_attention ON work (transaction_id) WHERE state IN ('dead', 'parked');
CREATE INDEX work_dead_letters ON work (stream_name, work_id) WHERE state IN ('dead', 'parked');

CREATE TABLE gateway_modes (
    gateway text COLLATE "C" NOT NULL,
    mode    text             NOT NULL,
    reason  text             NOT NULL,
    set_at  timestamptz      NOT NULL,
    CONSTRAINT gateway_modes_pk PRIMARY KEY (gateway),
    CONSTRAINT gateway_modes_mode_known CHECK (mode IN ('open', 'closed', 'auto'))
);

-- The views return the columns in the order in which store/postgresql/rows.py reads them. A change creates the view
-- again.

CREATE VIEW transaction_rows AS
SELECT
    transaction_id, stream_id, kind, gateway, amount_minor, currency, details::text AS details, status, reserved,
    submissions, gateway_reference, failure_code, failure_category, failure_message, version, created_at, updated_at,
    stream_name
FROM transactions;

-- The view with what needs attention, the most urgent first.
CREATE VIEW transaction_views AS
SELECT
    t.*,
    CASE
        WHEN EXISTS (SELECT 1 FROM reviews AS r WHERE r.transaction_id = t.transaction_id AND r.state = 'open')
            THEN 'review'
        ELSE (
            SELECT CASE max(w.state) WHEN 'parked' THEN 'parked' WHEN 'dead' THEN 'dead_letter' END
            FROM work AS w
            WHERE w.transaction_id = t.transaction_id AND w.state IN ('dead', 'parked')
        )
    END AS attention
FROM transaction_rows AS t;

CREATE VIEW work_rows AS
SELECT
    work_id, token, stream_name, stream_id, gateway, action, event_type, attempts, errors::text AS errors, payload,
    doubt, transaction_id, state, next_attempt_at, created_at
FROM work;
