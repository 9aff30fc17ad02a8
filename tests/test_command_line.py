"""The main job through lmms-eval's own command line, on the embedded models."""

import sys
from pathlib import Path

import pytest

from tests.harness import Outcome, run_command, run_here, script

ZOO = ("--model", "connector_zoo", "--model_args")
TASK = "knn_preservation_scenes"
PRESERVATION = ("--tasks", TASK)
BOTH = ("--tasks", f"{TASK},scenes_vqa")
KS = (1, 10, 50, 100)


@pytest.fixture(scope="module")
def mlp(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run_here(tmp_path_factory.mktemp("mlp"), *ZOO, "connector=mlp", *BOTH, "--batch_size", "64")


@pytest.fixture(scope="module")
def rank2(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run_here(tmp_path_factory.mktemp("rank2"), *ZOO, "connector=rank2", *BOTH, "--batch_size", "64")


@pytest.mark.parametrize("connector", ["identity", "rotation"])
def test_what_loses_nothing_keeps_all_neighbours(connector: str, tmp_path: Path) -> None:
    figures = run_here(tmp_path, *ZOO, f"connector={connector}", *PRESERVATION).figures(TASK)
    for k in KS:
        assert figures[f"knor_{k}"] == pytest.approx(1, abs=5e-4)
        assert figures[f"knor_adj_{k}"] == pytest.approx(1, abs=5e-4)
    assert figures["n_images"] == 1000


def test_a_bottleneck_loses_neighbours_and_answers(mlp: Outcome, rank2: Outcome) -> None:
    for k in KS:
        kept, lost = (run.record(TASK)["scores"][f"knor_{k}"] for run in (mlp, rank2))
        assert lost["high"] < kept["low"]
    good, bad = (run.figures("scenes_vqa") for run in (mlp, rank2))
    assert good["accuracy_object"] > 0.8
    assert bad["accuracy"] < good["accuracy"] - 0.4


def test_every_image_has_figures_and_lmms_eval_takes_their_mean(mlp: Outcome) -> None:
    samples = mlp.samples(TASK)
    assert len({sample["image"] for sample in samples}) == len(samples) == 1000
    figures = mlp.figures(TASK)
    for k in KS:
        values = [sample[f"knor_{k}"] for sample in samples]
        assert figures[f"knor_{k}"] == pytest.approx(sum(values) / 1000)
        assert 0 < figures[f"knor_{k}_stderr"] < 0.02


def test_the_scenes_neighbours_share_a_background_and_little_else(mlp: Outcome) -> None:
    scores = mlp.record(TASK)["scores"]
    wallpaper, content = scores["purity_pre_by_background"], scores["purity_pre"]
    assert wallpaper["value"] == pytest.approx(0.95, abs=0.01)
    assert wallpaper["chance"] == pytest.approx(0.20, abs=0.005)
    assert content["value"] - content["chance"] < 0.02


def test_the_record_says_what_was_measured(mlp: Outcome) -> None:
    record = mlp.record(TASK)
    assert record["n_images"] == record["n_documents"] == 1000
    assert record["connector"]["model"] == "connector_zoo/mlp-seed0"
    assert record["versions"]["lmms-eval"].startswith("0.7.")
    assert record["scores"]["knor_10"]["chance"] == pytest.approx(10 / 999)
    assert record["options"]["distance"] == "l2"
    assert record["connector"]["resolution"] == "224x224"
    assert record["tokens_per_image"] == {"pre": [196, 196], "post": [196, 196]}


def test_images_join_the_questions_asked_about_them(mlp: Outcome) -> None:
    measured = {sample["target"] for sample in mlp.samples(TASK)}
    assert {sample["image_id"] for sample in mlp.samples("scenes_vqa")} == measured


@pytest.mark.parametrize(
    "command",
    [[script("lmms-eval")], [script("lmms-eval"), "eval"], [sys.executable, "-m", "lmms_eval"]],
    ids=["lmms-eval", "lmms-eval eval", "python -m lmms_eval"],
)
def test_no_flag_is_needed_from_any_folder(command: list[str], tmp_path: Path) -> None:
    outcome, said = run_command(tmp_path, command, *ZOO, "connector=mlp", *PRESERVATION, "--limit", "30")
    assert outcome.figures(TASK)["n_images"] == 30, said
    assert "|knor_10 " in said
    assert "|untrained_knor_10" in said
    assert "|identity_knor_10" not in said
    assert outcome.figures(TASK)["identity_knor_10"] == 1, "what is not printed is in the file"
    assert "CONNECTOR_BENCH_ROWS=all prints every one" in said
    assert f"{TASK}: measured in " in said


def test_a_variable_prints_every_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONNECTOR_BENCH_ROWS", "all")
    run_here(tmp_path / "out", *ZOO, "connector=mlp", *PRESERVATION, "--limit", "30")
    printed = capsys.readouterr().out
    assert "|identity_knor_10" in printed
    assert "CONNECTOR_BENCH_ROWS" not in printed


def test_beside_tasks_of_the_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text(
        "task: mine\nclass: !function connector_bench.tasks.functions.KnnPreservation\nimages_of: scenes_vqa\n"
        "connector_bench:\n  ks: [5]\n  distance: cosine\n  rows: all\n"
    )
    arguments = ("--include_path", str(tmp_path), "--tasks", f"mine,{TASK}", "--limit", "80")
    outcome = run_here(tmp_path / "out", *ZOO, "connector=mlp", *arguments)
    assert outcome.record("mine")["options"]["distance"] == "cosine"
    printed = [line.replace(" ", "").split("|") for line in capsys.readouterr().out.splitlines()]
    row = next(cells for cells in printed if TASK in cells and "knor_10" in cells)
    score = outcome.record(TASK)["scores"]["knor_10"]
    assert float(row[8]) == pytest.approx((score["high"] - score["low"]) / (2 * 1.96), abs=6e-5)
    assert any("mine" in cells and "identity_knor_5" in cells for cells in printed), "rows: all"
    assert not any(TASK in cells and "identity_knor_10" in cells for cells in printed)
    assert outcome.figures("mine")["n_images"] == 20, (
        "80 questions are asked about 20 scenes, and each counts once"
    )
    assert outcome.record("mine")["n_documents"] == 80
    assert outcome.figures(TASK)["n_images"] == 80


def test_a_gallery_of_fixed_size_out_of_a_larger_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "drawn.yaml").write_text(
        "task: drawn\nclass: !function connector_bench.tasks.functions.KnnPreservation\nimages_of: scenes_vqa\n"
        "connector_bench:\n  ks: [5]\n  gallery: 12\n"
    )
    arguments = ("--include_path", str(tmp_path), "--tasks", "drawn", "--limit", "80")
    outcome = run_here(tmp_path / "out", *ZOO, "connector=mlp", *arguments)
    assert outcome.figures("drawn")["n_images"] == 12
    assert "|identity_knor_5" in capsys.readouterr().out, "without k = 10 no row stands for the others"
    record = outcome.record("drawn")
    assert (record["n_images"], record["gallery_drawn_from"], record["options"]["gallery"]) == (12, 20, 12)
    rows = outcome.samples("drawn")
    assert sum("knor_5" in row for row in rows) == 12
    assert sum(row.get("left_out") == "not drawn into the gallery of 12 images" for row in rows) == 8


@pytest.mark.parametrize("images", [41, 40])
def test_two_processes_give_every_image_the_same_overlap(images: int, tmp_path: Path) -> None:
    arguments = (*ZOO, "connector=rank8", *PRESERVATION, "--limit", str(images))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    command = [*torchrun, "-m", "lmms_eval"]
    two, said = run_command(
        tmp_path / "two", command, *arguments, ACCELERATE_USE_CPU="true", OMP_NUM_THREADS="1"
    )
    one = run_here(tmp_path / "one", *arguments)
    overlaps = [
        {sample["image"]: [sample[f"knor_{k}"] for k in (1, 10)] for sample in run.samples(TASK)}
        for run in (one, two)
    ]
    assert len(overlaps[0]) == images
    assert overlaps[0] == overlaps[1], said


@pytest.mark.parametrize(
    "flags",
    [
        ["--repeats", "2"],
        ["--predict_only"],
        ["--offset", "10"],
        ["--force_simple"],
        ["--use_cache", "cache"],
    ],
    ids=lambda flags: flags[0],
)
def test_flags_that_people_use(flags: list[str], tmp_path: Path) -> None:
    flags = [str(tmp_path / flag) if flag == "cache" else flag for flag in flags]
    outcome = run_here(tmp_path / "out", *ZOO, "connector=mlp", *PRESERVATION, "--limit", "25", *flags)
    samples = outcome.samples(TASK)
    assert len(samples) == 25
    assert all(0 <= sample["knor_10"] <= 1 for sample in samples)


def test_a_response_cache_never_answers_for_us(tmp_path: Path) -> None:
    arguments = (*PRESERVATION, "--use_cache", str(tmp_path / "cache"), "--limit")
    small, large = (
        run_here(tmp_path / limit, *ZOO, "connector=rank2", *arguments, limit).figures(TASK)
        for limit in ("30", "60")
    )
    assert (small["n_images"], large["n_images"]) == (30, 60)
