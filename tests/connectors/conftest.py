"""Tiny models, built once a session."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import tiny_vlms

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny() -> Callable[[str], tuple[Any, Any]]:
    """Model and processor by name."""
    return cache(tiny_vlms.make)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Path of a saved checkpoint by name."""
    folder = tmp_path_factory.mktemp("checkpoints")
    return cache(lambda name: tiny_vlms.save(name, folder))
