"""What decodes and prepares pictures ahead of the model: threads of this process, or processes of their own."""

from connector_bench.workers.asked import WorkersAsked, worker_count, workers_asked
from connector_bench.workers.in_threads import in_order, in_parts, no_release, worker_threads

__all__ = [
    "WorkersAsked",
    "in_order",
    "in_parts",
    "no_release",
    "worker_count",
    "worker_threads",
    "workers_asked",
]
