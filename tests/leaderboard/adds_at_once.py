"""Several `connector-bench leaderboard add` at once, each a process of its own; forks, so it runs in one of its own.

    python -m tests.leaderboard.adds_at_once BOARD RESULTS RESULTS ...

Prints the exit status of each as JSON.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from multiprocessing.synchronize import Barrier

from connector_bench.cli import app


def add(results: str, board: str, together: Barrier) -> None:
    together.wait()
    app(["leaderboard", "add", results, "--board", board])


def main(board: str, results: list[str]) -> list[int | None]:
    here = multiprocessing.get_context("fork")
    together = here.Barrier(len(results))
    processes = [here.Process(target=add, args=(path, board, together)) for path in results]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2:])))
