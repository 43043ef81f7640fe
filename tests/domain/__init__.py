"""Property tests and tables of cases for the domain."""
