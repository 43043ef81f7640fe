"""Simulation of the whole system in one thread under a seed: real actors and SQLite, a simulated provider, faults."""
