"""Durable storage: the store port and its adapters. It uses values of the domain, and nothing of actors or HTTP."""
