"""The scheduler and the dead-letter actor on a store."""
