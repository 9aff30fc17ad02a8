"""The plugin's door: an unknown harness is named, a known one is served."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from loguru import logger

from connector_bench import device_map, entry
from tests.harness import run_command
from tests.tiny_vlms import save


@pytest.mark.parametrize("version", ["0.7.3", "0.7.9"])
def test_known(version: str) -> None:
    assert entry.harness_problem(version) is None


@pytest.mark.parametrize("version", ["0.7.2", "0.8.0", "1.0", "0.6.1"])
def test_unknown_versions_are_named_beside_ours(version: str) -> None:
    problem = entry.harness_problem(version)
    assert problem is not None
    assert f"lmms-eval {version} is installed" in problem
    assert f"connector-bench {entry.__version__}" in problem


def test_an_unknown_harness_is_said_once_and_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "version", lambda package: "9.9")
    said: list[str] = []
    sink = logger.add(said.append, level="ERROR", format="{message}")
    try:
        assert entry.register() == []
    finally:
        logger.remove(sink)
    assert len(said) == 1
    assert "lmms-eval 9.9" in said[0]


def test_registering_twice_changes_nothing_more() -> None:
    from lmms_eval.tasks import TaskManager

    entry.register()
    once = TaskManager.initialize_tasks
    manifest, of_captures = entry.register()
    assert of_captures.model_id == "connector_capture"
    assert TaskManager.initialize_tasks is once
    assert manifest.model_id == "connector_zoo"


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save("llava", tmp_path_factory.mktemp("checkpoints"))


def started(model: str, force_simple: bool = False, **arguments: Any) -> Any:
    from lmms_eval.models import get_model

    return get_model(model, force_simple=force_simple)(**arguments)


@pytest.mark.parametrize("force_simple", [False, True])
@pytest.mark.parametrize(
    ("arguments", "device_map"),
    [
        ({"device": "cpu"}, "cpu"),
        ({"device": "cpu", "device_map": ""}, "cpu"),
        ({"device": "cpu", "device_map": "auto"}, "auto"),
        ({"device": "cpu", "device_map": {"": "cpu"}}, {"": "cpu"}),
    ],
)
def test_a_wrapper_starts_on_its_own_device_unless_told_otherwise(
    llava: Path, force_simple: bool, arguments: dict[str, Any], device_map: Any
) -> None:
    lm = started("llava_hf", force_simple, pretrained=str(llava), **arguments)
    assert lm.device_map == device_map
    assert {str(parameter.device) for parameter in lm.model.parameters()} == {"cpu"}


@pytest.mark.skipif(
    torch.cuda.is_available(), reason="this machine has CUDA, where the wrapper's own default is right"
)
def test_without_cuda_a_wrapper_runs_where_accelerate_does(llava: Path) -> None:
    said: list[str] = []
    sink = logger.add(said.append, level="WARNING", format="{message}")
    try:
        lm = started("llava_hf", pretrained=str(llava))
    finally:
        logger.remove(sink)
    assert lm.device.type == lm.accelerator.device.type
    assert [line for line in said if "LlavaHf" in line and str(lm.accelerator.device) in line]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA")
def test_on_cuda_the_model_lies_on_the_wrappers_device(llava: Path) -> None:
    lm = started("llava_hf", pretrained=str(llava))
    assert lm.device_map == "cuda"
    assert {parameter.device.type for parameter in lm.model.parameters()} == {"cuda"}


def test_a_wrapper_of_ones_own_inherits_it(llava: Path) -> None:
    from lmms_eval.models import get_model

    class Mine(get_model("llava_hf")):  # type: ignore[misc]
        def __init__(self, pretrained: str, **more: Any) -> None:
            super().__init__(pretrained, "main", "cpu", **more)

    assert Mine(str(llava)).device_map == "cpu"


@pytest.mark.parametrize("model", sorted(device_map.NEED_A_DEVICE_MAP))
def test_every_wrapper_named_gets_as_far_as_its_checkpoint(model: str, tmp_path: Path) -> None:
    """A missing checkpoint is what stops them, and no device map."""
    if model in ("aero", "phi4_multimodal"):
        pytest.importorskip("librosa")
    with pytest.raises((OSError, ValueError, ImportError)) as stopped:
        started(model, pretrained=str(tmp_path / "none"))
    assert "device_map" not in str(stopped.value)
    assert "none" in str(stopped.value)


def stand_in(module: str, default: Any) -> type:
    class Wrapper:
        def __init__(self, device: str = "cuda", device_map: Any = default) -> None:
            self.given = (device, device_map)

    Wrapper.__module__ = module
    return Wrapper


def resolved(kind: type) -> type:
    class Registry:
        def get_model_class(self, name: str) -> type:
            return kind

    device_map.give_wrappers_a_device_map(Registry)
    return Registry().get_model_class("any")


@pytest.mark.parametrize(
    ("module", "default"),
    [
        ("lmms_eval.models.simple.llava_hf", None),
        ("lmms_eval.models.simple.llava_hf", "auto"),
        ("lmms_eval.models.chat.idefics2", "cuda"),
        ("lmms_eval.models.simple.ola", ""),
        ("elsewhere.models.llava_hf", ""),
    ],
)
def test_what_needs_nothing_gets_nothing(module: str, default: Any) -> None:
    kind = stand_in(module, default)
    before = vars(kind)["__init__"]
    assert vars(resolved(kind))["__init__"] is before
    assert kind().given == ("cuda", default)


def test_whoever_is_imported_first_all_is_registered() -> None:
    code = """import connector_bench.plugin
from lmms_eval.api.model import lmms
from lmms_eval.models import list_available_models
from lmms_eval.tasks import TaskManager
print(*list_available_models())
print(hasattr(TaskManager.initialize_tasks, "__wrapped__"), hasattr(lmms, "measure_connector"))
"""
    command = [sys.executable, "-c", code]
    finished = subprocess.run(command, check=True, capture_output=True, text=True)
    *models, indexed, asked = finished.stdout.split()
    assert {"connector_zoo", "connector_capture"} <= set(models)
    assert (indexed, asked) == ("True", "True"), finished.stderr
    assert "Failed to load" not in finished.stderr


def test_registering_imports_no_wrapper() -> None:
    code = "import sys, lmms_eval.models; print([n for n in sys.modules if n.startswith('lmms_eval.models.simple.')])"
    finished = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert finished.stdout.strip().endswith("[]")


def test_two_processes_without_cuda(llava: Path, tmp_path: Path) -> None:
    """Where the wrapper's own choice, `cuda:RANK`, does not exist."""
    if torch.cuda.is_available():
        pytest.skip("with CUDA the wrapper chooses a device for each process itself")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    outcome, said = run_command(
        tmp_path,
        [*torchrun, "-m", "lmms_eval"],
        *("--model", "llava_hf", "--model_args", f"pretrained={llava}"),
        *("--tasks", "knn_preservation", "--limit", "12"),
        OMP_NUM_THREADS="1",
    )
    assert outcome.figures("knn_preservation")["n_images"] == 12, said


def test_data_sets_of_the_hub_are_counted_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a reader of local files is not."""
    import datasets.load

    entry.loaded_plugin()
    asked = []
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.load, "get_session", lambda: asked.append("a session"))
    datasets.load.increase_load_count("json")
    datasets.load.increase_load_count("imagefolder")
    assert asked == []
    datasets.load.increase_load_count("someone/data")
    assert asked == ["a session"]
