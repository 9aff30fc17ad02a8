"""Which statistic gets which error: intervals, resampling, paired differences, correlations."""
