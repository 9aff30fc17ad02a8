"""Interventions through lmms-eval's own command line, on the zoo and on tiny checkpoints of real classes."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from connector_bench.cli import app
from connector_bench.interventions.intervention import VARIABLE
from tests import tiny_vlms
from tests.harness import Outcome, run_here
from tests.reconstruction.small_task import write_small_task

ZOO = ("--model", "connector_zoo", "--model_args", "connector=mlp,seed=0", "--batch_size", "64")
TASKS = Path(__file__).parents[2] / "tasks"
QUESTIONS = 160
NOTHING = {
    "mask0": "{kind: mask, order: random, share: 0}",
    "rank128": "{kind: rank, rank: 128}",
    "noise0": "{kind: noise, size: 0}",
}
EVERYTHING = {"mask1": "{kind: mask, order: random, share: 1}", "swap": "{kind: swap}"}
SOME = {
    "half": "{kind: mask, order: random, share: .5}",
    "noisy": "{kind: noise, size: 3}",
    "rank4": "{kind: rank, rank: 4}",
    "permuted": "{kind: permute}",
    "inside": "{kind: cells, where: inside, mask: 'connector_bench.tasks.functions:answer_mask'}",
    "outside": "{kind: cells, where: outside, mask: 'connector_bench.tasks.functions:answer_mask'}",
}


def write_tasks(folder: Path, asked: dict[str, str]) -> str:
    """The questions about scenes once for each intervention; names for `--tasks`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in asked.items():
        (folder / f"{name}.yaml").write_text(
            f"include: {TASKS / 'scenes_vqa.yaml'}\ntask: {name}\nmetadata:\n  version: 1\n  intervene: {text}\n"
        )
    return ",".join(asked)


def answers(outcome: Outcome, task: str) -> list[tuple[int, Any]]:
    return [(row["doc_id"], row["filtered_resps"]) for row in outcome.samples(task)]


def done(outcome: Outcome, task: str) -> dict[str, Any]:
    return outcome.content["configs"][task]["intervention"]


def latest_model() -> Any:
    """What lmms-eval has made last; the plugin is registered by its command line, not by an import here."""
    from connector_bench.plugin import intervened_answers

    return intervened_answers._run.model


def hooks_of_the_latest() -> int:
    held = latest_model()._model
    root = held if hasattr(held, "modules") else held.connector
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in root.modules())


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of patch_reconstruction, with its probes."""
    folder = tmp_path_factory.mktemp("earlier")
    small = write_small_task(folder / "tasks")
    run_here(folder / "run", *ZOO, *small, "--limit", str(QUESTIONS))
    return folder / "run"


@pytest.fixture(scope="module")
def zoo(earlier: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The same questions untouched and under every kind of intervention, in one run."""
    folder = tmp_path_factory.mktemp("zoo")
    by_loss = {
        order: f"{{kind: mask, order: {order}, share: .3, from: {earlier}}}"
        for order in ("falling", "rising")
    }
    rebuilt = {"rebuilt": f"{{kind: reconstructed, from: {earlier}}}"}
    names = write_tasks(folder / "tasks", NOTHING | EVERYTHING | SOME | by_loss | rebuilt)
    arguments = ("--include_path", str(folder / "tasks"), "--tasks", f"scenes_vqa,{names}")
    return run_here(folder / "run", *ZOO, *arguments, "--limit", str(QUESTIONS))


@pytest.mark.parametrize("name", NOTHING)
def test_nothing_asked_changes_no_byte_of_the_answers(name: str, zoo: Outcome) -> None:
    assert answers(zoo, name) == answers(zoo, "scenes_vqa")
    assert done(zoo, name)["changed"] == 0
    assert done(zoo, name)["tokens"] == QUESTIONS * 196
    assert "intervention" not in zoo.content["configs"]["scenes_vqa"]


@pytest.mark.parametrize("name", EVERYTHING)
def test_everything_taken_leaves_chance(name: str, zoo: Outcome) -> None:
    """Chance is the majority answer of each kind of question, known from the answers themselves."""
    rows = zoo.samples("scenes_vqa")
    kinds = {row["doc_id"]: next(key for key in row if key.startswith("accuracy_")) for row in rows}
    targets = {
        kind: Counter(row["target"] for row in rows if kinds[row["doc_id"]] == kind)
        for kind in set(kinds.values())
    }
    chance = sum(counter.most_common(1)[0][1] for counter in targets.values()) / QUESTIONS
    error = (chance * (1 - chance) / QUESTIONS) ** 0.5
    assert zoo.figures(name)["accuracy"] <= chance + 2 * error
    assert zoo.figures("scenes_vqa")["accuracy"] > chance + 8 * error
    assert done(zoo, name)["changed"] > 0.999


