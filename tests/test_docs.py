"""Commands and code of README and docs: every one of them is understood, and what needs no download runs as written."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from connector_bench.cli import app
from connector_bench.results.harness_files import read_result, result_files
from tests import tiny_vlms
from tests.harness import run_here, script
from tests.training import loops as training_loops

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "connector_bench" / "zoo" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
PROGRAMS = ("lmms-eval ", "connector-bench ")
LEFT_OUT = {"patch_reconstruction", "vizwiz_vqa_val"}
HEADLINE = "pretrained=llava-hf/llava-1.5-7b-hf"


@dataclass(frozen=True)
class Block:
    page: Path
    language: str
    text: str

    @property
    def commands(self) -> list[list[str]]:
        """Its command lines as a shell would split them, continued ones joined and comments left out."""
        lines = re.sub(r"\\\n\s*", " ", self.text).splitlines()
        return [shlex.split(line, comments=True) for line in lines if line.startswith(PROGRAMS)]


def blocks() -> list[Block]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        found += [Block(page, *match) for match in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)]
    return found


def commands_of(program: str) -> list[list[str]]:
    """Every command line of a program, in blocks and in the running text."""
    found = [words for block in blocks() if not block.language for words in block.commands]
    for page in PAGES:
        prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
        found += [shlex.split(code) for code in re.findall(rf"`({program} [^`]+)`", prose)]
    return [words for words in found if Path(words[0]).name == program]


def our_command(words: list[str]) -> tuple[Any, list[str]]:
    """The (sub)command that a `connector-bench` command line calls, and what it is given."""
    command: Any = typer.main.get_command(app)
    rest = words[1:]
    while rest and rest[0] in getattr(command, "commands", {}):
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


def test_pages_have_what_is_looked_for() -> None:
    assert {block.language for block in blocks()} == {"", "python", "yaml"}
    assert len(commands_of("connector-bench")) > 15
    assert len(commands_of("lmms-eval")) >= 5


@pytest.mark.parametrize("words", commands_of("connector-bench"), ids=" ".join)
def test_our_commands_have_these_options(words: list[str]) -> None:
    command, rest = our_command([word.strip("[]") for word in words if word != "..."])
    known = {name for parameter in command.params for name in parameter.opts}
    assert {word.split("=")[0] for word in rest if word.startswith("-")} <= known
    if hasattr(command, "commands"):
        assert command.invoke_without_command or set("".join(rest[1::2])) == {"|"}, "an unknown subcommand"


@pytest.mark.parametrize("words", commands_of("lmms-eval"), ids=" ".join)
def test_lmms_eval_knows_these_options(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from lmms_eval.__main__ import parse_eval_args

    monkeypatch.setattr(sys, "argv", ["lmms-eval", *words[1:]])
    parse_eval_args()  # which ends the process where it does not know an option


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("typed")


def test_the_headline_as_a_user_types_it(folder: Path) -> None:
    """A tiny checkpoint stands for the large one; left out are the task that needs a download and the one whose probes
    take minutes to train, which has command lines of its own in tests/reconstruction.
    """
    (block,) = [block for block in blocks() if HEADLINE in block.text and block.page.name == "README.md"]
    checkpoint = tiny_vlms.save("llava", folder / "checkpoints")
    typed = next(words for words in block.commands if words[0] == "lmms-eval")
    words = [word.replace(HEADLINE, f"pretrained={checkpoint}") for word in typed[1:]]
    tasks = words.index("--tasks") + 1
    words[tasks] = ",".join(task for task in words[tasks].split(",") if task not in LEFT_OUT)
    assert words[tasks] == "knn_preservation"
    started = subprocess.run(
        [script("lmms-eval"), *words, "--limit", "24"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    said = started.stdout + started.stderr
    assert list(folder.glob("results/**/*_results.json")), said[-3000:]
    report = next(words for words in block.commands if words[0] == "connector-bench")
    finished = subprocess.run(
        [script("connector-bench"), *report[1:]], cwd=folder, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert (folder / "report.html").stat().st_size > 10_000


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_python_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    model, processor = tiny_vlms.make("llava")
    pictures = [Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)) for _ in range(60)]
    before, after = rng.normal(size=(60, 8)), rng.normal(size=(60, 4))
    scope = {"model": model.eval(), "processor": processor, "pictures": pictures}
    scope |= {"before": before, "after": after}
    llava, its_processor = training_loops.llava()
    scope |= {"llava": llava, "its_processor": its_processor}
    scope |= {"dataset": training_loops.conversations(its_processor, 8)}
    for block in blocks():
        if block.language == "python":
            exec(compile(block.text, str(block.page), "exec"), scope)
    for words in (
        words for block in blocks() if block.page.name == "BARE_TOWER.md" for words in block.commands
    ):
        said = CliRunner().invoke(app, words[1:], env={"COLUMNS": "160"})
        assert said.exit_code == 0, said.output
        assert "of other pictures" not in said.output
    assert "wider" in Path("comparison/comparison.md").read_text(encoding="utf-8")
    assert scope["overlap"] is not None
    assert scope["figures"] is not None
    assert len(scope["again"]) == len(pictures)


def test_the_yaml_block_is_what_new_task_writes() -> None:
    from connector_bench.new_task import TEMPLATES

    (block,) = [block for block in blocks() if block.language == "yaml"]
    written = TEMPLATES["knn_preservation"].format(name="knn_preservation_docvqa_val", task="docvqa_val")
    assert block.text == written


def typed_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if typed in this folder: no PYTHONPATH, and weights that are trained stay in a cache below it."""
    from connector_bench.zoo.cache import cache_root
    from connector_bench.zoo.shipped import user_folder

    (folder / "cache").mkdir()
    for known in (path for path in cache_root().glob("*") if path != user_folder()):
        (folder / "cache" / known.name).symlink_to(known)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CONNECTOR_BENCH_CACHE", str(folder / "cache"))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.mark.slow
