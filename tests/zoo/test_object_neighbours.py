"""What neighbours of single objects share, through the command line and worked out again in numpy."""

from pathlib import Path

import numpy as np
import pytest

from connector_bench import zoo
from connector_bench.zoo import objects
from connector_bench.zoo.encoded import encoded
from tests.harness import Outcome, run_here

TASK = "knn_preservation"
COLUMNS = {"object": "", "category": "_by_category", "background": "_by_background"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    model = ("--model", "connector_zoo", "--model_args", "connector=rank8,seed=0")
    return run_here(tmp_path_factory.mktemp("objects"), *model, "--tasks", TASK, "--batch_size", "64")


@pytest.fixture(scope="module")
def nearest() -> dict[str, np.ndarray]:
    """Every image's ten nearest before and after the connector, by all distances between mean tokens."""
    model = zoo.load("rank8")
    pre = np.empty((1024, 112))
    post = np.empty((1024, 128))
    images = objects.load("objects_test")["image"]
    for start in range(0, 1024, 64):
        tokens = encoded(model, images[start : start + 64])
        pre[start : start + 64] = tokens.double().mean(1).numpy()
        post[start : start + 64] = model.connect(tokens).double().mean(1).numpy()
    found = {}
    for side, vectors in (("pre", pre), ("post", post)):
        away = np.stack([np.square(vectors - one).sum(axis=1) for one in vectors])
        np.fill_diagonal(away, np.inf)
        found[side] = away.argsort(axis=1)[:, :10]
    return found


def test_before_the_connector_neighbours_are_views_of_one_object(
    run: Outcome, nearest: dict[str, np.ndarray]
) -> None:
    labels = np.array(objects.load("objects_test")["object"])
    same = labels[nearest["pre"]] == labels[:, None]
    assert 0.60 < same[:, 0].mean() < 0.66
    assert 0.27 < same[:, :7].mean() < 0.33
    scores = run.record(TASK)["scores"]
    assert scores["recall_pre_1"]["value"] == pytest.approx(same[:, 0].mean(), abs=0.002)
    assert scores["purity_pre"]["low"] > 0.2
    assert scores["purity_pre"]["chance"] == pytest.approx(7 / 1023)
    assert run.record(TASK)["labels"] == {
        "object": {"classes": 128, "most": 0.7},
        "category": {"classes": 16, "most": 1.0},
        "background": {"classes": 2, "most": 1.0},
    }


@pytest.mark.parametrize("side", ["pre", "post"])
@pytest.mark.parametrize("column", COLUMNS)
def test_purity_in_numpy(column: str, side: str, run: Outcome, nearest: dict[str, np.ndarray]) -> None:
    labels = np.array(objects.load("objects_test")[column])
    shared = (labels[nearest[side]] == labels[:, None]).mean()
    name = f"purity_{side}{COLUMNS[column]}"
    assert run.record(TASK)["scores"][name]["value"] == pytest.approx(shared, abs=0.001)
    assert run.figures(TASK)[name] == pytest.approx(shared, abs=0.001)


def test_overlap_in_numpy(run: Outcome, nearest: dict[str, np.ndarray]) -> None:
    kept = [len(set(a) & set(b)) / 10 for a, b in zip(nearest["pre"], nearest["post"], strict=True)]
    assert run.record(TASK)["scores"]["knor_10"]["value"] == pytest.approx(np.mean(kept), abs=0.001)


def test_a_picture_carries_what_it_shares(run: Outcome) -> None:
    rows = run.samples(TASK)
    assert {row["target"] for row in rows} == {f"objects_test-{i:06d}" for i in range(1024)}
    assert all({f"purity_pre{suffix}" for suffix in COLUMNS.values()} <= row.keys() for row in rows)


def test_the_report_says_it(run: Outcome, tmp_path: Path) -> None:
    from connector_bench.report.assemble import assemble
    from connector_bench.report.blocks import Findings
    from connector_bench.report.measured_runs import read_model

    blocks = assemble(read_model([run.folder])).blocks
    listed = [one for block in blocks if isinstance(block, Findings) for one in block.listed]
    (said,) = [one for one in listed if one.about == "What neighbours share"]
    assert "have its object before the connector" in said.text
    assert "at most 0.700" in said.text, said.text
    assert "have its background before" in said.text
