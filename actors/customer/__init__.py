"""The actor of one customer's stream."""
