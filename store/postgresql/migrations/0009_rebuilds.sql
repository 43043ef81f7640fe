-- Rebuilds of the read tables, while no service works on them or later continues from rows that it read before.
--
-- Every connection on which a service writes holds a shared lock for as long as it lives. Its numbers are this table
-- and 0. A rebuild holds the same lock exclusively. A service that was cut off from the database has lost its lock, and
-- detects at its next connection that this table has grown.

CREATE TABLE rebuilds (
    number   bigint GENERATED ALWAYS AS IDENTITY,
    begun_at timestamptz NOT NULL,
    CONSTRAINT rebuilds_pk PRIMARY KEY (number)
);
