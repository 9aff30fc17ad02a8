"""Reads lmms-eval's result files and merges them into one table; needs files alone, no model and no harness."""
