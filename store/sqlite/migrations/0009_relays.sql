-- The relays, which publish all events to a broker: the lease of the leader, and the position up to which all events
-- are published. The token and the generation fence each change.

CREATE TABLE relays (
    name             TEXT    NOT NULL,
    owner            TEXT,
    token            INTEGER NOT NULL,
    position         INTEGER NOT NULL,
    generation       INTEGER NOT NULL, -- in which the position was set
    renewed_at       INTEGER NOT NULL,
    leased_until     INTEGER NOT NULL,
    refused_position INTEGER,
    refused_reason   TEXT,
    refused_at       INTEGER,
    CONSTRAINT relays_pk PRIMARY KEY (name),
    CONSTRAINT relays_token_counts CHECK (token > 0),
    CONSTRAINT relays_position_counts CHECK (position >= 0),
    CONSTRAINT relays_refusal_whole CHECK (
        (refused_position IS NULL) = (refused_reason IS NULL) AND (refused_position IS NULL) = (refused_at IS NULL)
    )
) STRICT, WITHOUT ROWID;

-- What operators did to checkpoints. Rows are only ever added.
CREATE TABLE relay_moves (
    number        INTEGER NOT NULL,
    relay         TEXT    NOT NULL,
    action        TEXT    NOT NULL,
    from_position INTEGER NOT NULL,
    to_position   INTEGER NOT NULL,
    who           TEXT    NOT NULL,
    reason        TEXT    NOT NULL,
    moved_at      INTEGER NOT NULL,
    CONSTRAINT relay_moves_pk PRIMARY KEY (number),
    CONSTRAINT relay_moves_action_known CHECK (action IN ('rewind', 'skip'))
) STRICT;

CREATE INDEX relay_moves_by_relay ON relay_moves (relay, number);
