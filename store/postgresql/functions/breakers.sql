-- Changes of the gateways' circuit breakers. A caller names the epoch that it changes. Of two callers that change the
-- same epoch one succeeds, and the other reads the result.
--
-- Rules for changes: store/postgresql/functions.py.

-- Opens or closes a breaker. Epoch 0: it has no record yet.
CREATE OR REPLACE FUNCTION turn_breaker(the_gateway text, the_epoch bigint, the_state text)
RETURNS SETOF breaker_records
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

-- Gives the probe to a caller when the breaker has slept for long enough: open since its change, half-open since the
-- permit of the last probe expired. A change too far in the future counts as well: the clock was set back.
CREATE OR REPLACE FUNCTION take_probe(
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
