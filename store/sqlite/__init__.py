"""The SQLite adapter of the store port: one file, one writing process, readers beside it."""
