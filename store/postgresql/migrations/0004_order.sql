-- Reading all events in the order of their positions without ever skipping one that is committed late.
--
-- A position is taken before the commit that makes it visible, so a reader may see 6 while 5 is still to come; and no
-- rule over transaction ids mends that, since the transaction with the lower id may take the higher position. So an
-- append announces, before it takes any, that it will take positions above the last one given out: by a shared lock
-- that nobody waits for and that ends when the transaction has become visible, or never will.

-- The lock's two numbers: the events table, and the low 32 bits of the last position given out.
CREATE FUNCTION announce_positions() RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(
        'events'::regclass::oid::bigint::bit(32)::int, last_position()::bit(32)::int
    );
END
$$;

CREATE FUNCTION last_position() RETURNS bigint
LANGUAGE sql
AS 'SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM events_position_seq';

-- Up to this position everything is visible that ever will be. To be called in READ COMMITTED and before the
-- statement that reads, so that this one's snapshot is the later one.
CREATE FUNCTION settled_position() RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    -- First: whatever is given out later is above it.
    given_out CONSTANT bigint := last_position();
BEGIN
    RETURN least(given_out, (
        SELECT min(given_out + (l.objid::bigint - given_out)::bit(32)::int)
        FROM pg_locks AS l
        WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.classid = 'events'::regclass::oid
            AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
    ));
END
$$;

-- The events above a position, ascending, up to the first that may still be missing.
CREATE FUNCTION settled_events(after bigint, at_most bigint) RETURNS SETOF events
LANGUAGE plpgsql
AS $$
DECLARE
    settled CONSTANT bigint := settled_position();
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'settled_events needs a new snapshot for each of its statements';
    END IF;
    RETURN QUERY
    SELECT e.* FROM events AS e WHERE e.position > after AND e.position <= settled ORDER BY e.position LIMIT at_most;
END
$$;
