"""What is said of a connector once it is trained: how it answers, and where it stands beside the zoo's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from connector_bench.leaderboard.board_files import shipped_board, stored_runs
from connector_bench.leaderboard.placing import PlacedFigure, SeededFigure, known_figures, placed
from connector_bench.number_style import difference, number, with_interval
from connector_bench.zoo.named_connectors import canonical_name
from connector_bench.zoo.questions import KINDS
from connector_bench.zoo.shipped import Card, read_card
from connector_bench.zoo.splits import SPLITS
from connector_bench.zoo.train import TrainingConfig

TASKS = "knn_preservation,patch_reconstruction,scenes_vqa"
BUDGET = ("epochs", "batch", "learning_rate", "weight_decay", "warm_up", "clip", "scenes")


def bench_text(weights: Sequence[Path]) -> str:
    """Accuracy of one connector over its seeds, its place, and the commands that come next.

    Args:
        weights: what training has written, a file a seed.
    """
    cards = [read_card(path) for path in weights]
    name, seeds = cards[0].connector, [card.seed for card in cards]
    test, unseen = ([card.accuracy[split]["overall"] for card in cards] for split in ("test", "test_unseen"))
    questions = SPLITS["test"].scenes * len(KINDS)
    error = math.sqrt(sum(share * (1 - share) for share in test) / len(test) / questions)
    others = known_figures(stored_runs(shipped_board()), "scenes_vqa", "accuracy")
    others.pop(f"connector_zoo/{canonical_name(name)}", None)
    found = placed(SeededFigure(tuple(test), error), others)
    each = f" (seeds {', '.join(map(number, test))})" if len(test) > 1 else ""
    lines = [
        f"{name} answers {with_interval(found.value, found.low, found.high)} of {questions:,} questions about the test "
        f"scenes{each}, {number(sum(unseen) / len(unseen))} where drawings are unseen",
        _place(found),
        *_beside(found),
    ]
    if changed := _other_budget(cards[0]):
        lines.append(
            f"not the budget of the others: {changed}; train without options for a place that means something"
        )
    lines.append("next, what it loses and keeps:")
    lines += [
        f"  lmms-eval --model connector_zoo --model_args connector={name},seed={seed} --tasks {TASKS} --batch_size 64 "
        "--output_path results --log_samples"
        for seed in seeds
    ]
    lines.append("  connector-bench leaderboard show results")
    return "\n".join(lines)


def _place(found: PlacedFigure) -> str:
    span = f"{found.highest} to {found.lowest}" if found.highest != found.lowest else f"{found.place}"
    return f"place {found.place} of {found.of} beside the built-in connectors by accuracy; 95 %: {span}"


def _beside(found: PlacedFigure) -> list[str]:
    lines = []
    for other, (gap, low, high) in found.differences.items():
        verdict = "more than" if low > 0 else "fewer than" if high < 0 else "not told apart from"
        short = other.removeprefix("connector_zoo/")
        lines.append(f"  {verdict:>19} {short:<15} {number(found.value - gap)}  {difference(gap, low, high)}")
    return lines


def _other_budget(card: Card) -> str:
    usual = asdict(TrainingConfig())
    return ", ".join(
        f"{key} {card.training[key]} instead of {usual[key]}"
        for key in BUDGET
        if card.training[key] != usual[key]
    )
