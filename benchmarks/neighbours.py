"""What the zoo's neighbours share and what of it each connector keeps: objects beside scenes, against accuracy.

python -m benchmarks neighbours [--sets objects_test test ...] [--pictures N]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import spearmanr
from tabulate import tabulate
from tqdm import tqdm

from connector_bench import knn_preservation
from connector_bench.preservation.retrieval import retrieval
from connector_bench.stats.intervals import Score
from connector_bench.zoo import load, objects, scenes
from connector_bench.zoo.shipped import read_cards

CONNECTORS = (
    *("identity", "linear", "mlp", "avg_pool", "rank32", "rank8", "rank2"),
    *("pixel_shuffle", "patch_merger", "c_abstractor", "resampler"),
)
LABELS = {"objects": ("object", "category", "background"), "scenes": ("label", "background")}
BATCH = 16


@dataclass(frozen=True)
class Line:
    """One connector of seed 0 on one set of pictures."""

    connector: str
    kept: Score
    shared: dict[str, Score]
    """Purity and recall at 1 on both sides for every column of labels, by `<column> <metric>`."""
    accuracy: float


def lines(name: str, most: int | None) -> Iterator[Line]:
    """Every connector on the first `most` pictures of a set; tower and connectors run once."""
    of_objects = name in objects.SPLITS
    rows = (objects if of_objects else scenes).load(name)
    rows = rows.select(range(min(most or len(rows), len(rows))))
    models = {connector: load(connector) for connector in CONNECTORS}
    pre: list[np.ndarray] = []
    post: dict[str, list[np.ndarray]] = {connector: [] for connector in CONNECTORS}
    for start in tqdm(range(0, len(rows), BATCH), desc=name):
        tokens = models["identity"].encode(rows["image"][start : start + BATCH])
        pre.append(tokens.mean(1).numpy())
        for connector, model in models.items():
            post[connector].append(model.connect(tokens).mean(1).numpy())
    cards = {card.connector: card for card in read_cards() if card.seed == 0}
    split = "test_unseen" if name.endswith("unseen") else "test"
    before = np.concatenate(pre)
    for connector, vectors in post.items():
        after = np.concatenate(vectors)
        shared: dict[str, Score] = {}
        for column in LABELS["objects" if of_objects else "scenes"]:
            scores = retrieval(before, after, np.array(rows[column])).scores
            shared |= {
                f"{column} {figure}": scores[figure]
                for figure in ("recall_pre_1", "recall_post_1", "purity_pre", "purity_post")
            }
        kept = knn_preservation(before, after, ks=(10,)).scores["knor_10"]
        yield Line(connector, kept, shared, cards[connector].accuracy[split]["overall"])


def said(name: str, found: list[Line]) -> str:
    """A table, and the rank correlation of overlap and of what is shared with accuracy over trained connectors."""
    table = [
        {"connector": line.connector, "kept at 10": _text(line.kept)}
        | {column: _text(score) for column, score in line.shared.items() if "_pre" not in column}
        | {"accuracy": f"{line.accuracy:.3f}"}
        for line in found
    ]
    first = found[0].shared
    before = "; ".join(
        f"{column} {_text(score)}, chance {score.chance:.3f}"
        for column, score in first.items()
        if "_pre" in column
    )
    trained = [line for line in found if line.connector != "identity"]
    accuracy = [line.accuracy for line in trained]
    against = {"overlap at 10": [line.kept.value for line in trained]}
    against |= {
        column: [line.shared[column].value for line in trained] for column in first if "_post" in column
    }
    correlations = "; ".join(
        f"{what} {spearmanr(values, accuracy).statistic:+.2f}" for what, values in against.items()
    )
    return (
        f"\n## {name}, N = {found[0].kept.n}\n\nBefore the connector: {before}\n\n"
        f"{tabulate(table, headers='keys', tablefmt='github')}\n\n"
        f"Spearman with accuracy over {len(trained)} trained connectors: {correlations}"
    )


def _text(score: Score) -> str:
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sets = [*objects.SPLITS, "test", "test_unseen"]
    parser.add_argument("--sets", nargs="+", choices=sets, default=sets)
    parser.add_argument("--pictures", type=int, help="so many of each set; all by default")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.sets:
        print(said(name, list(lines(name, options.pictures))), flush=True)


if __name__ == "__main__":
    main()
