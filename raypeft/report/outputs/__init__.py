"""Results of a run for other programs."""
