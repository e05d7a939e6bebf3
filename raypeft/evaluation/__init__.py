"""Final evaluation: test and in-context-learning jobs."""
