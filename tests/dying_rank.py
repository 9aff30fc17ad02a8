"""lmms-eval with one rank that gets a signal: `python -m tests.dying_rank POINT RANK SIGNAL ARGUMENTS`.

At the point `never` none gets one.
"""

import os
import signal
import sys
from functools import wraps
from typing import Any

from connector_bench.reconstruction.learning import ProbeLearner
from connector_bench.reconstruction.measured import MeasuredReconstruction
from connector_bench.run import measurement

POINTS: dict[str, tuple[Any, str]] = {
    "reading": (measurement, "read_pictures"),
    "training": (ProbeLearner, "learn"),
    "fit": (ProbeLearner, "fit"),
    "test": (MeasuredReconstruction, "update"),
    "statistics": (MeasuredReconstruction, "finish"),
}


def main(point: str, rank: int, number: int) -> None:
    """Run the command line; the signal comes as this rank begins what the point names."""
    from lmms_eval.cli.dispatch import main as command_line

    if point != "never":
        _kill_at(*POINTS[point], rank, number)
    command_line()


def _kill_at(owner: Any, name: str, rank: int, number: int) -> None:
    original = getattr(owner, name)

    @wraps(original)
    def then_dies(*arguments: Any, **options: Any) -> Any:
        if int(os.environ["RANK"]) == rank:
            if number != signal.SIGKILL:  # told in the middle of the work, which is done to its end
                os.kill(os.getpid(), number)
                return original(*arguments, **options)
            os.kill(os.getpid(), number)
        return original(*arguments, **options)

    setattr(owner, name, then_dies)


if __name__ == "__main__":
    _, point, rank, number, *arguments = sys.argv
    sys.argv = ["lmms-eval", *arguments]
    main(point, int(rank), int(number))
