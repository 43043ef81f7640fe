-- The events, what is derived from them, and the work that is not finished.
-- Times are microseconds since 1970-01-01 UTC; amounts are minor units of their currency.

CREATE TABLE events (
    position    INTEGER NOT NULL,
    stream_name TEXT    NOT NULL,
    stream_id   TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    event_id    TEXT    NOT NULL,
    type        TEXT    NOT NULL,
    body        BLOB    NOT NULL,
    hash        BLOB    NOT NULL,
    CONSTRAINT events_pk PRIMARY KEY (position),
    CONSTRAINT events_stream_version_key UNIQUE (stream_name, stream_id, version),
    CONSTRAINT events_version_from_one CHECK (version >= 1),
    CONSTRAINT events_hash_is_sha256 CHECK (length(hash) = 32)
) STRICT;

CREATE TRIGGER events_refuse_update BEFORE UPDATE ON events
BEGIN
    SELECT RAISE(ABORT, 'events are never changed');
END;

CREATE TRIGGER events_refuse_delete BEFORE DELETE ON events
BEGIN
    SELECT RAISE(ABORT, 'events are never deleted');
END;

CREATE TABLE transactions (
    transaction_id    TEXT    NOT NULL,
    stream_name       TEXT    NOT NULL,
    stream_id         TEXT    NOT NULL,
    kind              TEXT    NOT NULL,
    gateway           TEXT    NOT NULL,
    amount_minor      INTEGER NOT NULL,
    currency          TEXT    NOT NULL,
    details           TEXT    NOT NULL,
    status            TEXT    NOT NULL,
    reserved          INTEGER NOT NULL,
    submissions       INTEGER NOT NULL,
    gateway_reference TEXT,
    failure_code      TEXT,
    failure_category  TEXT,
    failure_message   TEXT,
    version           INTEGER NOT NULL,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    CONSTRAINT transactions_pk PRIMARY KEY (transaction_id),
    CONSTRAINT transactions_kind_known CHECK (kind IN ('deposit', 'withdrawal')),
    CONSTRAINT transactions_status_known CHECK (status IN ('pending', 'unknown', 'processed', 'completed', 'failed')),
    CONSTRAINT transactions_failure_when_failed CHECK ((status = 'failed') = (failure_code IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX transactions_by_stream ON transactions (stream_name, stream_id, transaction_id);

CREATE TABLE balances (
    stream_name     TEXT    NOT NULL,
    stream_id       TEXT    NOT NULL,
    currency        TEXT    NOT NULL,
    available_minor INTEGER NOT NULL,
    reserved_minor  INTEGER NOT NULL,
    CONSTRAINT balances_pk PRIMARY KEY (stream_name, stream_id, currency),
    CONSTRAINT balances_available_not_negative CHECK (available_minor >= 0),
    CONSTRAINT balances_reserved_not_negative CHECK (reserved_minor >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE reviews (
    review_id      TEXT    NOT NULL,
    stream_name    TEXT    NOT NULL,
    stream_id      TEXT    NOT NULL,
    transaction_id TEXT,
    reason         TEXT    NOT NULL,
    state          TEXT    NOT NULL,
    opened_at      INTEGER NOT NULL,
    closed_at      INTEGER,
    CONSTRAINT reviews_pk PRIMARY KEY (review_id),
    CONSTRAINT reviews_state_known CHECK (state IN ('open', 'closed')),
    CONSTRAINT reviews_closed_has_time CHECK ((state = 'closed') = (closed_at IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX reviews_by_stream ON reviews (stream_name, stream_id, review_id);
CREATE INDEX reviews_open ON reviews (transaction_id) WHERE state = 'open';

CREATE TABLE claims (
    scope TEXT NOT NULL,
    key   TEXT NOT NULL,
    value BLOB NOT NULL,
    CONSTRAINT claims_pk PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE owners (
    owner        TEXT    NOT NULL,
    heartbeat_at INTEGER NOT NULL,
    CONSTRAINT owners_pk PRIMARY KEY (owner)
) STRICT, WITHOUT ROWID;

CREATE TABLE work (
    work_id         TEXT    NOT NULL,
    stream_name     TEXT    NOT NULL,
    stream_id       TEXT    NOT NULL,
    transaction_id  TEXT,
    gateway         TEXT    NOT NULL,
    action          TEXT    NOT NULL,
    event_type      TEXT    NOT NULL,
    state           TEXT    NOT NULL,
    owner           TEXT,
    token           INTEGER NOT NULL,
    attempts        INTEGER NOT NULL,
    next_attempt_at INTEGER NOT NULL,
    errors          TEXT    NOT NULL,
    payload         BLOB,
    created_at      INTEGER NOT NULL,
    CONSTRAINT work_pk PRIMARY KEY (work_id),
    CONSTRAINT work_action_known CHECK (action IN ('submit', 'resolve')),
    CONSTRAINT work_state_known CHECK (state IN ('queued', 'leased', 'dead', 'parked')),
    CONSTRAINT work_owned_when_leased CHECK ((state = 'leased') = (owner IS NOT NULL))
) STRICT, WITHOUT ROWID;

-- Leased work is in no index: a usual deposit is opened leased and closed leased.
CREATE INDEX work_due ON work (gateway, next_attempt_at) WHERE state IN ('queued', 'dead');
CREATE INDEX work_needing_attention ON work (transaction_id) WHERE state IN ('dead', 'parked');
