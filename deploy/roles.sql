-- The roles of a new database, with the least rights: one owns the tables and migrates, one is the service's login.
-- Run once, by psql, as the server's administrator and in the database that is to be the service's:
--
--     PAYMENTS_OWNER_PASSWORD=… PAYMENTS_SERVICE_PASSWORD=… psql -v ON_ERROR_STOP=1 -f deploy/roles.sql -d payments
--
-- Then "manage.py migrate", as payments_owner, gives payments_service its rights (store/postgresql/rights.sql). A
-- password that is not set is a syntax error here, not an empty one.

\getenv owner_password PAYMENTS_OWNER_PASSWORD
\getenv service_password PAYMENTS_SERVICE_PASSWORD

BEGIN;

CREATE ROLE payments_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE payments_service NOLOGIN;
CREATE ROLE payments LOGIN PASSWORD :'service_password' IN ROLE payments_service;

-- Nobody else connects, and only the owner makes anything.
REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"DBNAME" TO payments_owner, payments_service;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
ALTER SCHEMA public OWNER TO payments_owner;

COMMIT;
