"""The test suite: one folder for each room of the service."""
