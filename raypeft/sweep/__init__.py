"""The search: one Ray Tune run over all cells."""
