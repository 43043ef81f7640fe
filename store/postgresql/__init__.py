"""The PostgreSQL adapter of the store port: one database, any number of processes. Needs PostgreSQL 14 or newer."""
