-- The gateways' circuit breakers as all processes share them. Each change names the epoch that it goes out from: of two
-- that change the same one, one wins, and the other reads what the winner made of it.

CREATE TABLE breakers (
    gateway     text COLLATE "C" NOT NULL,
    epoch       bigint           NOT NULL,
    state       text             NOT NULL,
    changed_at  timestamptz      NOT NULL,
    prober      text COLLATE "C",
    probe_until timestamptz,
    CONSTRAINT breakers_pk PRIMARY KEY (gateway),
    CONSTRAINT breakers_epoch_counts CHECK (epoch > 0),
    CONSTRAINT breakers_state_known CHECK (state IN ('closed', 'open', 'half_open')),
    CONSTRAINT breakers_prober_half_open CHECK (
        (state = 'half_open') = (prober IS NOT NULL) AND (prober IS NULL) = (probe_until IS NULL)
    )
);

-- In the columns that store/postgresql/breakers.py reads. A clock that was set back makes nothing younger than now, and
-- no probe's permit longer than it was given.
CREATE VIEW breaker_records AS
SELECT
    gateway, epoch, state,
    greatest(extract(epoch FROM store_now() - changed_at), 0)::double precision AS age_s,
    prober,
    coalesce(
        greatest(extract(epoch FROM least(probe_until - store_now(), probe_until - changed_at)), 0), 0
    )::double precision AS probe_left_s
FROM breakers;

CREATE FUNCTION turn_breaker(the_gateway text, the_epoch bigint, the_state text) RETURNS SETOF breaker_records
LANGUAGE plpgsql
AS $$
BEGIN
    IF the_epoch = 0 THEN
        INSERT INTO breakers (gateway, epoch, state, changed_at)
        VALUES (the_gateway, 1, the_state, store_now())
        ON CONFLICT (gateway) DO NOTHING;
    ELSE
        UPDATE breakers AS b
        SET epoch = b.epoch + 1, state = the_state, changed_at = store_now(), prober = NULL, probe_until = NULL
        WHERE b.gateway = the_gateway AND b.epoch = the_epoch;
    END IF;
    -- A statement of its own: its snapshot holds what a winner has committed meanwhile.
    RETURN QUERY SELECT r.* FROM breaker_records AS r WHERE r.gateway = the_gateway;
END
$$;

-- Open since its change, half-open since the probe's permit expired: that long ago at least, or further in the future
-- than it can be, when a clock was set back.
CREATE FUNCTION take_probe(
    the_gateway text, the_epoch bigint, the_prober text, rest interval, permit interval
) RETURNS SETOF breaker_records
LANGUAGE plpgsql
AS $$
BEGIN
    UPDATE breakers AS b
    SET epoch = b.epoch + 1, state = 'half_open', changed_at = store_now(), prober = the_prober,
        probe_until = store_now() + permit
    WHERE b.gateway = the_gateway AND b.epoch = the_epoch AND b.state <> 'closed'
        AND (coalesce(b.probe_until, b.changed_at) <= store_now() - rest OR b.changed_at > store_now() + rest);
    RETURN QUERY SELECT r.* FROM breaker_records AS r WHERE r.gateway = the_gateway;
END
$$;
