"""What the trials of a study show: confidence intervals, comparisons, baselines and scores."""
