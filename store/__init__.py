"""Durable storage: the store port and its adapters. It uses values of the domain, and is independent of actors and HTTP."""
