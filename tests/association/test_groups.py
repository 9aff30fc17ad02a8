"""Images that were drawn together, such as views of one object, are one draw in every statistic of a join."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from connector_bench.association.analysis import analyze, joined_tables
from connector_bench.association.export import as_json
from connector_bench.association.pairs import pairs_of
from connector_bench.association.printed import terminal
from connector_bench.association.values import Settings
from connector_bench.report.association_words import size
from connector_bench.results.harness_files import read_results
from connector_bench.stats.cluster_jackknife import ranks_without_each, score_of
from tests.association.written import connector_row, scored_row, write_run

OBJECTS, VIEWS = 22, 8
UNIT = "groups of images that were drawn together"


def views(
    rng: np.random.Generator, objects: int = OBJECTS, alike: float = 0.6, *, said: bool = True
) -> tuple[list[dict], list[dict]]:
    """Rows of knn_preservation over views, and of answers to them, which have nothing to do with it."""
    group = np.repeat(np.arange(objects), VIEWS)

    def drawn() -> np.ndarray:
        of_object = rng.normal(size=objects)[group]
        return np.sqrt(alike) * of_object + np.sqrt(1 - alike) * rng.normal(size=len(group))

    kept, right = 1 / (1 + np.exp(-drawn())), drawn() > 0
    ours = [
        {"image": f"{i:064x}", "knor_10": kept[i], "entropy": rng.uniform(4, 8)}
        | ({"drawn_group": int(group[i])} if said else {})
        for i in range(len(group))
    ]
    return (
        [connector_row(i, f"target {i}", row) for i, row in enumerate(ours)],
        [scored_row(i, f"target {i}", "", accuracy=float(one)) for i, one in enumerate(right)],
    )


def written(folder: Path, rows: tuple[list[dict], list[dict]]) -> Path:
    return write_run(folder, connector={"knn_preservation": rows[0]}, scored={"vqa": rows[1]})


def test_every_figure_of_a_join_is_over_the_groups(tmp_path: Path) -> None:
    written(tmp_path, views(np.random.default_rng(0)))
    analysis = analyze([tmp_path], Settings())
    (table,), (pair,) = analysis.tables, analysis.pairs
    assert (pair.images, pair.draws, pair.unit) == (OBJECTS * VIEWS, OBJECTS, UNIT)
    assert pair.spearman.score.n == OBJECTS
    loss, score = table.losses["1 - knor_10"], table.scores["accuracy"]
    columns, none = np.stack([loss, score]), np.zeros((0, len(loss)), dtype=bool)
    found = ranks_without_each(columns, none, np.arange(len(loss)) // VIEWS)
    by_object = score_of(found.correlations[:, 0, 1], OBJECTS, chance=0.0)
    ends = pair.spearman.score.low, pair.spearman.score.high
    assert ends == pytest.approx((by_object.low, by_object.high))
    content = json.loads(as_json(analysis))
    assert {key: content["joins"][0][key] for key in ("images", "unit", "draws")} == {
        "images": OBJECTS * VIEWS,
        "unit": UNIT,
        "draws": OBJECTS,
    }
    entry = content["pairs"][0]
    assert (entry["unit"], entry["draws"]) == (UNIT, OBJECTS)
    for figure in (entry["spearman"], entry["partial"]["correlation"], entry["prediction"]["auroc"]):
        assert UNIT in json.dumps(figure)
        assert "over images" not in json.dumps(figure)
    console = Console(record=True, width=200)
    console.print(terminal(analysis))
    shown = console.export_text()
    assert f"{OBJECTS} groups" in shown
    assert UNIT in " ".join(shown.split())
    assert size([pair]) == "N = 176 documents about 176 images in 22 groups that were drawn together"


def test_nothing_goes_with_nothing_among_views(tmp_path: Path) -> None:
    """At .05 .28 of such tests reject by image, .065 by object."""
    rng = np.random.default_rng(0)
    rejected = dict.fromkeys((True, False), 0)
    for _ in range(60):
        state = rng.bit_generator.state
        for said in rejected:
            rng.bit_generator.state = state
            path = written(tmp_path, views(rng, said=said))
            (table,), _ = joined_tables(read_results([path]))
            (pair,), _ = pairs_of(table, Settings())
            assert pair.spearman.p is not None
            rejected[said] += pair.spearman.p < 0.05
    assert rejected[False] > 12
    assert rejected[True] <= 7


def test_floors_count_groups(tmp_path: Path) -> None:
    written(tmp_path, views(np.random.default_rng(0), objects=19))
    analysis = analyze([tmp_path], Settings())
    assert not analysis.pairs
    (skipped,) = [one for one in analysis.skipped if "vqa" in one.what]
    assert skipped.why == f"19 {UNIT} have both figures, 20 are needed"


def test_an_image_without_a_group_is_a_draw_of_its_own(tmp_path: Path) -> None:
    ours, theirs = views(np.random.default_rng(0))
    answer = json.loads(ours[-1]["filtered_resps"])
    del answer["drawn_group"]
    ours[-1] = connector_row(len(ours) - 1, ours[-1]["target"], answer)
    (table,), _ = joined_tables(read_results([written(tmp_path, (ours, theirs))]))
    assert len(set(table.clusters)) == OBJECTS + 1
    assert pairs_of(table, Settings())[0][0].spearman.score.n == OBJECTS + 1


@pytest.mark.parametrize("said", [True, False])
def test_the_table_of_images_drawn_alone_is_as_it_was(tmp_path: Path, said: bool) -> None:
    (table,), _ = joined_tables(read_results([written(tmp_path, views(np.random.default_rng(0), said=said))]))
    assert (table.unit == UNIT) is said
    assert (table.clusters == table.images) is not said
