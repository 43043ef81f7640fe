"""Checks that the tests catch one-line mutations of safety-critical lines."""
