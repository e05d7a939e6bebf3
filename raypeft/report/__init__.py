"""The report, written from the run folder alone."""
