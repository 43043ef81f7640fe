"""Metrics for Prometheus. Only this package and its route import the client library."""
