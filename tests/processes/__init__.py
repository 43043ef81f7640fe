"""Tests of real service processes: killed under load, started twice, stopped, and started by ``make run``."""
