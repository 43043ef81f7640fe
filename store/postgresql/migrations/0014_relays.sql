-- The relays, which publish all events to a broker: the lease of the leader, and the position up to which all events
-- are published. The token and the generation fence each change.

CREATE TABLE relays (
    name             text COLLATE "C" NOT NULL,
    owner            text COLLATE "C",
    token            bigint           NOT NULL,
    position         bigint           NOT NULL,
    generation       bigint           NOT NULL, -- in which the position was set
    renewed_at       timestamptz      NOT NULL,
    leased_until     timestamptz      NOT NULL,
    refused_position bigint,
    refused_reason   text,
    refused_at       timestamptz,
    CONSTRAINT relays_pk PRIMARY KEY (name),
    CONSTRAINT relays_token_counts CHECK (token > 0),
    CONSTRAINT relays_position_counts CHECK (position >= 0),
    CONSTRAINT relays_refusal_whole CHECK (
        (refused_position IS NULL) = (refused_reason IS NULL) AND (refused_position IS NULL) = (refused_at IS NULL)
    )
);

-- What operators did to checkpoints. Rows are only ever added.
CREATE TABLE relay_moves (
    number        bigint GENERATED ALWAYS AS IDENTITY,
    relay         text COLLATE "C" NOT NULL,
    action        text             NOT NULL,
    from_position bigint           NOT NULL,
    to_position   bigint           NOT NULL,
    who           text             NOT NULL,
    reason        text             NOT NULL,
    moved_at      timestamptz      NOT NULL,
    CONSTRAINT relay_moves_pk PRIMARY KEY (number),
    CONSTRAINT relay_moves_action_known CHECK (action IN ('rewind', 'skip'))
);

CREATE INDEX relay_moves_by_relay ON relay_moves (relay, number);
