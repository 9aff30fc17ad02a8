"""What a probe refuses before training begins, since later it would only warn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import connector_bench as cb
from tests import tiny_vlms
from tests.training.test_probe import pictures, tokens


def pair() -> tuple[nn.Module, nn.Module]:
    return nn.Identity(), nn.Identity()


@pytest.mark.parametrize(
    ("images", "model", "error", "says"),
    [
        (lambda: tokens(5), pair(), ValueError, "k = 10 needs at least 12 different images, got 5"),
        (lambda: tokens(9), pair(), ValueError, "k = 10 needs at least 12 different images, got 9"),
        (lambda: tokens(20), (lambda x: x, nn.Identity()), TypeError, "nn.Module or a method of one"),
        (lambda: tokens(20), None, TypeError, r"\[16, 12\] of float32 is no picture.*is for a bare pair"),
        (lambda: tokens(20), (*pair(), nn.Identity()), ValueError, "got 3 parts"),
        (lambda: tokens(20), nn.Sequential(*pair()), TypeError, r"is Sequential; .*\(encoder, connector\)"),
        (lambda: pictures(20), "llava", TypeError, "model is str; a transformers model or"),
        (lambda: pictures(20), pair(), TypeError, r"processor\(images=pictures, "),
        (lambda: {"pixel_values": tokens(20)}, pair(), TypeError, r"got dict; .*\[.pixel_values"),
        (lambda: None, pair(), TypeError, "got NoneType; such as"),
        (lambda: np.zeros((9, 4, 3), np.uint8), None, ValueError, r"one array of \[9, 4, 3\]; a picture by"),
        (lambda: torch.zeros(3, 9, 4).byte(), None, ValueError, r"several as \[pictures, 3, rows"),
        (lambda: np.zeros((9, 4, 4, 3)), None, TypeError, r"\[4, 4, 3\] of float64 is no picture"),
        (lambda: pictures(1)[0], None, TypeError, "images is Image"),
    ],
)
def test_what_cannot_be_measured(images: Any, model: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        cb.ConnectorProbe(images(), model)


def test_a_model_without_a_connector() -> None:
    model, processor = tiny_vlms.make("llava")
    with pytest.raises(ValueError, match="CLIPVisionModel"):
        cb.ConnectorProbe(pictures(20), model.model.vision_tower, processor=processor)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"grid": 3}, "grid is 3"),
        ({"grid": (3.0, 3.0)}, "grid is"),
        ({"ks": 5}, r"got 5; one k is \(5,\)"),
        ({"ks": (5.0,)}, "whole numbers"),
        ({"every": 0}, "every is a whole number of at least 1, got 0"),
        ({"every": 2.5}, "every is a whole number of at least 1, got 2.5"),
        ({"every": "500"}, "every is a whole number of at least 1, got '500'"),
        ({"batch_size": None}, "batch_size is a whole number of at least 1, got None"),
    ],
)
def test_an_argument_that_is_not_allowed(wrong: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        cb.ConnectorProbe(tokens(20), pair(), **wrong)


def test_few_images_although_k_allows_them() -> None:
    with pytest.raises(ValueError, match="5 different images: at least 8"):
        cb.ConnectorProbe(tokens(5), pair(), ks=(3,))


def test_numbers_of_numpy_are_numbers() -> None:
    assert cb.ConnectorProbe(tokens(20), pair(), every=np.int64(3)).every == 3


def test_a_file_in_the_folders_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match="is a file"):
            cb.ConnectorProbe(tokens(20), pair(), folder=folder)
