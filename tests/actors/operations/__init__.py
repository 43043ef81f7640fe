"""Tests of the operations, one module for each."""
