-- The least rights of the service's role, {role}; granted after every migration if that role exists.
--
-- Events may be read and added, never changed or deleted. Only owners and finished work are ever deleted. An
-- administrator creates the role, and its logins, before the first migration:
--
--     CREATE ROLE payments_service NOLOGIN;
--     CREATE ROLE payments LOGIN PASSWORD '…' IN ROLE payments_service;
--
-- The service uses that login (PAYMENTS_DATABASE_URL). The owner of the tables migrates
-- (PAYMENTS_MIGRATION_DATABASE_URL).

GRANT USAGE ON SCHEMA {schema} TO {role};
-- Keys are read-only: the login of the service cannot create keys.
-- transaction_rows, transaction_views and work_rows are views for processes of earlier versions.
GRANT SELECT ON schema_migrations, schema_functions, transaction_rows, transaction_views, work_rows, breaker_records,
    api_keys, rebuilds
TO {role};
GRANT SELECT ON SEQUENCE events_position_seq TO {role};
GRANT SELECT, INSERT ON events, claims, generations TO {role};
GRANT SELECT, INSERT, UPDATE ON heads, transactions, balances, reviews, gateway_modes, breakers, relays TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON owners, work TO {role};