def test_the_tutorial_as_it_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its commands in their order, from fewer scenes. Left out: the probes, which take minutes and have tests of their
    own, and the place on the board, which a part of the pictures does not get.
    """
    from connector_bench.zoo.train import TrainingConfig, train

    page = ROOT / "docs" / "TUTORIAL.md"
    (code,) = [block for block in blocks() if block.page == page and block.language == "python"]
    commands = [words for block in blocks() if block.page == page for words in block.commands]
    typed_in(tmp_path, monkeypatch)
    Path("mine.py").write_text(code.text)
    for program, *rest in commands:
        if rest[:2] == ["zoo", "train"]:
            train(rest[2], 0, TrainingConfig(epochs=1, scenes=24, batch=8), evaluated=())
        elif program == "lmms-eval" and "knn_preservation_scenes" in rest:
            run_here(tmp_path / "results", *rest, "--limit", "24")
        elif program == "connector-bench" and rest[0] != "leaderboard":
            said = CliRunner().invoke(app, rest)
            assert said.exit_code == 0, said.output
    assert "Wider" in Path("comparison/comparison.md").read_text(encoding="utf-8")
    assert Path("narrow.html").stat().st_size > 10_000


def test_the_zoos_own_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Typed in the folder that holds the package, without PYTHONPATH; from fewer scenes."""
    from connector_bench.zoo.train import TrainingConfig, train

    page = ROOT / "connector_bench" / "zoo" / "README.md"
    (code,) = [block for block in blocks() if block.page == page and block.language == "python"]
    (typed,) = [block for block in blocks() if block.page == page and not block.language]
    learn, measure = typed.commands
    module = tmp_path / "my_package" / "mine.py"
    module.parent.mkdir()
    module.write_text(code.text)
    silent = re.sub(r"^    layout = .*\n", "", code.text, flags=re.M)
    assert silent != code.text
    module.with_name("silent.py").write_text(silent)
    typed_in(tmp_path, monkeypatch)
    budget = TrainingConfig(epochs=1, scenes=24, batch=8)
    for name in (learn[3], "my_package.silent:Narrow"):
        train(name, 0, budget, evaluated=())

    def run(*words: str) -> str:
        program, *rest = words
        ended = subprocess.run([script(program), *rest], capture_output=True, text=True, check=False)
        return ended.stdout + ended.stderr

    wrong = run(*(word.replace("Narrow", "Wide") for word in learn))
    assert "has no attribute 'Wide'" in " ".join(re.sub("[│╭╰─╮╯]", "", wrong).split()), (
        "the module was found"
    )
    few = ("--limit", "12")
    said = run(*measure, *few, "--output_path", "results")
    assert "declares no layout" not in said
    capfd.readouterr()
    typed_there = [word.replace("my_package.mine", "my_package.silent") for word in measure[1:]]
    run_here(tmp_path / "results", *typed_there, *few)
    captured = capfd.readouterr()
    warning = "declares no layout: its 196 tokens are taken to have no place"
    assert (captured.out + captured.err).count(warning) == 1
    records = {
        file.model: file.records["knn_preservation"]
        for file in map(read_result, result_files([tmp_path / "results"]))
    }
    assumed = {name: record["connector"]["assumptions"] for name, record in records.items()}
    assert assumed["connector_zoo/my_package.mine:Narrow-seed0"] == []
    (flag,) = assumed["connector_zoo/my_package.silent:Narrow-seed0"]
    assert flag.startswith("layout undeclared")
    arguments = ["report", "results", "--model", "connector_zoo/my_package.silent:Narrow-seed0"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert "layout undeclared" in Path("report.html").read_text(encoding="utf-8")
