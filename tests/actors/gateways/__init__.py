"""The supervisor and its parts: bulkheads, breakers, calls, policies."""
