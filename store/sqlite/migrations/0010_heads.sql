-- One row for each stream: the head from which appends continue, with the balances.

CREATE TABLE heads (
    stream_name TEXT    NOT NULL,
    stream_id   TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    hash        BLOB    NOT NULL,
    balances    TEXT    NOT NULL, -- JSON, minor units: {"USD": [available, reserved], ...}
    CONSTRAINT heads_pk PRIMARY KEY (stream_name, stream_id),
    CONSTRAINT heads_version_from_one CHECK (version >= 1),
    CONSTRAINT heads_hash_is_sha256 CHECK (length(hash) = 32),
    -- Only a negative number has this sign.
    CONSTRAINT heads_balances_not_negative CHECK (instr(balances, '-') = 0)
) STRICT, WITHOUT ROWID;

SELECT refuse(stream_name, stream_id, 'has a negative balance')
FROM balances
WHERE available_minor < 0 OR reserved_minor < 0;

-- One pass over the index by stream. It also has the position, with which the hash is found.
INSERT INTO heads (stream_name, stream_id, version, hash, balances)
SELECT
    last.stream_name,
    last.stream_id,
    last.version,
    iif(length(e.hash) = 32, e.hash, refuse(last.stream_name, last.stream_id, 'has a damaged hash')),
    (
        SELECT json_group_object(b.currency, json_array(b.available_minor, b.reserved_minor))
        FROM balances AS b
        WHERE b.stream_name = last.stream_name AND b.stream_id = last.stream_id
    )
FROM (
    SELECT stream_name, stream_id, max(version) AS version, position
    FROM events
    GROUP BY stream_name, stream_id
) AS last
CROSS JOIN events AS e ON e.position = last.position;

-- They may be the last trace of a stream whose events were removed.
SELECT refuse(b.stream_name, b.stream_id, 'has balances and no events')
FROM balances AS b
WHERE NOT EXISTS (SELECT 1 FROM heads AS h WHERE h.stream_name = b.stream_name AND h.stream_id = b.stream_id);

DROP TABLE balances;

-- For operators. No statement uses it.
CREATE VIEW balances AS
SELECT
    h.stream_name,
    h.stream_id,
    b.key AS currency,
    b.value ->> 0 AS available_minor,
    b.value ->> 1 AS reserved_minor
FROM heads AS h
CROSS JOIN json_each(h.balances) AS b;
