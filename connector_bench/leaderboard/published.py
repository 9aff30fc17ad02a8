"""The figures of the paper whose measures these are, for display beside ours: another protocol, so never ranked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from connector_bench.leaderboard.table import Published, PublishedFigure
from connector_bench.metrics import label_of
from connector_bench.metrics import metric as metric_of

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
                metric, label = f"paper_knor_{k}", label_of(f"knor_{k}")
                key = (OUR_TASK[data_set], metric)
                yield PublishedFigure(model, DATA_SETS[data_set], metric, label, value, True, where, key)


def _retrieval(content: dict[str, Any]) -> Iterator[PublishedFigure]:
    table = content["cub_retrieval_l2"]
    for model in content["models"]:
        for name, value in table[model].items():
            entry = metric_of(f"paper_{name}") or metric_of(name)
            assert entry is not None
            label = label_of(name)
            share = round(value / 100, 6) if entry.family == "retrieval" else value
            yield PublishedFigure(
                *(model, DATA_SETS["cub"], entry.name, label, share, True),
                *(f"table {table['table']}", ("knn_preservation_cub", entry.name)),
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
