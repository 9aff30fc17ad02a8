"""Task definitions for lmms-eval, installed as `connector_bench.tasks`."""
