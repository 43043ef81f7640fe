"""PostgreSQL servers for tests: one that all share, wherever it comes from, and private ones that a test may kill."""
