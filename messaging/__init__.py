"""Messaging: the port through which processes hand work to each other, and its adapters."""
