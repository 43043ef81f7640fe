"""Tests of all actors of a process together."""
