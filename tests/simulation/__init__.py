"""The whole system in one thread under a seed: real actors, a real SQLite file, a simulated provider, faults."""
