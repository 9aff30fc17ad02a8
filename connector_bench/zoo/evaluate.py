"""Score a zoo model on cached encoder tokens: accuracy by kind, and mean-pooled k-NN overlap."""

from __future__ import annotations

import torch

from connector_bench.zoo.model import ZooModel
from connector_bench.zoo.questions import KINDS
from connector_bench.zoo.training_data import QuestionTensors

BATCH = 50


@torch.inference_mode()
def evaluate(model: ZooModel, data: QuestionTensors) -> dict[str, float]:
    """Share of right answers, ``overall`` over all questions and by kind."""
    right = []
    for start in range(0, len(data.tokens), BATCH):
        rows = slice(start, start + BATCH)
        scores = model.decoder(model.connect(data.tokens[rows]), data.questions[rows])
        right.append(scores.argmax(-1) == data.answers[rows])
    correct = torch.cat(right).float()
    asked = {"overall": data.kinds >= 0, **{kind: data.kinds == i for i, kind in enumerate(KINDS)}}
    return {kind: round(correct[rows].mean().item(), 4) for kind, rows in asked.items()}


@torch.inference_mode()
def overlap_at_10(model: ZooModel, data: QuestionTensors) -> float:
    """Mean share of an image's 10 nearest neighbours that pre and post have in common.

    l2, mean-pooled tokens, the image itself excluded. A quick check for the card; the measurement is the task
    ``knn_preservation``.
    """
    from sklearn.neighbors import NearestNeighbors

    batches = data.tokens.split(BATCH)
    pre = torch.cat([tokens.float().mean(1) for tokens in batches]).double()
    post = torch.cat([model.connect(tokens).double().mean(1) for tokens in batches])
    near = [
        NearestNeighbors(n_neighbors=10).fit(v.numpy()).kneighbors(return_distance=False) for v in (pre, post)
    ]
    return sum(len(set(a) & set(b)) for a, b in zip(*near, strict=True)) / (10 * len(pre))
