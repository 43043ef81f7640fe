-- The gateways' circuit breakers, which all processes share. Each change names the epoch that it changes.

CREATE TABLE breakers (
    gateway     TEXT    NOT NULL,
    epoch       INTEGER NOT NULL,
    state       TEXT    NOT NULL,
    changed_at  INTEGER NOT NULL,
    prober      TEXT,
    probe_until INTEGER,
    CONSTRAINT breakers_pk PRIMARY KEY (gateway),
    CONSTRAINT breakers_epoch_counts CHECK (epoch > 0),
    CONSTRAINT breakers_state_known CHECK (state IN ('closed', 'open', 'half_open')),
    CONSTRAINT breakers_prober_half_open CHECK (
        (state = 'half_open') = (prober IS NOT NULL) AND (prober IS NULL) = (probe_until IS NULL)
    )
) STRICT, WITHOUT ROWID;
