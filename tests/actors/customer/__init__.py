"""Tests of the customer's actor: batches, idempotency, poison messages, rebase, deaths."""
