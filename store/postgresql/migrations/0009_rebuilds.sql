-- Rebuilding the read tables without a service that works on them, or goes on later from what it has read before.
--
-- Every connection on which a service writes holds a shared lock for as long as it lives, whose numbers are this table
-- and 0; a rebuild holds the same exclusively. A service that was cut off from the database has lost its lock, and
-- finds at its next connection that this table has grown.

CREATE TABLE rebuilds (
    number   bigint GENERATED ALWAYS AS IDENTITY,
    begun_at timestamptz NOT NULL,
    CONSTRAINT rebuilds_pk PRIMARY KEY (number)
);
