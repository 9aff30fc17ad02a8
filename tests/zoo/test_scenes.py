from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from connector_bench.zoo import scenes
from connector_bench.zoo.composition import PLACES, Scene
from connector_bench.zoo.questions import Question
from connector_bench.zoo.splits import SPLITS, find_split, make_scene
from connector_bench.zoo.sprites import PLURALS, load_sprite, read_catalogue

FEW = 60


@pytest.fixture(scope="module")
def made() -> dict[str, list[tuple[Scene, list[Question]]]]:
    return {name: [make_scene(split, i) for i in range(FEW)] for name, split in SPLITS.items()}


@pytest.fixture
def small_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CONNECTOR_BENCH_CACHE", str(tmp_path))
    monkeypatch.setitem(SPLITS, "test", replace(SPLITS["test"], scenes=6))
    return tmp_path


def test_a_scene_does_not_depend_on_others_or_on_the_size_of_its_split():
    alone, questions = make_scene(replace(SPLITS["test"], scenes=18), 17)
    make_scene(SPLITS["train"], 3)
    again, asked = make_scene(SPLITS["test"], 17)
    assert np.array_equal(alone.image, again.image)
    assert [(q.question, q.answer) for q in questions] == [(q.question, q.answer) for q in asked]


def test_no_image_is_in_two_splits(made):
    digests = [hash(scene.image.tobytes()) for split in made.values() for scene, _ in split]
    assert len(set(digests)) == len(digests) == FEW * len(SPLITS)


def test_unseen_drawings_are_in_no_other_split(made):
    drawings = {
        name: {o.drawing for scene, _ in split for o in scene.objects} for name, split in made.items()
    }
    assert drawings.pop("test_unseen") == {"flat"}
    assert set().union(*drawings.values()) == {"3d"}
    for names in read_catalogue().values():
        for name in names:
            assert load_sprite(name, "3d").tobytes() != load_sprite(name, "flat").tobytes()


def expected(scene: Scene, question: Question) -> tuple[str, np.ndarray]:
    """The answer and its mask worked out again from the list of objects and the words of the question."""
    text = question.question
    if question.kind in ("object", "category"):
        place = text.split(" at the ")[1].rstrip("?")
        items = [o for o in scene.objects if o.place == place]
        answer = items[0].name if question.kind == "object" else items[0].category
    elif question.kind == "existence":
        items = [o for o in scene.objects if text == f"can you see the {o.name}?"]
        answer = "yes" if items else "no"
    else:
        items = [o for o in scene.objects if text == f"how many {PLURALS[o.category]} are there?"]
        answer = str(len(items))
    return answer, np.sum([np.zeros((224, 224), bool), *(o.mask for o in items)], axis=0) > 0


def test_answers_and_masks_follow_from_the_objects(made):
    for split in made.values():
        for scene, questions in split:
            for question in questions:
                answer, mask = expected(scene, question)
                assert question.answer == answer
                assert np.array_equal(question.mask, mask)


def test_boxes_hold_masks_and_objects_lie_at_their_places(made):
    for scene, _ in made["test"]:
        assert len({o.place for o in scene.objects}) == len(scene.objects)
        assert np.sum([o.mask for o in scene.objects], axis=0).max() == 1
        for item in scene.objects:
            rows, columns = np.nonzero(item.mask)
            tight = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert item.box == tight
            row, column = divmod(PLACES.index(item.place), 3)
            centre = ((item.box[0] + item.box[2]) / 2, (item.box[1] + item.box[3]) / 2)
            assert abs(centre[0] - (column + 0.5) * 224 / 3) < 224 / 6
            assert abs(centre[1] - (row + 0.5) * 224 / 3) < 224 / 6


def test_masked_pixels_are_the_cut_outs_and_the_rest_is_background():
    scene, _ = make_scene(SPLITS["test"], 5)
    item = scene.objects[0]
    inside, outside = scene.image[item.mask].astype(float), scene.image[~item.mask].astype(float)
    assert np.abs(inside.mean(0) - outside.mean(0)).max() > 5


