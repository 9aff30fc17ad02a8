"""Questions and answers of a split as tensors of word ids, beside the encoder's tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float16, Int
from torch import Tensor

from connector_bench.zoo.decoder import PAD_ID
from connector_bench.zoo.features import load_features
from connector_bench.zoo.questions import KINDS
from connector_bench.zoo.splits import Split
from connector_bench.zoo.vocabulary import QUESTION_LENGTH, encode_question, token_ids


@dataclass(frozen=True)
class QuestionTensors:
    """All questions of n scenes.

    A scene with fewer than q questions is filled up with ``PAD_ID`` and kind -1.
    """

    tokens: Float16[Tensor, "n 196 112"]
    questions: Int[Tensor, "n q l"]
    answers: Int[Tensor, "n q"]
    kinds: Int[Tensor, "n q"]


def load_tensors(split: Split) -> QuestionTensors:
    """A split's encoder tokens and questions; the encoder runs on first use only."""
    tokens, asked = load_features(split)
    shape = (len(asked), max(len(scene) for scene in asked))
    questions = torch.full((*shape, QUESTION_LENGTH), PAD_ID)
    answers, kinds = torch.full(shape, PAD_ID), torch.full(shape, -1)
    ids, known = token_ids(), {}
    for i, scene in enumerate(asked):
        for j, (kind, question, answer) in enumerate(scene):
            if question not in known:
                known[question] = torch.tensor(encode_question(question))
            questions[i, j], answers[i, j], kinds[i, j] = known[question], ids[answer], KINDS.index(kind)
    return QuestionTensors(torch.from_numpy(np.array(tokens)), questions, answers, kinds)
