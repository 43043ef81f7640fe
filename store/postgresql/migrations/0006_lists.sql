-- The reports of callbacks as work, and an index for each list.

ALTER TABLE work
    DROP CONSTRAINT work_action_known,
    ADD CONSTRAINT work_action_known CHECK (action IN ('submit', 'resolve', 'apply'));

-- Every list except a customer's is merged from one list for each value that its filter includes. So no list reads rows
-- that its filter excludes.
--
-- The ids have a collation of their own, although it compares like "C": queries.sql states the reason.
DROP INDEX work_dead_letters;
DROP INDEX transactions_by_stream;
CREATE INDEX transactions_by_stream ON transactions (stream_name, stream_id, transaction_id COLLATE "POSIX");
CREATE INDEX work_dead_letters ON work (stream_name, gateway, state, work_id COLLATE "POSIX")
WHERE state IN ('dead', 'parked');
CREATE INDEX transactions_listed ON transactions (stream_name, gateway, status, kind, transaction_id COLLATE "POSIX");

CREATE INDEX reviews_by_opening ON reviews (stream_name, state, opened_at, review_id);

CREATE INDEX events_by_merchant ON events (stream_name, position);

-- The same as settled_events for one merchant's streams. The order by both columns keeps the planner from the primary
-- key, along which it would read the events of all merchants.
CREATE FUNCTION settled_merchant_events(merchant text, after bigint, at_most bigint) RETURNS SETOF events
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
