"""Calls to gateways: breakers, bulkheads, retries."""
