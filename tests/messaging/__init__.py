"""The queue port: one contract suite for every adapter."""
