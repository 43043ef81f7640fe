-- The reports of callbacks as work, and an index for each list.

-- A table's CHECKs cannot be changed: the table is created again, together with the views on it.
DROP VIEW transaction_views;
DROP VIEW work_rows;
ALTER TABLE work RENAME TO work_before;

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
    doubt           INTEGER NOT NULL DEFAULT 0,
    CONSTRAINT work_pk PRIMARY KEY (work_id),
    CONSTRAINT work_action_known CHECK (action IN ('submit', 'resolve', 'apply')),
    CONSTRAINT work_state_known CHECK (state IN ('queued', 'leased', 'dead', 'parked')),
    CONSTRAINT work_owned_when_leased CHECK ((state = 'leased') = (owner IS NOT NULL)),
    CONSTRAINT work_doubt_known CHECK (doubt IN (0, 1, 2))
) STRICT, WITHOUT ROWID;

INSERT INTO work (
    work_id, stream_name, stream_id, transaction_id, gateway, action, event_type, state, owner, token, attempts,
    next_attempt_at, errors, payload, created_at, doubt
)
SELECT
    work_id, stream_name, stream_id, transaction_id, gateway, action, event_type, state, owner, token, attempts,
    next_attempt_at, errors, payload, created_at, doubt
FROM work_before;

DROP TABLE work_before;

-- Leased work is in no index: a usual deposit is opened leased and closed leased.
CREATE INDEX work_due ON work (gateway, next_attempt_at) WHERE state IN ('queued', 'dead');
CREATE INDEX work_needing_attention ON work (transaction_id) WHERE state IN ('dead', 'parked');
CREATE INDEX work_dead_letters ON work (stream_name, gateway, state, work_id) WHERE state IN ('dead', 'parked');

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

-- The errors as bytes: damaged text would keep the whole row from being read.
CREATE VIEW work_rows AS
SELECT
    work_id, token, stream_name, stream_id, gateway, action, event_type, attempts, CAST(errors AS BLOB) AS errors,
    payload, doubt, transaction_id, state, next_attempt_at, created_at
FROM work;

-- Every list except a customer's is merged from one list for each value that its filter includes. So no list reads rows
-- that its filter excludes.
CREATE INDEX transactions_listed ON transactions (stream_name, gateway, status, kind, transaction_id);

CREATE INDEX reviews_by_opening ON reviews (stream_name, state, opened_at, review_id);

-- By position within a merchant: every index ends with the row's number.
CREATE INDEX events_by_merchant ON events (stream_name);
