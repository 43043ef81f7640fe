"""The service as real processes: killed under load, started twice, stopped, and as ``make run`` starts it."""
