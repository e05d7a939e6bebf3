"""The run folder: what its files hold, and how they are read."""
