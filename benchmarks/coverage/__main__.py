"""How often what is printed holds: 95 % intervals of the truth, and tests at .05 where there is no effect.

    python -m benchmarks.coverage [--simulations 500] [--seed 0] [--only FAMILY ...] [--json docs/coverage.json]
    python -m benchmarks.coverage --json docs/coverage.json --simulations 0    the table of what the file has

Every simulation draws other images, or connectors, from the same distribution, and measures them with the functions
that a run calls. `given` is the share of simulations that are above the floors of `connector_bench.stats.floors`.
Settings that cost little get several times as many simulations. A brief table, a line a figure, ends what is
printed; docs/AGREEMENT.md has it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.coverage.settings import SETTINGS
from benchmarks.coverage.simulated import Row, simulate
from benchmarks.coverage.study import brief, read, said, write


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    families = list(dict.fromkeys(setting.family for setting in SETTINGS))
    parser.add_argument("--simulations", type=int, default=500, help="of every setting (default: 500)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=families, nargs="+", default=families, help="families of settings")
    help_of_json = "where rows are written; a setting with as many simulations there is not repeated"
    parser.add_argument("--json", type=Path, help=help_of_json)
    options = parser.parse_args()
    chosen = [setting for setting in SETTINGS if setting.family in options.only]
    known = read(options.json) if options.json and options.json.exists() else []
    held: dict[tuple[str, str], list[Row]] = {}
    for row in known:
        held.setdefault((row.family, row.setting), []).append(row)
    for setting in chosen:
        place, wanted = (setting.family, setting.name), options.simulations * setting.more
        there = any(row.simulations >= wanted and row.seed == options.seed for row in held.get(place, ()))
        if there or not wanted:
            continue
        held[place] = list(simulate(setting, options.simulations, options.seed))
        if options.json:
            write(options.json, _in_order(held))
    rows = [row for row in _in_order(held) if row.family in options.only]
    print(said(rows), brief(rows), sep="\n\n")


def _in_order(held: dict[tuple[str, str], list[Row]]) -> list[Row]:
    """The rows of the settings that there are, in their order."""
    return [row for setting in SETTINGS for row in held.get((setting.family, setting.name), ())]


if __name__ == "__main__":
    main()
