"""Calls to gateways: supervision, bulkheads, circuit breakers, retries."""
