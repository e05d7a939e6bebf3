"""Mutated input for every command: `python -m tests.fuzz --cases 5000 --seed N`."""
