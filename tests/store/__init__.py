"""Tests of the store: the contract that every adapter must keep, and what is particular to one."""
