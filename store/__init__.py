"""Durable storage: the store port and its adapters. It knows the domain's values, and nothing of actors or HTTP."""
