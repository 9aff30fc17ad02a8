"""Connectors x checkpoints x data sets x seeds in one file: a process of lmms-eval each, and one table of all."""
