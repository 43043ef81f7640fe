"""The SQLite adapter of the store port: one file, one service process that writes, and readers."""
