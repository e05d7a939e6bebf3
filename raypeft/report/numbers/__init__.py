"""What a report says, as typed values: cells, trials, baselines, comparisons."""
