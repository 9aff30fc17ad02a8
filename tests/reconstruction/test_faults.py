"""What a fault costs: few pictures, a control that cannot be made, a disk that refuses, another run in the folder."""

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from loguru import logger
from PIL import Image

from connector_bench.atomic_files import appearing, remove_leftovers, write_atomically
from connector_bench.reconstruction.figures import ReconstructionFigures
from connector_bench.reconstruction.folds import fold_of, validation_share
from connector_bench.reconstruction.learning import ProbeLearner
from connector_bench.reconstruction.measured import MeasuredReconstruction
from connector_bench.reconstruction.state_folder import IN_USE, LOCK
from connector_bench.reconstruction.store import DamagedState, RunStore
from connector_bench.types import TokenBatch, TokenPair
from tests.harness import run_here

from .planted import images, small_config
from .small_task import write_small_task

RUN = {"model": "identity"}


def narrow(pair: TokenPair) -> TokenPair:
    return replace(pair, post=pair.pre[:, :8], untrained=(pair.pre[:, 8:], pair.pre[:, 4:12]))


def measured(
    training: int,
    test: int,
    folder: Path | None = None,
    connector: Callable[[TokenPair], TokenPair] = narrow,
    before_scoring: Callable[[], None] = lambda: None,
    refused: Collection[str] = (),
    picture_of: Callable[[int], Image.Image] = lambda _: Image.new("RGB", (8, 8)),
    wait: float = 0.0,
) -> ReconstructionFigures:
    learner = ProbeLearner(small_config(), folder=folder, fingerprint=RUN, every=8, wait=wait)
    measure = MeasuredReconstruction(
        learner,
        picture_of=picture_of,
        folder=folder,
        fingerprint=RUN,
        every=4,
    )
    learning, tested = dict(images(training)), dict(images(test, start=10_000))
    learner.begin(learning, tested)
    for name, pair in learning.items():
        if learner.wants(name) and name not in refused:
            learner.learn(TokenBatch.of([name], [connector(pair)]))
    learner.refuse(refused)
    learner.fit()
    before_scoring()
    measure.begin({name: [number] for number, name in enumerate(tested)})
    for name, pair in tested.items():
        if measure.wants(name):
            measure.update(TokenBatch.of([name], [connector(pair)]))
    return measure.finish()


def values(figures: ReconstructionFigures) -> dict[str, float]:
    return {name: score["value"] for name, score in figures.summary["scores"].items()}


@pytest.fixture(scope="module")
def expected() -> dict[str, float]:
    figures = measured(20, 6)
    assert not figures.warnings
    return values(figures)


@pytest.mark.parametrize("training", [2, 3])
@pytest.mark.parametrize("test", [1, 2])
def test_two_training_pictures_and_one_test_picture_give_figures(training: int, test: int) -> None:
    figures = measured(training, test)
    assert {"r2_ridge", "lost", "nmse", "cosine", "identity_r2_ridge"} <= values(figures).keys()
    assert not {"r2_mlp", "nonlinear"} & values(figures).keys()
    assert all("lost" in row for row in figures.per_image.values())
    lost = figures.summary["scores"]["lost"]
    assert lost["low"] is lost["high"] is None
    assert lost["method"] == f"no interval: {test} images, 20 are needed"


@pytest.mark.parametrize("training", [0, 1])
def test_fewer_are_one_sentence(training: int) -> None:
    figures = measured(training, 3)
    assert not figures.per_image
    (warning,) = figures.warnings
    assert "no training image is left" in warning or "1 training and 0 validation images" in warning
    assert figures.summary["error"] in warning


