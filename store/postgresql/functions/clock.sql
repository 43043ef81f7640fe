-- The clock of the database.
--
-- Rules for changes: store/postgresql/functions.py.

-- The only clock of leases and due times; all processes share it. It is the time when the statement arrived: a wait for
-- a lock must not make an owner look alive.
CREATE OR REPLACE FUNCTION store_now() RETURNS timestamptz
LANGUAGE sql STABLE
AS 'SELECT statement_timestamp()';
