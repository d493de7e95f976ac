"""What the trials of a study show: means, confidence intervals, comparisons and baselines."""