def test_what_is_done_is_what_was_asked_for(zoo: Outcome) -> None:
    half = done(zoo, "half")
    assert half["changed"] == 0.5
    assert half["said"] == "0.5 of the tokens masked at random"
    assert (half["pictures"], half["documents"], half["statistics_of_pictures"]) == (40, 160, 40)
    shares = {
        name: done(zoo, name)["changed"] for name in ("falling", "rising", "inside", "outside", "rebuilt")
    }
    assert shares["falling"] == shares["rising"] == pytest.approx(59 / 196)
    assert shares["inside"] + shares["outside"] == pytest.approx(1)
    assert shares["rebuilt"] == 0, "the connector's input is changed, and what leaves it is its own"
    assert done(zoo, "falling")["loss_of"] in {"ridge", "mlp"}
    assert done(zoo, "falling")["from"] == "run"
    accuracy = {name: zoo.figures(name)["accuracy"] for name in (*SOME, "rebuilt", "scenes_vqa")}
    assert accuracy["noisy"] < accuracy["scenes_vqa"] - 0.1
    assert accuracy["rank4"] < accuracy["scenes_vqa"] - 0.1
    assert accuracy["permuted"] < accuracy["scenes_vqa"] - 0.1, "objects at a place are asked for"
    assert accuracy["rebuilt"] > accuracy["permuted"]
    by_loss = [answers(zoo, name) for name in ("falling", "rising")]
    assert by_loss[0] != by_loss[1]
    assert hooks_of_the_latest() == 0


def test_batches_change_nothing_and_an_environment_asks_for_the_same(
    zoo: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, json.dumps({"kind": "noise", "size": 1, "seed": 3}))
    found = [
        run_here(
            tmp_path / size, *ZOO[:-1], size, "--tasks", "scenes_vqa,knn_preservation_scenes", "--limit", "24"
        )
        for size in ("1", "7")
    ]
    assert answers(found[0], "scenes_vqa") == answers(found[1], "scenes_vqa")
    assert done(found[0], "scenes_vqa") == done(found[1], "scenes_vqa")
    assert "intervention" not in found[0].content["configs"]["knn_preservation_scenes"]
    assert found[0].record("knn_preservation_scenes")["connector"]["model"] == "connector_zoo/mlp-seed0"


