-- The gateways' circuit breakers, which all processes share. Each change names the epoch that it changes. Of two that
-- change the same epoch one succeeds, and the other reads the result.

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

-- In the columns that store/postgresql/breakers.py reads. After a clock was set back, no change is in the future, and
-- no permit of a probe is longer than it was granted.
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
    -- A separate statement: its snapshot has what another caller committed meanwhile.
    RETURN QUERY SELECT r.* FROM breaker_records AS r WHERE r.gateway = the_gateway;
END
$$;

-- Open since its change, or half-open since the permit of the last probe expired, for at least that long. A change too
-- far in the future counts as well: the clock was set back.
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
