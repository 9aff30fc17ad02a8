"""The figures of the paper whose measures these are, for display beside ours: another protocol, so never ranked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from connector_bench.leaderboard.table import Published, PublishedFigure

OUR_TASK = {
    "vizwiz": "knn_preservation_vizwiz",
    "seedbench": "knn_preservation_seedbench",
    "vqav2": "knn_preservation_vqav2",
}
DATA_SETS = {
    "vizwiz": "VizWiz-grounding",
    "seedbench": "SEED-Bench",
    "vqav2": "VQAv2",
    "cub": "CUB-200",
    "coco": "COCO",
    "flickr30k": "Flickr30k",
}
RETRIEVAL = {
    "knor_100": ("paper_knor_100", "kept, k = 100", 1.0),
    "recall_pre_1": ("recall_pre_1", "recall at 1 before", 0.01),
    "recall_post_1": ("recall_post_1", "recall at 1 after", 0.01),
    "recall_pre_5": ("recall_pre_5", "recall at 5 before", 0.01),
    "recall_post_5": ("recall_post_5", "recall at 5 after", 0.01),
}
CAPTIONING = {
    "mse": ("paper_mse", "error of a patch", False),
    "cider": ("cider", "CIDEr", True),
    "cider_high_loss": ("cider_high_loss", "CIDEr, most lossy quarter", True),
    "cider_low_loss": ("cider_low_loss", "CIDEr, least lossy quarter", True),
    "spearman": ("spearman", "rank correlation of loss and CIDEr", None),
}


@cache
def published() -> Published:
    """Every published figure; recalls as shares, as ours are."""
    content = json.loads(files(__package__).joinpath("paper_results.json").read_text(encoding="utf-8"))
    figures = (*_overlap(content), *_retrieval(content), *_captioning(content), *_procrustes(content))
    return Published(content["source"], content["note"], figures)


def _overlap(content: dict[str, Any]) -> Iterator[PublishedFigure]:
    chart = content["knor_read_from_chart"]
    where = f"figure {chart['figure']}, {chart['precision']}"
    for model in content["models"]:
        for data_set, values in chart[model].items():
            if data_set == "all":
                continue  # a range over data sets and k is no figure of one of them
            for k, value in zip(chart["k"], values, strict=True):
                metric, label = f"paper_knor_{k}", f"kept, k = {k}"
                key = (OUR_TASK[data_set], metric)
                yield PublishedFigure(model, DATA_SETS[data_set], metric, label, value, True, where, key)


def _retrieval(content: dict[str, Any]) -> Iterator[PublishedFigure]:
    table = content["cub_retrieval_l2"]
    for model in content["models"]:
        for name, value in table[model].items():
            metric, label, scale = RETRIEVAL[name]
            key = ("knn_preservation_cub", metric)
            yield PublishedFigure(
                *(model, DATA_SETS["cub"], metric, label, round(value * scale, 6), True),
                *(f"table {table['table']}", key),
            )


def _captioning(content: dict[str, Any]) -> Iterator[PublishedFigure]:
    table = content["captioning"]
    for model in content["models"]:
        for data_set, values in table[model].items():
            for name, value in values.items():
                metric, label, better = CAPTIONING[name]
                where = f"table {table['table']}"
                yield PublishedFigure(model, DATA_SETS[data_set], metric, label, value, better, where)


def _procrustes(content: dict[str, Any]) -> Iterator[PublishedFigure]:
    table = content["procrustes_seedbench"]
    for model in content["models"]:
        yield PublishedFigure(
            *(model, DATA_SETS["seedbench"], "procrustes_paper", "Procrustes residual", table[model], None),
            *(f"table {table['table']}", ("knn_preservation_seedbench", "procrustes_paper")),
        )