def test_priors_score_low():
    asked = [q for i in range(400) for q in make_scene(SPLITS["test"], i)[1]]
    limits = {"object": 0.03, "category": 0.16, "count": 0.36, "existence": 0.57}
    for kind, limit in limits.items():
        counts = Counter(q.answer for q in asked if q.kind == kind)
        assert max(counts.values()) / sum(counts.values()) < limit, kind
    by_text = Counter((q.question, q.answer) for q in asked if q.kind == "category")
    texts = Counter(q.question for q in asked if q.kind == "category")
    best = sum(max(n for (t, _), n in by_text.items() if t == text) for text in texts)
    assert best / sum(texts.values()) < 0.25


def test_catalogue_has_300_objects_in_ten_categories_or_more():
    catalogue = read_catalogue()
    names = [name for group in catalogue.values() for name in group]
    assert len(names) == len(set(names)) >= 300
    assert len(catalogue) >= 10
    assert set(catalogue) == set(PLURALS)


def test_sizes_of_the_splits():
    assert {name: split.scenes for name, split in SPLITS.items()} == {
        "train": 6000,
        "validation": 300,
        "test": 1000,
        "test_unseen": 1000,
        "probe": 2400,
    }


def test_load_gives_what_was_composed(small_cache):
    data = scenes.load("test")
    scene, questions = make_scene(SPLITS["test"], 4)
    row = data[4]
    assert row["image_id"] == "test-000004"
    assert np.array_equal(np.asarray(row["image"]), scene.image)
    assert [o["name"] for o in row["objects"]] == [o.name for o in scene.objects]
    assert row["label"] == scene.label
    assert all(o.name in row["caption"] for o in scene.objects)
    for stored, question in zip(row["questions"], questions, strict=True):
        assert np.array_equal(scenes.mask_of(stored), question.mask)


def test_load_questions_repeats_the_image_of_each_question(small_cache):
    data, asked = scenes.load("test"), scenes.load_questions("test")
    assert len(asked) == sum(len(row["questions"]) for row in data)
    assert asked.column_names == ["question_id", "image_id", "image", "kind", "question", "answer", "mask"]
    owners = {row["image_id"]: row for row in data}
    for row in asked:
        assert row["image"] == owners[row["image_id"]]["image"]
        assert row["question_id"] in [q["question_id"] for q in owners[row["image_id"]]["questions"]]
    assert len(set(asked["question_id"])) == len(asked)


def test_the_cache_is_used_again_and_holds_nothing_unfinished(small_cache):
    scenes.load("test")
    files = {path: path.stat().st_mtime_ns for path in small_cache.rglob("*.arrow")}
    scenes.load("test")
    assert files == {path: path.stat().st_mtime_ns for path in small_cache.rglob("*.arrow")}
    assert not list(small_cache.rglob(".*"))


def test_a_run_cut_while_composing_leaves_no_cache(small_cache, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(scenes, "make_scene", fail)
    with pytest.raises(KeyboardInterrupt):
        scenes.load("test")
    assert not [path for path in small_cache.rglob("*") if "test" in path.name]


def test_a_cache_that_cannot_be_written_names_the_variable(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CONNECTOR_BENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match="CONNECTOR_BENCH_CACHE"):
        scenes.load("validation")


def test_fingerprint_changes_with_the_scenes(small_cache, monkeypatch):
    first = scenes.fingerprint("test")
    assert first == scenes.fingerprint("test")
    monkeypatch.setitem(SPLITS, "test", replace(SPLITS["test"], scenes=5))
    assert scenes.fingerprint("test") != first


def test_unknown_split_names_what_arrived_and_what_is_allowed():
    with pytest.raises(ValueError, match=r"'tset'.*train, validation, test, test_unseen"):
        find_split("tset")
