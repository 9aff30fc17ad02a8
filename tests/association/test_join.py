"""Which document belongs to which: joined by identity, refused where the two sides differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from connector_bench.association.analysis import joined_tables
from connector_bench.association.values import JoinedTable, Skipped
from connector_bench.results.harness_files import read_results
from tests.association.written import connector_row, scenes, scored_row, write_run

IMAGES, QUESTIONS = 12, 3


def tables_of(folder: Path) -> tuple[tuple[JoinedTable, ...], tuple[Skipped, ...]]:
    return joined_tables(read_results([folder]))


def refusal(folder: Path) -> str:
    tables, skipped = tables_of(folder)
    assert not tables
    (found,) = [entry for entry in skipped if entry.refused]
    assert "patch_reconstruction" in found.what
    assert "vqa" in found.what
    return found.why


@pytest.fixture
def rows() -> tuple[list[dict], list[dict]]:
    return scenes(np.random.default_rng(0), IMAGES, QUESTIONS, effect=1.0)


def test_questions_get_their_own_loss_and_their_images_loss(tmp_path: Path, rows) -> None:
    ours, theirs = rows
    rng = np.random.default_rng(1)
    shuffled = [ours[i] for i in rng.permutation(len(ours))]  # ranks and threads write rows in any order
    write_run(tmp_path, connector={"patch_reconstruction": shuffled}, scored={"vqa": theirs[::-1]})
    (table,), _ = tables_of(tmp_path)
    assert table.identity == "document number and target and input"
    assert table.documents == tuple(range(IMAGES * QUESTIONS))
    assert table.images == tuple(f"{doc_id // QUESTIONS:064x}" for doc_id in table.documents)
    for doc_id in table.documents:
        assert table.scores["accuracy"][doc_id] == theirs[doc_id]["accuracy"]
        assert table.losses["loss_inside"][doc_id] == ours[doc_id]["loss_inside"]
        assert table.losses["1 - cosine_outside"][doc_id] == 1 - ours[doc_id]["cosine_outside"]
        carrier = ours[doc_id - doc_id % QUESTIONS]
        assert table.losses["lost"][doc_id] == carrier["lost"]
        assert table.baselines["entropy"][doc_id] == carrier["entropy"]
    assert len(set(table.losses["loss_inside"])) == IMAGES * QUESTIONS, "each question has its own mask"
    assert set(table.losses) == {
        *("lost", "loss_inside", "loss_outside", "norm_inside", "norm_outside"),
        *("1 - cosine_inside", "1 - cosine_outside"),
    }


def test_a_question_without_a_mask_has_no_loss_inside_one(tmp_path: Path, rows) -> None:
    ours, theirs = rows
    ours[4] = connector_row(
        4, ours[4]["target"], {"image": f"{1:064x}", "same_image_as": 3}, ours[4]["input"]
    )
    write_run(tmp_path, connector={"patch_reconstruction": ours}, scored={"vqa": theirs})
    (table,), _ = tables_of(tmp_path)
    assert np.isnan(table.losses["loss_inside"][4])
    assert np.isnan(table.baselines["mask_area"][4])
    assert table.losses["lost"][4] == ours[3]["lost"]


def test_two_runs_of_one_model_are_joined_and_the_later_one_counts(tmp_path: Path, rows) -> None:
    ours, theirs = rows
    wrong = [{**row, "accuracy": 0.0} for row in theirs]
    write_run(tmp_path / "old", scored={"vqa": wrong}, stamp="20260101_000000")
    write_run(tmp_path / "new", scored={"vqa": theirs}, stamp="20260103_000000")
    write_run(tmp_path / "loss", connector={"patch_reconstruction": ours}, stamp="20260102_000000")
    (table,), skipped = tables_of(tmp_path)
    assert not skipped
    assert table.scores["accuracy"] == pytest.approx([row["accuracy"] for row in theirs])


def test_another_model_is_not_joined(tmp_path: Path, rows) -> None:
    ours, theirs = rows
    write_run(tmp_path / "a", connector={"patch_reconstruction": ours})
    write_run(tmp_path / "b", scored={"vqa": theirs}, model="org/another", stamp="20260102_000000")
    tables, (skipped,) = tables_of(tmp_path)
    assert not tables
    assert "no other task of this model read its data set (json scenes.json test)" in skipped.why


def test_a_reordered_data_set_is_refused(tmp_path: Path, rows) -> None:
    ours, theirs = rows
    moved = [{**theirs[(i + 1) % len(theirs)], "doc_id": i} for i in range(len(theirs))]
    write_run(tmp_path, connector={"patch_reconstruction": ours}, scored={"vqa": moved})
    why = refusal(tmp_path)
    assert "document 0 has target 'answer 0' in patch_reconstruction" in why
    assert "and 'answer 1' in vqa" in why


def test_two_documents_that_changed_places_are_refused_though_their_targets_agree(
    tmp_path: Path, rows
) -> None:
    ours, theirs = rows
    assert theirs[3]["target"] == theirs[10]["target"]
    theirs[3], theirs[10] = ({**theirs[10], "doc_id": 3}, {**theirs[3], "doc_id": 10})
    write_run(tmp_path, connector={"patch_reconstruction": ours}, scored={"vqa": theirs})
    assert "document 3 has input 'what is it? (3)' in patch_reconstruction" in refusal(tmp_path)


@pytest.mark.parametrize("side", ["connector", "scored"])
def test_a_shortened_data_set_is_refused(tmp_path: Path, rows, side: str) -> None:
    ours, theirs = rows
    (ours if side == "connector" else theirs).pop(20)
    write_run(tmp_path, connector={"patch_reconstruction": ours}, scored={"vqa": theirs})
    assert "the first without a partner is document 20 of " in refusal(tmp_path)


def test_a_changed_answer_is_refused(tmp_path: Path, rows) -> None:
    ours, theirs = rows
    theirs[7]["target"] = "something else"
    write_run(tmp_path, connector={"patch_reconstruction": ours}, scored={"vqa": theirs})
    assert "document 7 has target" in refusal(tmp_path)


def test_another_connector_of_the_same_name_is_refused(tmp_path: Path, rows) -> None:
    ours, theirs = rows
    write_run(tmp_path / "a", connector={"patch_reconstruction": ours}, stamp="20260102_000000")
    other = {
        "connector": {"knn": [connector_row(0, "x", {"image": "0", "knor_10": 0.5})]},
        "scored": {"vqa": theirs},
    }
    write_run(tmp_path / "b", **other, weights="c" * 64)
    _, skipped = tables_of(tmp_path)
    whys = [entry.why for entry in skipped if "patch_reconstruction beside vqa" in entry.what]
    assert "different connector weights: aaaaaaaaaaaa and cccccccccccc" in whys[0]


def by_picture(images: int = IMAGES) -> list[dict]:
    return [
        connector_row(i, f"scene-{i}", {"image": f"{i:064x}", "knor_10": i / images, "knor_adj_10": 0.5})
        for i in range(images)
    ]


def asked(images: int = IMAGES) -> list[dict]:
    return [
        scored_row(2 * i + q, f"answer {q}", f"question {q}", accuracy=float(q), image_id=f"scene-{i}")
        for i in range(images)
        for q in range(2)
    ]


def test_pictures_and_questions_are_joined_by_a_shared_key(tmp_path: Path) -> None:
    write_run(tmp_path, connector={"knn_preservation": by_picture()[::-1]}, scored={"vqa": asked()})
    (table,), _ = tables_of(tmp_path)
    assert table.identity == "image_id of vqa equals target of knn_preservation"
    assert set(table.losses) == {"1 - knor_10"}
    expected = [1 - doc_id // 2 / IMAGES for doc_id in range(2 * IMAGES)]
    assert table.losses["1 - knor_10"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        (
            by_picture(11),
            asked(12),
            "document 22 of vqa .* has image_id 'scene-11', which is the target of no",
        ),
        (
            by_picture(12),
            asked(11),
            "document 11 of knn_preservation .* has target 'scene-11', which is the image_id",
        ),
    ],
)
def test_a_key_that_one_side_lacks_is_refused(tmp_path: Path, ours, theirs, message: str) -> None:
    write_run(tmp_path, connector={"knn_preservation": ours}, scored={"vqa": theirs})
    tables, (skipped,) = tables_of(tmp_path)
    assert not tables
    assert skipped.refused
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(skipped.why)


def alike(task_input: str = "Describe it.") -> tuple[list[dict], list[dict]]:
    ours = [
        connector_row(i, "answer", {"image": f"{i:064x}", "lost": i / 20}, task_input) for i in range(IMAGES)
    ]
    return ours, [scored_row(i, "answer", task_input, accuracy=i / 12) for i in range(IMAGES)]


def test_documents_that_all_look_alike_need_one_run(tmp_path: Path) -> None:
    ours, theirs = alike()
    write_run(tmp_path / "one", connector={"patch_reconstruction": ours}, scored={"vqa": theirs})
    (table,), _ = tables_of(tmp_path / "one")
    assert table.identity == "document number, in one run on one data set"
    write_run(tmp_path / "two", connector={"patch_reconstruction": ours})
    write_run(tmp_path / "two", scored={"vqa": theirs}, stamp="20260102_000000")
    assert "the same target and input" in refusal(tmp_path / "two")


def test_a_picture_that_cannot_be_read_leaves_its_document_out(tmp_path: Path, rows) -> None:
    ours, theirs = rows
    ours[5] = connector_row(5, ours[5]["target"], {"unreadable": "OSError: cut short"}, ours[5]["input"])
    write_run(tmp_path, connector={"patch_reconstruction": ours}, scored={"vqa": theirs})
    (table,), _ = tables_of(tmp_path)
    assert 5 not in table.documents
    assert len(table.documents) == IMAGES * QUESTIONS - 1


def test_unusable_sides_are_named(tmp_path: Path, rows) -> None:
    ours, theirs = rows
    path = write_run(tmp_path / "a", connector={"patch_reconstruction": ours}, scored={"vqa": theirs})
    path.with_name(path.name.replace("_results.json", "_samples_vqa.jsonl")).unlink()
    assert "run lmms-eval with --log_samples" in tables_of(tmp_path / "a")[1][0].why
    failed = {"error": "UnsupportedModel: no vision tower"}
    write_run(tmp_path / "b", connector={"patch_reconstruction": ours}, scored={"vqa": theirs}, record=failed)
    assert "no vision tower" in tables_of(tmp_path / "b")[1][0].why
    write_run(tmp_path / "c", connector={"patch_reconstruction": ours}, scored={"vqa": [*theirs, theirs[0]]})
    assert "document 0 stands there twice" in tables_of(tmp_path / "c")[1][0].why
    orphan = [row for row in ours if row["doc_id"] != 3]
    write_run(tmp_path / "d", connector={"patch_reconstruction": orphan}, scored={"vqa": theirs})
    assert (
        "document 4 shows the image of document 3, which is not in the file"
        in tables_of(tmp_path / "d")[1][0].why
    )
    garbled = [{**ours[0], "filtered_resps": "no json"}, *ours[1:]]
    write_run(tmp_path / "e", connector={"patch_reconstruction": garbled}, scored={"vqa": theirs})
    assert "document 0 has no answer of a connector task" in tables_of(tmp_path / "e")[1][0].why


def test_metrics_inside_objects_are_read_and_others_are_named(tmp_path: Path, rows) -> None:
    ours, theirs = rows
    for row in theirs:
        row["pope_accuracy"] = {"question_id": 1, "score": row["accuracy"], "category": "x"}
        row["seed_image"] = {"pred": "A", "answer": "B"}
    write_run(
        tmp_path,
        connector={"patch_reconstruction": ours},
        scored={"vqa": theirs},
        metrics=("accuracy", "pope_accuracy", "seed_image"),
    )
    (table,), (skipped,) = tables_of(tmp_path)
    assert table.scores["pope_accuracy"] == pytest.approx(table.scores["accuracy"])
    assert "seed_image" in skipped.what
    assert "no number a document" in skipped.why
    assert not skipped.refused


def test_labelled_pictures_are_set_beside_their_own_retrieval(tmp_path: Path) -> None:
    rows = [
        connector_row(
            i, f"scene-{i}", {"image": f"{i % 11:064x}", "knor_10": i / 20, "recall_post_5": float(i % 2)}
        )
        for i in range(11)
    ]
    rows.append(connector_row(11, "scene-11", {"image": f"{0:064x}", "same_image_as": 0}))
    write_run(tmp_path, connector={"knn_preservation": rows})
    (table,), _ = tables_of(tmp_path)
    assert (table.score_task, set(table.scores)) == ("knn_preservation", {"recall_post_5"})
    assert table.documents == tuple(range(11)), "a picture that comes twice counts once"


def test_pictures_that_no_other_task_read_are_told_with_the_task_that_reads_theirs(tmp_path: Path) -> None:
    """A run of the objects and of questions about the scenes is no failure: the two have no picture in common."""

    def reads(file: str) -> dict[str, object]:
        return {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": file}}}

    ours = [
        connector_row(i, f"objects_test-{i:06d}", {"image": f"{i:064x}", "knor_10": i / 20})
        for i in range(11)
    ]
    theirs = [scored_row(i, f"answer {i}", "what?", accuracy=float(i % 2)) for i in range(11)]
    objects = reads("objects_test.json")
    write_run(tmp_path / "a", connector={"knn_preservation": ours}, data_set=objects)
    write_run(tmp_path / "b", scored={"scenes_vqa": theirs}, data_set=reads("scenes_test.json"))
    tables, (skipped,) = tables_of(tmp_path)
    assert not tables
    assert not skipped.refused
    assert skipped.why.startswith(
        "no other task of this model read its data set (json objects_test.json test); scenes_vqa read other pictures "
        "(json scenes_test.json test), which knn_preservation_scenes measures"
    )
