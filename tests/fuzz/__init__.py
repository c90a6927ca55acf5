"""Thousands of strange inputs, tried and counted: `python -m tests.fuzz --help`."""
