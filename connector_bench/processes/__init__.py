"""What the processes of one run say to each other, through the process group that accelerate or torchrun made.

`exchange` hands values over, `meeting` sees that no rank waits for one that has given up, `watch` for one that has
died, and `ending` leaves nothing half done when the run is told to end.
"""

from connector_bench.processes.ending import leave_behind, unbroken
from connector_bench.processes.exchange import first_rank_takes_in_turn, gather_all, on_first_rank
from connector_bench.processes.group import MeasurementFailed, error_text, rank_and_size
from connector_bench.processes.meeting import on_every_rank
from connector_bench.processes.watch import watched

__all__ = [
    "MeasurementFailed",
    "error_text",
    "first_rank_takes_in_turn",
    "gather_all",
    "leave_behind",
    "on_every_rank",
    "on_first_rank",
    "rank_and_size",
    "unbroken",
    "watched",
]
