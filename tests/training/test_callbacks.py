"""What a trainer of transformers or of Lightning makes of a probe, and of the other's callback."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest

import connector_bench as cb
from tests.training import loops

SAYS = r"takes callbacks=\[probe.for_trainer\(\)\], Lightning callbacks=\[probe.for_lightning\(\)\]$"


@pytest.fixture
def probe(tmp_path: Path) -> Any:
    net = loops.Net()
    return cb.ConnectorProbe(loops.images(), (net.tower, net.connector), folder=tmp_path / "probe")


def test_a_trainer_that_is_handed_the_probe_itself_says_what_it_takes(probe: Any, tmp_path: Path) -> None:
    with pytest.raises(AttributeError, match=f"^'ConnectorProbe' object has no attribute 'on_.*{SAYS}"):
        loops.trainer(tmp_path, [probe])


def test_a_lightning_trainer_says_it_too(probe: Any, tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning.pytorch", reason="lightning is not installed")
    options = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "max_steps": 1}
    for wrong in (probe, probe.for_trainer()):
        with pytest.raises(AttributeError, match=SAYS):
            lightning.Trainer(callbacks=[wrong], **options).fit(lightning.LightningModule())
    with pytest.raises(AttributeError, match=f"^'ProbeOfLightning' object .*{SAYS}"):
        loops.trainer(tmp_path, [probe.for_lightning()])


def test_a_probe_is_an_object_like_others(probe: Any) -> None:
    assert not hasattr(probe, "on_train_begin")
    assert copy.copy(probe).every == probe.every
    assert pickle.loads(pickle.dumps(cb.ConnectorProbe(loops.pictures(20)))).every == 500
