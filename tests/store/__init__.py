"""Tests of the store: the contract that every adapter must keep, and the behaviour of each adapter."""
