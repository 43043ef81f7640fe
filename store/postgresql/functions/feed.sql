-- Reads all events in the order of their positions, and skips none that is committed late.
--
-- A position is taken before the commit that makes it visible. So a reader may see 6 while 5 is still to come. No rule
-- over transaction ids helps: the transaction with the lower id may take the higher position. So an append announces,
-- before it takes any, that it will take positions above the last one assigned. It holds a shared lock for that, which
-- ends when the transaction is visible or rolled back. No transaction waits for this lock.
--
-- Rules for changes: store/postgresql/functions.py.

-- The last position that was assigned, visible or not.
CREATE OR REPLACE FUNCTION last_position() RETURNS bigint
LANGUAGE sql
AS 'SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM events_position_seq';

-- Takes the shared lock. Its two numbers are the events table and the low 32 bits of the last position assigned.
CREATE OR REPLACE FUNCTION announce_positions() RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(
        'events'::regclass::oid::bigint::bit(32)::int, last_position()::bit(32)::int
    );
END
$$;

-- Up to this position no event can become visible any more. Call it in READ COMMITTED and before the statement that
-- reads, so that the snapshot of that statement is the later one.
CREATE OR REPLACE FUNCTION settled_position() RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    -- Read first: positions that are assigned later are above it.
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

-- The events above a position, ascending, up to the first position that may still be missing.
CREATE OR REPLACE FUNCTION settled_events(after bigint, at_most bigint) RETURNS SETOF events
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

-- The same for one merchant's streams. The order by both columns keeps the planner from the primary key, along which it
-- would read the events of all merchants.
CREATE OR REPLACE FUNCTION settled_merchant_events(merchant text, after bigint, at_most bigint) RETURNS SETOF events
LANGUAGE plpgsql
AS $$
DECLARE
    settled CONSTANT bigint := settled_position();
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'settled_merchant_events needs a new snapshot for each of its statements';
    END IF;
    RETURN QUERY
    SELECT e.*
    FROM events AS e
    WHERE (e.stream_name, e.position) > (merchant, after) AND (e.stream_name, e.position) <= (merchant, settled)
    ORDER BY e.stream_name, e.position
    LIMIT at_most;
END
$$;
