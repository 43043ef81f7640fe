-- The doubt about work, commands for breakers, the list of dead letters, and views of the columns that readers need.

-- store.port.DeliveryCertainty: 0 surely not sent, 1 a lease was lost, 2 an attempt is on record.
ALTER TABLE work ADD COLUMN doubt INTEGER NOT NULL DEFAULT 0
    CONSTRAINT work_doubt_known CHECK (doubt IN (0, 1, 2));

-- Of work that is older than this column, only work with its first token was surely never sent.
UPDATE work
SET doubt = CASE
    WHEN EXISTS (
        SELECT 1
        FROM transactions AS t
        WHERE t.transaction_id = work.transaction_id AND (t.status = 'unknown' OR t.submissions > 0)
    ) THEN 2
    ELSE 1
END
WHERE token > 1;

-- One row for each dead letter. Other work is not in this index.
CREATE INDEX work_dead_letters ON work (stream_name, work_id) WHERE state IN ('dead', 'parked');

CREATE TABLE gateway_modes (
    gateway TEXT    NOT NULL,
    mode    TEXT    NOT NULL,
    reason  TEXT    NOT NULL,
    set_at  INTEGER NOT NULL,
    CONSTRAINT gateway_modes_pk PRIMARY KEY (gateway),
    CONSTRAINT gateway_modes_mode_known CHECK (mode IN ('open', 'closed', 'auto'))
) STRICT, WITHOUT ROWID;

-- The views return the columns in the order in which store/sqlite/rows.py reads them. A change creates the view again.

CREATE VIEW transaction_rows AS
SELECT
    transaction_id, stream_id, kind, gateway, amount_minor, currency, details, status, reserved, submissions,
    gateway_reference, failure_code, failure_category, failure_message, version, created_at, updated_at, stream_name
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

-- The errors as bytes: damaged text would keep the whole row from being read.
CREATE VIEW work_rows AS
SELECT
    work_id, token, stream_name, stream_id, gateway, action, event_type, attempts, CAST(errors AS BLOB) AS errors,
    payload, doubt, transaction_id, state, next_attempt_at, created_at
FROM work;
