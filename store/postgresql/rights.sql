-- The least rights of the service's role, {role}; given again after every migration when that role exists.
--
-- Events may be read and added, never changed or deleted. Only owners and finished work are ever deleted. An
-- administrator makes the role, and logins that belong to it, before the first migration:
--
--     CREATE ROLE payments_service NOLOGIN;
--     CREATE ROLE payments LOGIN PASSWORD '…' IN ROLE payments_service;
--
-- and lets the service use that login (PAYMENTS_DATABASE_URL) and the owner of the tables migrate
-- (PAYMENTS_MIGRATION_DATABASE_URL).

GRANT USAGE ON SCHEMA {schema} TO {role};
-- Keys are read only: whoever gets hold of the service's login can make none.
-- transaction_rows, transaction_views and work_rows are views for processes of earlier versions.
GRANT SELECT ON schema_migrations, schema_functions, transaction_rows, transaction_views, work_rows, breaker_records,
    api_keys, rebuilds
TO {role};
GRANT SELECT ON SEQUENCE events_position_seq TO {role};
GRANT SELECT, INSERT ON events, claims, generations TO {role};
GRANT SELECT, INSERT, UPDATE ON heads, transactions, balances, reviews, gateway_modes, breakers TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON owners, work TO {role};
