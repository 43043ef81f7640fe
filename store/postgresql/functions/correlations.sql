-- The correlation id of rows that a process of an earlier version writes.
--
-- Rules for changes: store/postgresql/functions.py.

-- The correlation id in the event that received a transaction, for a row that names none. An update keeps the id of the
-- row, and so looks for none. The event is in the same write, among the last of its stream.
CREATE OR REPLACE FUNCTION received_correlation(
    the_name text, the_id text, the_transaction_id text, the_version bigint
) RETURNS text
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM transactions AS t WHERE t.transaction_id = the_transaction_id) THEN
        RETURN NULL;
    END IF;
    RETURN (
        SELECT convert_from(e.body, 'UTF8')::json -> 'metadata' ->> 'correlation_id'
        FROM events AS e
        WHERE e.stream_name = the_name AND e.stream_id = the_id AND e.version <= the_version
            AND e.type IN ('DepositReceived', 'WithdrawalReceived')
            AND position(convert_to('"transaction_id":' || to_json(the_transaction_id), 'UTF8') IN e.body) > 0
        ORDER BY e.version DESC
        LIMIT 1
    );
END
$$;