def test_folds_are_those_of_the_hash_unless_too_few_would_validate() -> None:
    names = [f"image-{number}" for number in range(60)]
    assert validation_share(names, 0.25) == 0.25
    for count in range(2, 61):
        for share in (1e-9, 0.1, 1 - 1e-9):
            few = validation_share(names[:count], share)
            folds = [fold_of(name, few) for name in names[:count]]
            assert min(5, count // 2) <= folds.count("validation") <= count - 1
            if few > share:
                assert folds.count("validation") == min(5, count // 2), "no more than are needed"


@pytest.mark.parametrize(("least", "helps"), [(1, None), (5, False)])
def test_a_tenth_of_sixty_images_may_be_three_and_five_validate(least: int, helps: bool | None) -> None:
    """Sixteen noisy numbers a patch. Three images would not say whether more help."""
    learning = dict(images(60, start=1000))
    learner = ProbeLearner(small_config(curve=True, validation=0.1))
    learner.begin(learning, ())
    sample = learner._gathered.connector
    if least == 1:
        sample.validation_share = 0.1
    noise = torch.Generator().manual_seed(0)
    matrix = torch.randn(16, 16, generator=torch.Generator().manual_seed(2))
    for name, pair in learning.items():
        post = pair.pre @ matrix + 2 * torch.randn(len(pair.pre), 16, generator=noise)
        sample.learn(TokenBatch.of([name], [replace(pair, post=post)]))
    curve = sample.fit().learning_curve
    assert (curve.validation_images, curve.more_data_helps) == ({1: 3, 5: 5}[least], helps)


@pytest.mark.parametrize(("training", "validating"), [(9, 4), (10, 5)])
@pytest.mark.parametrize("places", [True, False])
def test_fewer_than_five_validation_images_choose_nothing(
    training: int, validating: int, places: bool
) -> None:
    """The penalty, where training stops, the best probe, and whether more images help."""

    def connector(pair: TokenPair) -> TokenPair:
        pair = narrow(pair)
        return pair if places else replace(pair, layout=pair.layout.without_places())

    figures = measured(training, 3, connector=connector)
    record, found = figures.summary, values(figures)
    linear, trained = ("ridge", "mlp") if places else ("pooled", "attention")
    assert record["learning_curve"]["validation_images"] == validating
    said = f"{validating} of {training} training images could choose penalty and best probe and stop training"
    assert any(said in warning for warning in figures.warnings) == (validating < 5)
    if validating < 5:
        assert record["more_data_helps"] is record["best_probe"] is None
        assert record["probes"][linear]["penalties"] is None
        assert not {trained} & record["probes"].keys()
        assert not {f"r2_{trained}", "nonlinear"} & found.keys()
        assert not any(f"r2_{trained}" in row for row in figures.per_image.values())
        assert found["lost"] == pytest.approx(1 - found[f"r2_{linear}"], abs=1e-12)
        assert record["learning_curve"]["r2"] == {}
    else:
        assert record["best_probe"]
        assert record["probes"][linear]["penalties"]
        assert record["probes"][trained]["stopped"]
        assert f"r2_{trained}" in found


def test_a_control_that_cannot_be_made_costs_the_others_nothing(expected: dict[str, float]) -> None:
    def overflowing(pair: TokenPair) -> TokenPair:
        pair = narrow(pair)
        return replace(pair, untrained=(pair.untrained[0], pair.untrained[1] * torch.inf))

    figures = measured(20, 6, connector=overflowing)
    (warning,) = figures.warnings
    assert warning.startswith("1 control left out: untrained.1 (ValueError: tokens hold NaN or infinity")
    found = values(figures)
    changed = {name for name in expected if found[name] != expected[name]}
    assert changed == {"untrained_r2_ridge", "untrained_excess"}, (
        "the mean over the initialisations that are left"
    )


def test_without_untrained_copies_the_rest_is_the_same(expected: dict[str, float]) -> None:
    figures = measured(20, 6, connector=lambda pair: replace(narrow(pair), untrained=()))
    assert not figures.warnings
    assert values(figures) == {name: v for name, v in expected.items() if "untrained" not in name}


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def told_once(figures: ReconstructionFigures, expected: dict[str, float], *words: str) -> None:
    (warning,) = figures.warnings
    assert all(word in warning for word in words), warning
    assert values(figures) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("size", [0, 20_000])
def test_a_full_disk_costs_state_and_no_figure(tmp_path: Path, expected: dict[str, float], size: int) -> None:
    with files_of_at_most(size):
        figures = measured(20, 6, tmp_path / "run")
    assert values(figures) == pytest.approx(expected, abs=1e-9)
    assert figures.warnings
    assert all(str(tmp_path / "run") in warning for warning in figures.warnings)
    assert not list(tmp_path.rglob(".writing-*"))
    assert values(measured(20, 6, tmp_path / "run")) == pytest.approx(expected, abs=1e-9), (
        "and the folder can be used again"
    )


def test_a_folder_that_goes_away_costs_state_and_no_figure(
    tmp_path: Path, expected: dict[str, float]
) -> None:
    figures = measured(20, 6, tmp_path / "run", before_scoring=lambda: shutil.rmtree(tmp_path / "run"))
    assert values(figures) == pytest.approx(expected, abs=1e-9)


def test_a_folder_that_cannot_be_made_costs_state_and_no_figure(
    tmp_path: Path, expected: dict[str, float]
) -> None:
    (tmp_path / "file").write_text("in the way")
    told_once(measured(20, 6, tmp_path / "file" / "run"), expected, "could not be written", "keeps no state")


def test_a_picture_that_is_gone_when_some_are_kept_costs_no_figure(
    tmp_path: Path, expected: dict[str, float]
) -> None:
    def gone(number: int) -> Image.Image:
        raise ValueError(f"document {number} is no picture any more")

    told_once(measured(20, 6, tmp_path / "run", picture_of=gone), expected, "no pictures", "any more")


_no_room_for: list[str] = []
"""Ends of names under which nothing can be put at the moment."""


@contextmanager
def no_room_for(name: str) -> Iterator[None]:
    """As if the disk had no room for one file; a hook that hears of every renaming cannot be taken away again."""

    def refuse(event: str, arguments: tuple[object, ...]) -> None:
        if event == "os.rename" and any(str(arguments[1]).endswith(name) for name in _no_room_for):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    sys.addaudithook(refuse)
    _no_room_for.append(name)
    try:
        yield
    finally:
        _no_room_for.remove(name)


def test_probes_are_not_kept_without_the_list_of_refused_images(tmp_path: Path) -> None:
    refused = {next(iter(dict(images(20))))}
    whole = measured(20, 6, refused=refused)
    with no_room_for("refused.json"):
        told_once(
            measured(20, 6, tmp_path, refused=refused), values(whole), "refused.json", "kB wanted", "not kept"
        )
    again = measured(20, 6, tmp_path, refused=refused)
    assert (again.warnings, values(again)) == ((), values(whole))
    assert values(measured(20, 6, tmp_path, refused=refused)) == values(whole), "and from the kept probes"


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with fitted probes, and with the list of images that they were not fitted on."""
    folder = tmp_path_factory.mktemp("fitted")
    measured(20, 6, folder, refused={next(iter(dict(images(20))))})
    return folder


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("probes.json", lambda text: text[: len(text) // 2]),
        ("probes.json", lambda _: "[" * 200_000 + "]" * 200_000),
        ("probes.json", lambda text: json.dumps(json.loads(text) | {"learning_curve": None})),
        ("probes.json", lambda text: json.dumps(json.loads(text) | {"learning_curve": {"fractions": 3}})),
        ("probes.json", lambda text: json.dumps(json.loads(text) | {"cells": ["x"]})),
        ("refused.json", lambda text: text[: len(text) // 2]),
        ("refused.json", lambda _: "null"),
    ],
)
def test_fitted_probes_that_cannot_be_read_name_file_and_folder(
    name: str, damage: Callable[[str], str], fitted: Path, tmp_path: Path
) -> None:
    shutil.copytree(fitted, tmp_path / "run")
    path = tmp_path / "run" / "probes" / name
    path.write_text(damage(path.read_text()))
    learner = ProbeLearner(small_config(), folder=tmp_path / "run", fingerprint=RUN)
    with pytest.raises(DamagedState) as refused:
        learner.begin(dict(images(20)), {})
    said = str(refused.value)
    assert said.startswith(f"{path} cannot be read (")
    assert said.endswith(f"Remove {path.parent}, and what it holds is gathered anew.")
    assert len(said) < 1000


def test_a_second_run_in_the_folder_measures_without_state(
    tmp_path: Path, expected: dict[str, float]
) -> None:
    said: list[str] = []
    number = logger.add(said.append, format="{message}")
    code = (
        f"import filelock, sys; lock = filelock.FileLock({str(tmp_path / LOCK)!r}); lock.acquire(); "
        "print('held', flush=True); sys.stdin.read()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        figures = measured(20, 6, tmp_path, wait=1.0)
        told_once(figures, expected, str(tmp_path), "in use by another run, still after 1 s: this one")
        assert figures.summary[IN_USE] is True
        other.communicate("")
    assert len([line for line in said if "waiting for it, 1 s at most" in line]) == 1, "once for both"
    logger.remove(number)
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    assert values(measured(20, 6, tmp_path)) == pytest.approx(expected, abs=1e-9)
    assert (tmp_path / "selection.json").exists()


def test_temporary_files_of_the_living_stay_and_those_of_the_dead_go(tmp_path: Path) -> None:
    host = os.uname().nodename
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True
    )
    names = {
        f".writing-{os.getppid()}@{host}-aa-living": True,
        f".writing-{int(gone.stdout)}@{host}-aa-dead": False,
        ".writing-deadbeef-old": False,
        f".writing-{os.getpid()}@{host}-aa-before-a-restart": False,
        f".writing-{os.getppid()}@{host}-aa-before-its-start": False,
        ".writing-1@elsewhere-aa-fresh": True,
        ".writing-1@elsewhere-aa-forgotten": False,
    }
    below = tmp_path / "pictures"
    below.mkdir()
    for name in names:
        (below / name).touch()
    long_ago = time.time() - 2 * 24 * 3600
    os.utime(below / ".writing-1@elsewhere-aa-forgotten", (long_ago, long_ago))
    before = psutil.Process(os.getppid()).create_time() - 3600
    os.utime(below / f".writing-{os.getppid()}@{host}-aa-before-its-start", (before, before))
    with appearing(below / "file") as own:
        remove_leftovers(tmp_path)
        own.write_text("whole")
    assert {name: (below / name).exists() for name in names} == names
    assert (below / "file").read_text() == "whole"


def test_a_file_that_appears_removes_what_the_dead_left_beside_it(tmp_path: Path) -> None:
    host = os.uname().nodename
    names = {
        f".writing-{os.getpid()}@{host}-0123456789abcdef": False,
        f".writing-{os.getppid()}@{host}-0123456789abcdef": True,
        f".writing-{os.getpid()}@{host}-notes": True,
        ".writing-about-connectors": True,
    }
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "comparison.md").touch()
    write_atomically(tmp_path / "comparison.md", b"whole")
    assert {name: (tmp_path / name).exists() for name in names} == names


def test_after_a_refusal_nothing_more_is_kept(tmp_path: Path) -> None:
    store = RunStore(tmp_path, RUN)
    with files_of_at_most(100):
        store.keep("state", {"x": torch.zeros(2**18)}, {})
    assert store.trouble is not None
    assert f"{tmp_path / 'state'}.safetensors could not be written (1.0 MB wanted)" in store.trouble
    store.keep("other", {}, {})
    assert not list(store.names())


@pytest.mark.parametrize("connector", ["mlp", "resampler"])
def test_the_smallest_limits_give_what_can_be_given(tmp_path: Path, connector: str) -> None:
    small = write_small_task(tmp_path / "tasks", images=2)
    arguments = ("--model", "connector_zoo", "--model_args", f"connector={connector}", *small, "--limit", "3")
    outcome = run_here(tmp_path / "out", *arguments)
    assert "error" not in outcome.record("small")
    assert outcome.record("small")["train_images"] == 2
    assert {"lost", "r2_best", "n_images"} <= outcome.figures("small").keys()
