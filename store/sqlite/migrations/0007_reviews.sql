-- The gateway's report of each review with what was on record then, and the list of callbacks that wait for their
-- transaction.

-- Both are JSON, and NULL for reviews of earlier versions.
ALTER TABLE reviews ADD COLUMN said TEXT;
ALTER TABLE reviews ADD COLUMN expected TEXT;

CREATE INDEX work_callbacks ON work (stream_name, gateway, work_id) WHERE action = 'apply';
