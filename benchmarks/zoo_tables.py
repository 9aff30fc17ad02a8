"""Tables of the zoo in README and docs, from the committed board: no number in them is copied by hand.

python -m benchmarks.zoo_tables    # writes each between its two comments
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tabulate import tabulate

from connector_bench.number_style import NONE, difference, number

ROOT = Path(__file__).parents[1]
BOARD = ROOT / "leaderboard" / "leaderboard.json"
ZOO = "connector_zoo/"
KINDS = ("object", "existence", "count", "category")
ANSWERS = {"VQA accuracy": "scenes_vqa/accuracy"}
KEPT = {
    "neighbours kept, k = 10": "knn_preservation/knor_10",
    "the same architecture untrained": "knn_preservation/untrained_knor_10",
}
LOST = {"patch variance lost": "patch_reconstruction/lost"}
OBJECTS = {
    "kept, scenes": "knn_preservation_scenes/knor_10",
    "kept, objects": "knn_preservation/knor_10",
    "kept, unseen drawings": "knn_preservation_unseen/knor_10",
    "R@1 by object after": "knn_preservation/recall_post_1",
    "same object after": "knn_preservation/purity_post",
    "same background after": "knn_preservation/purity_post_by_background",
}
WHOLE = {
    **KEPT,
    "kept among scenes": OBJECTS["kept, scenes"],
    "trustworthiness": "knn_preservation/trustworthiness",
    **LOST,
    **ANSWERS,
    "on unseen drawings": "scenes_vqa_unseen/accuracy",
}

Board = dict[str, Any]


def connectors(board: Board, columns: Mapping[str, str], only: Iterable[str] = ()) -> str:
    """Means over the seeds of every trained connector, or of those named; the one that answers best first."""
    order = ANSWERS["VQA accuracy"]
    spreads = {_short(row["model"]): _alone(row["figures"]) for row in _models(board)}
    spreads |= {_short(group["name"]): group["spreads"] for group in board["groups"]}
    names = sorted(
        (
            name
            for name in spreads
            if order in spreads[name] and (name in only if only else not name.startswith("untrained_"))
        ),
        key=lambda name: -spreads[name][order]["mean"],
    )
    return _table(
        ["connector", *columns],
        [[f"`{name}`", *(_mean(spreads[name].get(figure)) for figure in columns.values())] for name in names],
    )


def stages(board: Board, place: str) -> str:
    """What is lost in a place, by connector and kind of question, of each one's first seed; in order of `object`."""
    names = [f"connector_stages/lost_{place}_{kind}" for kind in KINDS]
    lost = {
        _short(row["model"]): [row["figures"][name] for name in names]
        for row in _models(board)
        if row["model"].endswith("-seed0") and names[0] in row["figures"]
    }
    order = sorted(lost, key=lambda name: lost[name][0]["value"])
    return _table(["connector", *KINDS], [[f"`{name}`", *map(_lost, lost[name])] for name in order])


README, DOCS = ROOT / "README.md", ROOT / "docs"
TABLES: dict[str, tuple[Path, Callable[[Board], str]]] = {
    "zoo: connectors": (README, partial(connectors, columns=WHOLE)),
    "zoo: five connectors": (
        DOCS / "READING.md",
        partial(
            connectors,
            columns=KEPT | LOST | ANSWERS,
            only=("identity", "linear", "mlp", "rank8", "resampler"),
        ),
    ),
    "zoo: objects and scenes": (DOCS / "KNN.md", partial(connectors, columns=OBJECTS | ANSWERS)),
    "zoo: lost in the connector": (DOCS / "STAGES.md", partial(stages, place="connector")),
    "zoo: lost in the language model": (DOCS / "STAGES.md", partial(stages, place="language_model")),
}
"""By the comment that a table stands behind: its page, and what makes it of a board."""


def stands_in(name: str, page: str) -> str:
    """The table that a page has under this name. ValueError where its two comments are not there."""
    _, begun, rest = page.partition(f"<!-- {name} -->\n")
    table, ended, _ = rest.partition(f"\n<!-- end of {name} -->")
    if not begun or not ended:
        raise ValueError(f"no comments <!-- {name} --> and <!-- end of {name} --> in the page")
    return table


def write_tables() -> None:
    """Every table into its page."""
    board = json.loads(BOARD.read_text(encoding="utf-8"))
    for name, (path, made) in TABLES.items():
        page = path.read_text(encoding="utf-8")
        begun = f"<!-- {name} -->\n"
        old, new = begun + stands_in(name, page), f"{begun}\n{made(board)}\n"
        path.write_text(page.replace(old, new), encoding="utf-8")


def _models(board: Board) -> list[dict[str, Any]]:
    """The rows that are no controls."""
    return [row for row in board["rows"] if row["model"].startswith(ZOO)]


def _short(model: str) -> str:
    """The connector, without the zoo and the seed."""
    return model.removeprefix(ZOO).partition("-seed")[0]


def _alone(figures: dict[str, Any]) -> dict[str, Any]:
    """One seed's figures in the shape of the means of several."""
    return {name: {"mean": figure["value"], "bound": figure.get("bound")} for name, figure in figures.items()}


def _mean(spread: dict[str, Any] | None) -> str:
    return NONE if spread is None else number(spread["mean"], spread["bound"])


def _lost(figure: dict[str, Any]) -> str:
    return difference(figure["value"], figure.get("low"), figure.get("high"))


def _table(headers: list[str], rows: list[list[str]]) -> str:
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


if __name__ == "__main__":
    write_tables()
