"""Broken, truncated, huge, hostile and contradictory result files: taken or refused with a reason, never half taken."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from connector_bench.cli import app
from connector_bench.leaderboard import board as boards
from connector_bench.results.scrub import secrets_below
from tests.leaderboard.conftest import ANSWERED, MEASURED
from tests.leaderboard.runs import a_run, preservation
from tests.leaderboard.test_hostile_text import HOSTILE
from tests.test_recorded_command import SECRETS

FUZZ = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
HUGE = (10**400, -(10**400), 1e308, 5e-324, 2**63, "x" * 100_000, ["y"] * 10_000, float("nan"), float("inf"))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(HOSTILE),
    st.sampled_from(SECRETS),
    st.sampled_from(HUGE),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@pytest.fixture(scope="module")
def original(measure: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a zoo model on both tasks."""
    return measure(
        tmp_path_factory.mktemp("original"), "connector_zoo", "connector=mlp", f"{MEASURED},{ANSWERED}"
    )


@pytest.fixture
def board(tmp_path: Path) -> Path:
    boards.add(tmp_path / "board", [a_run("here before", knn_preservation=preservation(0.5))])
    return tmp_path / "board"


def files_of(board: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in board.rglob("*") if path.is_file()}


def taken_or_refused(board: Path, *results: Path) -> bool:
    """Add to a copy of the board: either it refuses and changes nothing, or the board is sound afterwards."""
    work = board.with_name("work")
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(board, work)
    before = files_of(work)
    result = CliRunner().invoke(app, ["leaderboard", "add", *map(str, results), "--board", str(work)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (0, 1), result.output
    if result.exit_code == 1:
        assert result.output.startswith("refused: ")
        assert len(result.output) > 20
        assert files_of(work) == before
        return False
    assert boards.stale_files(work) == []
    for path in (work / "results").iterdir():
        assert not list(secrets_below(json.loads(path.read_text())))
    return True


def result_path(folder: Path) -> Path:
    (path,) = folder.rglob("*_results.json")
    return path


def places(value: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    yield where
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*where, key))


def changed(content: dict[str, Any], where: tuple[Any, ...], value: object) -> Any:
    if not where:
        return value
    content = copy.deepcopy(content)
    inside = content
    for key in where[:-1]:
        inside = inside[key]
    inside[where[-1]] = value
    return content


def written(folder: Path, original: Path, content: Any) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original, folder)
    result_path(folder).write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_the_original_is_taken(board: Path, original: Path) -> None:
    assert taken_or_refused(board, original)


@FUZZ
@given(data=st.data())
def test_any_value_in_any_place(data: st.DataObject, board: Path, original: Path, tmp_path: Path) -> None:
    content = json.loads(result_path(original).read_text())
    where = data.draw(st.sampled_from(sorted(places(content), key=str)))
    taken_or_refused(board, written(tmp_path / "run", original, changed(content, where, data.draw(values))))


@FUZZ
@given(data=st.data())
def test_any_value_in_our_record(data: st.DataObject, board: Path, original: Path, tmp_path: Path) -> None:
    content = json.loads(result_path(original).read_text())
    record = ("configs", MEASURED, "metadata", "connector_bench")
    inside = content["configs"][MEASURED]["metadata"]["connector_bench"]
    where = data.draw(st.sampled_from(sorted(places(inside), key=str)))
    value = data.draw(values)
    taken_or_refused(board, written(tmp_path / "run", original, changed(content, (*record, *where), value)))


@FUZZ
@given(data=st.data())
def test_cut_and_damaged_bytes(data: st.DataObject, board: Path, original: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original, folder)
    path = data.draw(st.sampled_from(sorted(path for path in folder.rglob("*") if path.is_file())))
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(content)))
        content[place : place + 1] = data.draw(st.binary(max_size=4))
    path.write_bytes(content)
    taken_or_refused(board, folder)


@FUZZ
@given(content=values)
def test_any_json_at_all(content: Any, board: Path, tmp_path: Path) -> None:
    path = tmp_path / "any_results.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert not taken_or_refused(board, path)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_taken_and_harmless(name: str, board: Path, original: Path, tmp_path: Path) -> None:
    content = json.loads(result_path(original).read_text())
    record = content["configs"][MEASURED]["metadata"]["connector_bench"]
    record["connector"] |= {"model": name, "connector": name, "family": name}
    content["results"][name] = content["results"].pop(ANSWERED)
    content["n-samples"][name] = content["n-samples"].pop(ANSWERED)
    content["date"] = name
    written(tmp_path / "run", original, content)
    assert taken_or_refused(board, tmp_path / "run")
    assert {path.name for path in tmp_path.iterdir()} == {"board", "work", "run"}
    assert all(path.is_file() for path in (tmp_path / "work" / "results").iterdir())


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_refused_or_left_out(secret: str, board: Path, original: Path, tmp_path: Path) -> None:
    content = json.loads(result_path(original).read_text())
    content["config"]["model_args"] = f"connector=mlp,api_key={secret},base_url={secret}"
    written(tmp_path / "run", original, content)
    assert taken_or_refused(board, tmp_path / "run")
    assert not any(secret.encode() in text for text in files_of(board.with_name("work")).values())
    content["configs"][MEASURED]["metadata"]["connector_bench"]["hardware"] = secret
    assert not taken_or_refused(board, written(tmp_path / "run", original, content))


def test_two_files_that_contradict_each_other(board: Path, original: Path, tmp_path: Path) -> None:
    content = json.loads(result_path(original).read_text())
    content["results"][ANSWERED]["accuracy,none"] = 0.123
    other = written(tmp_path / "other", original, content)
    assert not taken_or_refused(board, original, other)


def test_one_bad_file_among_good_ones_keeps_all_out(board: Path, original: Path, tmp_path: Path) -> None:
    (tmp_path / "bad_results.json").write_text("{")
    assert not taken_or_refused(board, original, tmp_path / "bad_results.json")


def test_a_result_with_too_many_figures(board: Path, original: Path, tmp_path: Path) -> None:
    content = json.loads(result_path(original).read_text())
    content["results"][ANSWERED] = {f"metric{i},none": 0.5 for i in range(30_000)}
    assert not taken_or_refused(board, written(tmp_path / "run", original, content))


def test_a_figure_that_is_no_number_stays_empty_and_of_ours_is_refused(
    board: Path, original: Path, tmp_path: Path
) -> None:
    content = json.loads(result_path(original).read_text())
    content["results"][ANSWERED]["other,none"] = float("nan")
    (run,) = boards.read_runs([written(tmp_path / "run", original, content)])
    assert set(run.tasks[ANSWERED].figures) == {"accuracy"}
    content["results"][MEASURED]["knor_10,none"] = float("nan")
    assert not taken_or_refused(board, written(tmp_path / "run", original, content))


def test_deep_json(board: Path, tmp_path: Path) -> None:
    path = tmp_path / "deep_results.json"
    path.write_text("[" * 100_000)
    assert not taken_or_refused(board, path)
    path.write_text('{"config": {}, "results": {"t": ' + '{"a":' * 900 + "1" + "}" * 900 + "}}")
    assert not taken_or_refused(board, path)
