-- The number of restores of the database to an earlier state. Positions and cursors contain the number of the newest
-- row.

CREATE TABLE generations (
    number   INTEGER NOT NULL,
    begun_at INTEGER NOT NULL, -- microseconds since 1970; 0 for the first generation
    position INTEGER NOT NULL, -- of the newest event then
    CONSTRAINT generations_pk PRIMARY KEY (number),
    CONSTRAINT generations_number_counts CHECK (number >= 0)
) STRICT;

INSERT INTO generations (number, begun_at, position)
SELECT 0, 0, coalesce(max(position), 0) FROM events;
