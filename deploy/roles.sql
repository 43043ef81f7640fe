-- The roles of a new database, with the least rights: one owns the tables and migrates, one is the service's login.
-- Run once with psql, as the server's administrator, in the service's new database:
--
--     PAYMENTS_OWNER_PASSWORD=… PAYMENTS_SERVICE_PASSWORD=… psql -v ON_ERROR_STOP=1 -f deploy/roles.sql -d payments
--
-- Then "manage.py migrate", as payments_owner, grants payments_service its rights (store/postgresql/rights.sql). A
-- missing password is a syntax error here, not an empty password.

\getenv owner_password PAYMENTS_OWNER_PASSWORD
\getenv service_password PAYMENTS_SERVICE_PASSWORD

BEGIN;

CREATE ROLE payments_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE payments_service NOLOGIN;
CREATE ROLE payments LOGIN PASSWORD :'service_password' IN ROLE payments_service;

-- No other role connects, and only the owner creates objects.
REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"DBNAME" TO payments_owner, payments_service;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
ALTER SCHEMA public OWNER TO payments_owner;

COMMIT;
