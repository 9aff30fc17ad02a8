"""What a task's YAML may say, and what it is told otherwise."""

from pathlib import Path

import pytest

from connector_bench.preservation.options import preservation_options
from connector_bench.protocol import PROTOCOL_VERSION
from connector_bench.reconstruction.config import (
    PROBES_VARIABLE,
    ReconstructionConfig,
    paper_config,
    task_options,
)
from connector_bench.reconstruction.figures import metric_names
from connector_bench.reconstruction.state_folder import seconds_to_wait
from connector_bench.stages.stage_options import stage_options

TRAIN = {"split": "train"}


def test_options_are_read_once_into_a_frozen_value() -> None:
    options = task_options(
        {"train": TRAIN | {"images": 5}, "mlp_width": 64, "schedule": {"epochs": 2}, "shard": 8}
    )
    assert options.config.mlp_width == 64
    assert options.config.schedule.epochs == 2
    assert options.config.schedule.learning_rate == ReconstructionConfig().schedule.learning_rate
    assert options.train is not None
    assert (options.train.split, options.train.images, options.shard) == ("train", 5, 8)
    with pytest.raises(AttributeError):
        options.config.mlp_width = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"train": TRAIN, "mpl_width": 3}, "unknown option mpl_width; allowed are .*mlp_width"),
        ({"train": TRAIN, "schedule": {"epoch": 3}}, "unknown option of schedule epoch; allowed are epochs"),
        ({"train": TRAIN | {"set": 1}}, "unknown option of train set; allowed are split"),
        ({"train": TRAIN, "mlp_width": "wide"}, "mlp_width.*got 'wide'"),
        ({"train": TRAIN, "tap": "post"}, "tap.*got 'post'"),
        ({"train": TRAIN, "attention_heads": 7}, "7 heads do not divide"),
        ({"train": {"split": "a", "documents": len}}, "either `split` or `documents`"),
        ({"train": {"images": 3}}, "either `split` or `documents`"),
        ({"train": {"documents": len}}, "needs train.doc_to_visual"),
        ({"train": TRAIN | {"images": 0}}, "whole number of at least 1, got 0"),
        ({"train": TRAIN, "shard": 0}, "shard must be a whole number"),
        ({}, "say `train: {split: ...}`, or name probes"),
    ],
)
def test_what_is_not_allowed_is_named(given: dict, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PROBES_VARIABLE, raising=False)
    with pytest.raises(ValueError, match=message):
        task_options(given)


def test_probes_to_be_reused_need_no_training_images(monkeypatch: pytest.MonkeyPatch) -> None:
    assert task_options({"probes": "there"}).probes == Path("there")
    monkeypatch.setenv(PROBES_VARIABLE, "elsewhere")
    assert task_options({"probes": "there"}).probes == Path("elsewhere")


def test_the_papers_protocol_starts_from_its_options_and_has_metrics_of_its_own() -> None:
    config = task_options({"train": TRAIN, "protocol": "paper", "mlp_width": 16}).config
    assert config.mlp_width == 16
    assert config.schedule == paper_config().schedule
    assert not config.linear_path
    assert set(metric_names(config)) == {"paper_mse", "paper_r2", "n_images"}
    assert not set(metric_names(config)) & set(metric_names(ReconstructionConfig())) - {"n_images"}


def test_old_spellings_are_read_with_a_warning() -> None:
    given = {"protocol": "default", "target": "pre_normed", "train": {"split": "train"}}
    with pytest.warns(FutureWarning, match="target: pre_normed -> tap: pre_normed"):
        config = task_options(given).config
    assert (config.protocol, config.tap) == ("connector_bench", "pre_normed")
    written = config.as_json() | {
        "protocol": "default",
        "target": "pre_normed",
        "protocol_version": int(PROTOCOL_VERSION),
    }
    del written["tap"]
    assert ReconstructionConfig.from_json(written) == config


@pytest.mark.parametrize("said", ["soon", "-1", "nan", "86401", "inf"])
def test_a_wait_is_a_number_of_seconds_up_to_a_day(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="wait must be a number of seconds from 0 to 86400"):
        seconds_to_wait({"wait": said})
    monkeypatch.setenv("CONNECTOR_BENCH_WAIT", said)
    with pytest.raises(ValueError, match=f"CONNECTOR_BENCH_WAIT must be .* got '{said}'"):
        seconds_to_wait({"wait": 5})


