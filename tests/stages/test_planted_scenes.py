"""Connectors whose loss is known: what keeps all, what keeps some places, what says nothing, what adds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from connector_bench.stages.stage_figures import StageFigures

from .planted_scenes import KINDS, NAMES, measured, scenes

MAJORITY = 1 / len(NAMES)


def scores(figures: StageFigures) -> Mapping[str, Mapping[str, Any]]:
    found = figures.summary["scores"]
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def whole() -> StageFigures:
    """Zero padding: the connector keeps all."""
    return measured(lambda tokens: F.pad(tokens, (0, 5)))


def test_what_can_be_read_is_read(whole: StageFigures) -> None:
    found = scores(whole)
    assert found["acc_pre_object"]["value"] > 0.98
    assert found["acc_pre_object"]["chance"] == pytest.approx(MAJORITY, abs=0.06)
    assert found["answer_bits_object"]["value"] == pytest.approx(2.0, abs=0.05)
    assert found["bits_pre_object"]["value"] > 1.85
    assert found["acc_pre_number"]["value"] > 0.9
    assert found["lost_encoder_object"]["value"] == pytest.approx(1 - found["acc_pre_object"]["value"])


def test_the_linear_reader_reads_what_is_linear(whole: StageFigures) -> None:
    assert scores(whole)["acc_linear_pre_object"]["value"] > 0.95


def test_padding_loses_nothing(whole: StageFigures) -> None:
    for kind in KINDS:
        lost = scores(whole)[f"lost_connector_{kind}"]
        assert lost["low"] <= 0 <= lost["high"]
        assert abs(lost["value"]) < 0.01
        assert abs(scores(whole)[f"bits_lost_{kind}"]["value"]) < 0.02
    assert whole.summary["read_worse_before"] == []


def test_a_rotation_loses_nothing() -> None:
    """It is kept rounded otherwise, and a training magnifies that: what is left of it stays within its interval."""
    turn, _ = torch.linalg.qr(torch.randn(24, 16, generator=torch.Generator().manual_seed(0)))
    figures = measured(lambda tokens: tokens @ turn.T)
    for kind in KINDS:
        lost = scores(figures)[f"lost_connector_{kind}"]
        assert lost["low"] <= 0 <= lost["high"]
        assert abs(lost["value"]) < 0.02
        assert abs(scores(figures)[f"bits_lost_{kind}"]["value"]) < 0.05
        assert scores(figures)[f"acc_pre_{kind}"]["value"] > 0.9


def test_places_that_are_gone_are_lost_in_the_connector() -> None:
    found = scores(measured(lambda tokens: tokens[:, :6]))
    lost = found["lost_connector_object"]
    expected = (found["acc_pre_object"]["value"] - MAJORITY) / 3
    assert lost["low"] <= expected <= lost["high"]
    assert found["bits_lost_object"]["value"] == pytest.approx(2 / 3, abs=0.1)
    assert lost["chance"] == pytest.approx(found["acc_pre_object"]["value"] - MAJORITY, abs=0.06)


def test_tokens_of_other_scenes_say_nothing() -> None:
    found = scores(measured(lambda tokens: tokens.roll(1, 0)))
    assert found["acc_post_object"]["low"] <= found["acc_post_object"]["chance"] + 0.03
    assert found["acc_post_object"]["value"] == pytest.approx(MAJORITY, abs=0.05)
    assert -0.01 < found["bits_post_object"]["value"] < 0.01


def test_what_is_read_better_behind_is_reported_and_not_clipped() -> None:
    hidden = scenes(320, 1), scenes(100, 2)
    drowned = {len(one.tokens): one.tokens for one in hidden}

    def encoder(tokens: Tensor) -> Tensor:
        noise = torch.randn(tokens.shape, generator=torch.Generator().manual_seed(len(tokens)))
        return tokens + 4 * noise

    figures = measured(_Restoring(encoder, drowned), encoder=encoder)
    lost = scores(figures)["lost_connector_object"]
    assert lost["high"] < 0
    assert figures.summary["read_worse_before"] == ["object", "number"]
    assert "read better behind" in figures.warnings[0]


class _Restoring:
    """A connector that gives back what noise has drowned, found again by its row."""

    def __init__(self, encoder: Any, clean: Mapping[int, Tensor]) -> None:
        self._of = {
            tuple(row.flatten()[:3].tolist()): before
            for tokens in clean.values()
            for row, before in zip(encoder(tokens), tokens, strict=True)
        }

    def __call__(self, tokens: Tensor) -> Tensor:
        return torch.stack([self._of[tuple(row.flatten()[:3].tolist())] for row in tokens])


def test_every_question_has_its_part_of_every_figure(whole: StageFigures) -> None:
    found = scores(whole)
    for name, score in found.items():
        values = [row[name] for row in whole.per_document.values() if name in row]
        assert np.mean(values) == pytest.approx(score["value"])
        assert score["n"] == 100
        assert "these readers" in score["method"]
