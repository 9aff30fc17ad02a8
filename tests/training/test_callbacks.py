"""What a trainer of transformers or of Lightning makes of a probe, and of the other's callback."""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

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


def test_a_second_trainers_model_is_the_one_that_is_measured(tmp_path: Path) -> None:
    """And a new model of the same trainer, as `model_init` gives one a trial; a model that was given stays."""
    pictures = loops.pictures(20)
    probe = cb.ConnectorProbe(pictures, every=2, folder=tmp_path / "probe")
    first, second = (loops.trainer(tmp_path, [probe.for_trainer()], steps=2) for _ in range(2))
    with torch.no_grad():
        second.model.model.multi_modal_projector.linear_2.weight.normal_()
    measured = []
    for trainer in (first, second):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="ConnectorProbe: .* held the curve of another run")
            trainer.train()
        measured.append(probe.to_pandas().drop(columns=["seconds", "training_seconds"]))
        own = cb.ConnectorProbe(
            pictures,
            trainer.model,
            processor=trainer.processing_class,
            folder=tmp_path / f"own{len(measured)}",
        )
        own.attach(torch.nn.Linear(3, 3), None)
        own.step(2)
        assert measured[-1]["r2_ridge"].iloc[-1] == own.to_pandas()["r2_ridge"].iloc[-1]
    assert measured[0]["r2_ridge"].iloc[0] != measured[1]["r2_ridge"].iloc[0]
    assert measured[1]["knor_10_first"].iloc[-1] < 1


def test_a_probe_is_an_object_like_others(probe: Any) -> None:
    assert not hasattr(probe, "on_train_begin")
    assert copy.copy(probe).every == probe.every
    assert pickle.loads(pickle.dumps(cb.ConnectorProbe(loops.pictures(20)))).every == 500