def refused(tmp_path: Path, *arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        run_here(tmp_path / "refused", *arguments)
    assert ended.value.code == 1
    assert not list((tmp_path / "refused").rglob("*_results.json"))


@pytest.mark.parametrize(
    ("asked", "tasks", "said"),
    [
        ("{kind: mask, order: loss, share: .5}", "scenes_vqa", "needs `from`"),
        (
            "{kind: mask, order: loss, share: .5, from: nowhere}",
            "scenes_vqa",
            "nowhere: no such file or folder",
        ),
        ("{kind: swap}", "knn_preservation_scenes", "no task of this run generates any"),
        ("{kind: cells, where: inside, mask: 'nowhere:at_all'}", "scenes_vqa", "cannot import answer mask"),
        ("{kind: cells, where: inside, mask: 'builtins:len'}", "scenes_vqa", "document 0 of scenes_vqa: "),
    ],
)
def test_what_is_missing_ends_the_run_in_a_sentence(
    asked: str,
    tasks: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(VARIABLE, asked)
    refused(tmp_path, *ZOO, "--tasks", tasks, "--limit", "8")
    assert said in " ".join("".join(capfd.readouterr()).split())
    if latest_model() is not None:
        assert hooks_of_the_latest() == 0


def test_another_connectors_losses_are_refused(
    earlier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, f"{{kind: mask, order: rising, share: .5, from: {earlier}}}")
    other = [word.replace("mlp", "rank8") for word in ZOO]
    refused(tmp_path, *other, "--tasks", "scenes_vqa", "--limit", "8")
    said = "".join(capfd.readouterr())
    assert "whose connector has other weights than that of connector_zoo/rank8-seed0" in said


def test_no_board_takes_the_answers_and_every_reader_says_so(zoo: Outcome, tmp_path: Path) -> None:
    def ours(*words: str) -> str:
        ended = CliRunner().invoke(app, list(words))
        return " ".join((ended.output + str(ended.exit_code)).split())

    (result,) = zoo.folder.rglob("*_results.json")
    content = json.loads(result.read_text())
    content["config"]["limit"] = None
    result.write_text(json.dumps(content))
    said = ours("leaderboard", "add", str(zoo.folder), "--board", str(tmp_path / "board"))
    assert (
        "tokens were changed while the model answered falling (0.3 of the tokens masked by falling loss)"
        in said
    )
    assert said.endswith("no board takes them 1")
    page = tmp_path / "report.html"
    ours("report", str(zoo.folder), "-o", str(page))
    assert "Answers that are not the model" in page.read_text()
    other = shutil.copytree(zoo.folder, tmp_path / "other")
    text = ours("compare", str(zoo.folder), str(other), "--task", "half", "--output", str(tmp_path / "both"))
    assert "so the answers are not the model's own" in text


@pytest.mark.slow
def test_a_curve_from_results_to_its_picture(earlier: Path, tmp_path: Path) -> None:
    words = ["intervene", str(earlier), "--limit", "80", "--output", str(tmp_path)]
    words += ["--intervention", "{kind: mask, order: [falling, random], share: [0, 1]}"]
    first = CliRunner().invoke(app, words)
    assert first.exit_code == 0, first.output
    assert first.output.count(": done in ") == 2, "the untouched run, and one for all points of a text"
    again = CliRunner().invoke(app, words)
    assert again.output.count(": there already") == 2
    numbers = json.loads((tmp_path / "interventions.json").read_text())
    nothing = [row for row in numbers["against_untouched"] if row["share"] == 0]
    everything = [row for row in numbers["against_untouched"] if row["share"] == 1]
    assert [row["difference"] for row in nothing] == [0, 0]
    assert all(row["low"] <= row["difference"] <= row["high"] < -0.3 for row in everything)
    assert [row["difference"] for row in numbers["against_random"]] == [0, 0]
    text = (tmp_path / "interventions.md").read_text()
    assert "masking the most lossy tokens is not told apart from masking random ones at 0, 1" in text
    assert (tmp_path / "accuracy.png").read_bytes().startswith(b"\x89PNG")


OWN = """
from connector_bench.tasks.functions import picture


def two(doc):
    first = picture(doc)[0]
    return [first, first.rotate(90).resize((180, 120))]
"""


@pytest.mark.parametrize(
    ("wrapper", "checkpoint", "arguments", "batch"),
    [
        ("llava_hf", "llava", "device=cpu,device_map=cpu", "1"),
        ("qwen2_5_vl", "qwen2_5_vl", "device=cpu,device_map=cpu,min_pixels=3136,max_pixels=12544", "2"),
        ("idefics2", "idefics2", "device=cpu,device_map=cpu", "2"),
    ],
)
def test_real_classes(
    wrapper: str,
    checkpoint: str,
    arguments: str,
    batch: str,
    tmp_path: Path,
    tiny_checkpoint: Callable[[str], Path],
) -> None:
    """Nothing asked changes no byte, also where a document shows two pictures of unequal size; all taken does."""
    asked = {"mask0": NOTHING["mask0"], "rank999": "{kind: rank, rank: 999}", "noise0": NOTHING["noise0"]}
    asked |= {"mask1": EVERYTHING["mask1"], "permuted": SOME["permuted"], "swap": EVERYTHING["swap"]}
    folder = tmp_path / "tasks"
    names = write_tasks(folder, asked)
    (folder / "own.py").write_text(OWN)
    both = "doc_to_visual: !function own.two\n"
    (folder / "two.yaml").write_text(f"include: {TASKS / 'scenes_vqa.yaml'}\ntask: two\n{both}")
    (folder / "two_shuffled.yaml").write_text(
        (folder / "permuted.yaml").read_text().replace("permuted", "two_shuffled") + both
    )
    (folder / "two_nothing.yaml").write_text(
        (folder / "noise0.yaml").read_text().replace("noise0", "two_nothing") + both
    )
    given = f"pretrained={tiny_checkpoint(checkpoint)},{arguments}"
    words = ("--model", wrapper, "--model_args", given, "--include_path", str(folder), "--limit", "5")
    untouched = run_here(tmp_path / "untouched", *words, "--tasks", "scenes_vqa,two", "--batch_size", "1")
    names += ",two_shuffled,two_nothing"
    found = run_here(tmp_path / "changed", *words, "--tasks", names, "--batch_size", batch)
    for name in ("mask0", "rank999", "noise0"):
        assert answers(found, name) == answers(untouched, "scenes_vqa"), name
        assert done(found, name)["changed"] == 0
    assert answers(found, "two_nothing") == answers(untouched, "two")
    for name in ("mask1", "permuted", "swap"):
        assert answers(found, name) != answers(untouched, "scenes_vqa"), name
    assert done(found, "mask1")["changed"] == 1
    assert done(found, "two_shuffled")["tokens"] > done(found, "permuted")["tokens"]
    assert answers(found, "two_shuffled") != answers(untouched, "two")


@pytest.fixture(scope="module")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return lambda name: tiny_vlms.save(name, folder)
