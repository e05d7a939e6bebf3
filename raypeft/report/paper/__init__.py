"""A run beside the paper's published values."""