def test_the_environment_says_how_long_to_wait_before_the_task_does(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"train": {"split": "train"}, "wait": 5}
    assert task_options(options).wait == 5
    monkeypatch.setenv("CONNECTOR_BENCH_WAIT", "0.5")
    assert task_options(options).wait == 0.5


BAD: list[tuple[str, object, str]] = [
    ("device", "cudda", "must be auto, cpu, cuda or cuda:<number>, got 'cudda'"),
    ("chunk_rows", -1, "greater than or equal to 1, got -1"),
    ("mlp_layers", 1, "greater than or equal to 2, got 1"),
    ("mlp_width", 0, "greater than or equal to 1, got 0"),
    ("control_rank", 0, "greater than or equal to 1, got 0"),
    ("control_pairs", 0, "greater than or equal to 1, got 0"),
    ("validation", 1.5, "less than 1, got 1.5"),
    ("validation", 0, "greater than 0, got 0"),
    ("validation", float("nan"), "less than 1, got nan"),
    ("patch_pairs", 0, "greater than or equal to 1, got 0"),
    ("validation_pairs", -5, "greater than or equal to 1, got -5"),
    ("penalties", [], "at least 1 item"),
    ("penalties.0", [-1], "greater than 0, got -1"),
    ("penalties.1", [1, float("inf")], "finite number, got inf"),
    ("untrained_seeds", -1, "greater than or equal to 0, got -1"),
    ("seed", -1, "greater than or equal to 0, got -1"),
    ("schedule.epochs", {"epochs": 0}, "greater than or equal to 1, got 0"),
    ("schedule.batch_size", {"batch_size": 0}, "greater than or equal to 1, got 0"),
    ("schedule.accumulate", {"accumulate": 0}, "greater than or equal to 1, got 0"),
    ("attention_schedule.learning_rate", {"learning_rate": 0}, "greater than 0, got 0"),
    ("schedule", 3, "got 3"),
    ("more_data_gain", float("nan"), "finite number, got nan"),
    ("attention_heads", 0, "greater than or equal to 1, got 0"),
    ("attention_images", 0, "greater than or equal to 1, got 0"),
    ("mlp_width", "x" * 100_000, "valid integer"),
]


@pytest.mark.parametrize(("name", "value", "allowed"), BAD)
def test_a_value_that_is_not_allowed_is_one_sentence(name: str, value: object, allowed: str) -> None:
    """Before anything is measured: each of these cost the whole pass."""
    with pytest.raises(ValueError, match=allowed.replace("(", r"\(")) as refused:
        task_options({"train": TRAIN, name.partition(".")[0]: value})
    said = str(refused.value)
    assert said.startswith(f"{name}: ")
    assert len(said) < 300
    assert "\n" not in said


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1"])
def test_devices_that_are_known(device: str) -> None:
    assert task_options({"train": TRAIN, "device": device}).config.device == device


def test_no_heads_are_refused_in_python_too() -> None:
    with pytest.raises(ValueError, match="0 heads do not divide a width of 256"):
        ReconstructionConfig(attention_heads=0)


@pytest.mark.parametrize("seed", [-1, "x", None, True, 0.5])
def test_a_seed_of_neighbours_is_a_whole_number(seed: object) -> None:
    with pytest.raises(ValueError, match="seed must be a whole number of at least 0, got "):
        preservation_options({"seed": seed})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"validation": 1.5}, "validation: Input should be less than 1, got 1.5"),
        (
            {"attention": {"epochs": 0}},
            "attention.epochs: Input should be greater than or equal to 1, got 0",
        ),
        (
            {"linear": {"batch_size": -1}},
            "linear.batch_size: Input should be greater than or equal to 1, got -1",
        ),
        ({"linear": {"epoch": 3}}, "unknown option of linear epoch; allowed are epochs"),
        ({"kinds": []}, "kinds are words of letters, digits and _, at least one; got"),
        ({1: 2}, "unknown option 1; allowed are kinds"),
    ],
)
def test_a_value_that_readers_of_stages_cannot_have(given: dict, message: str) -> None:
    asked = {"kinds": ["count"], "question_of": len, "questions_of": len}
    with pytest.raises(ValueError, match=message):
        stage_options(asked | {"train": {"documents": len, "doc_to_visual": len}} | given)
